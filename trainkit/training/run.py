"""The folder of a training run, and everything that --resume decides."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import tyro
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cloudkit.checkpoints import structure_problem
from cloudkit.errors import UserError
from cloudkit.files import remove_leftovers, write_json, write_text
from cloudkit.folders import FolderLock, require_folder
from cloudkit.processes import Processes
from cloudkit.script.command_line import CHOICES, peek, plain
from trainkit.training.trainer import Trainer

Options = TypeVar("Options")
OPTIONS_FILE, HISTORY, LAST, BEST = "options.json", "history.json", "last.pt", "best.pt"
# Options that --resume cannot change: they say what is trained, or are used up at the start.
_FIXED = {"dataset", "preset", "backend", "clouds", "optimizer", "network", "residual"}
_FIXED |= {"prior", "untrained_prior", "no_prior", "pretrained", "peak"}
_SOURCES = (
    "clear",
    "pairs",
    "mixture",
)  # options that name images; one is not exchanged for another


class Run:
    """A training run: its folder, and the run in it that --resume goes on with.

    Nothing is written before `open`, so that an error until then changes nothing. From `open` to
    `close` no other process can open the folder; `with` closes the run after an error, too.

    Args:
        options: the run's options, a dataclass with the fields `out` and `resume`.
        default: folder of runs without --out; an earlier run there is moved aside.
        processes: the processes. Only the main one writes.

    Raises:
        UserError: the folder cannot be used. Another process writes into it, or it holds a run and
            `resume` is false, or it has no state to go on from and `resume` is true.
    """

    def __init__(self, options: Any, default: Path, processes: Processes) -> None:
        self.options, self.processes = options, processes
        self.is_default = options.out is None
        self.path = Path(options.out or default).resolve()
        self._writer: SummaryWriter | None = None
        self._lock = FolderLock(self.path)
        if processes.is_main:  # the others might look after the main process has made the folder
            require_folder(self.path)
            self._lock.require_free()
            self._check()
        self.goes_on = options.resume and self.last.exists()

    def __enter__(self) -> Self:
        """Return the run."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the run."""
        self.close()

    @property
    def last(self) -> Path:
        """File with the state that --resume goes on from."""
        return self.path / LAST

    @property
    def best(self) -> Path:
        """File with the weights that scored best."""
        return self.path / BEST

    def restore(self, trainer: Trainer[Any]) -> None:
        """Give a trainer the state of the run that goes on; do nothing for a new run."""
        if self.goes_on:
            trainer.restore(self.last)

    def open(self) -> None:
        """Make the folder, and write the options into it.

        Raises:
            UserError: as when the run was made.
        """
        if self.processes.is_main:
            self._lock.acquire()
            self._check()  # again, because another run may have begun there since
            if not self.options.resume and self._holds_run():
                kept = _free_name(self.path)
                self._lock.move_away(kept)
                print(f"the earlier run is kept as {kept}")
                self._lock = FolderLock(self.path)
                self._lock.acquire()
            remove_leftovers(self.path)
            write_json(self.path / OPTIONS_FILE, plain(self.options))
        self.processes.barrier()

    def record(
        self,
        step: int,
        history: Sequence[Mapping[str, float]],
        pictures: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        """Write the newest record to TensorBoard, and the whole history to history.json.

        Args:
            step: number of the step.
            history: all records, the newest last.
            pictures: makes the pictures (3, H, W) of this record, by name.
        """
        if not self.processes.is_main:
            return
        if self._writer is None:
            # Opened late, so that records after the point of resumption are dropped.
            self._writer = SummaryWriter(str(self.path), purge_step=step)

        for name, value in history[-1].items():
            if name not in ("phase", "epoch", "step"):
                self._writer.add_scalar(name, value, step)
        for name, picture in pictures().items():
            self._writer.add_image(f"val/{name}", picture, step)
        self._writer.flush()

        records = ",\n".join(json.dumps(record) for record in history)
        write_text(self.path / HISTORY, f"[\n{records}\n]\n")

    def close(self) -> None:
        """Finish the TensorBoard file, and let other processes write into the folder."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.release()

    def _check(self) -> None:
        folder = self.path
        if not self.is_default and not self.options.resume and self._holds_run():
            raise UserError(
                f"{folder} holds a run already; go on with it by --resume, or name another folder "
                "with --out."
            )
        # A run that was killed before it saved its state for the first time begins again.
        if self.options.resume and not self.last.exists() and _has_saved(folder / HISTORY):
            raise UserError(
                f"{self.last} is missing, so the run cannot go on; name another folder with "
                "--out to start anew."
            )

    def _holds_run(self) -> bool:
        return (self.path / OPTIONS_FILE).exists()


def training_parser(
    kind: type[Options],
    presets: Mapping[str, Options],
    preset_of: Callable[[Mapping[str, str]], str],
    default_out: Path,
    description: str | None,
) -> Callable[[Sequence[str]], Options]:
    """Return a parser whose defaults are a preset's, or with --resume those of the earlier run.

    Args:
        kind: dataclass of the options; it has the fields out and resume.
        presets: the named sets of defaults.
        preset_of: chooses the preset from the values given for --preset, --dataset, --clear,
            --pairs and --mixture.
        default_out: the run's folder if --out is not given.
        description: for --help.
    """

    def parse(arguments: Sequence[str]) -> Options:
        given = peek(arguments, "preset", "dataset", *_SOURCES, "out")
        if "--resume" not in arguments:
            default = presets.get(preset_of(given), next(iter(presets.values())))
            return tyro.cli(
                kind, args=arguments, default=default, description=description, registry=CHOICES
            )

        saved = read_options(kind, Path(given.get("out", default_out)))
        options = tyro.cli(
            kind, args=arguments, default=saved, description=description, registry=CHOICES
        )
        for name, old, new in _differences(saved, options):
            other_source = name in _SOURCES and None in (old, new)
            other_network = name == "epochs_inversion" and 0 in (old, new)
            if name in _FIXED or other_source or other_network:
                raise UserError(
                    f"the run has {name} = {old}, which --resume cannot change to {new}; start "
                    "another run."
                )
            print(f"resuming with {name} = {new} instead of {old}")
        return options

    return parse


def read_options(kind: type[Options], folder: Path) -> Options:
    """Read the options of the run in a folder.

    Raises:
        UserError: there is no run, or its options do not fit.
    """
    path = folder / OPTIONS_FILE
    if not path.is_file():
        raise UserError(
            f"{folder} holds no run to resume (no {OPTIONS_FILE}); name its folder with --out, or "
            "leave --resume out."
        )
    try:
        return _from_plain(kind, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} does not hold the options of this script ({error}); name the folder of "
            "another run."
        ) from error


def _has_saved(history: Path) -> bool:
    """Tell whether a run with this history must have saved its state.

    It may have been killed during its first validation, before it did.
    """
    try:
        return history.exists() and len(json.loads(history.read_text(encoding="utf-8"))) > 1
    except (ValueError, TypeError, RecursionError):
        return True


def _free_name(folder: Path) -> Path:
    number = 1
    while (target := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return target


def _differences(old: Any, new: Any) -> list[tuple[str, object, object]]:
    names = [field.name for field in dataclasses.fields(old)]
    values = [(name, getattr(old, name), getattr(new, name)) for name in names]
    return [
        (name, before, after)
        for name, before, after in values
        if before != after and name not in ("resume", "out")
    ]


def _from_plain(kind: Any, values: Mapping[str, Any]) -> Any:
    """Undo `cloudkit.script.command_line.plain`.

    Raises:
        TypeError, KeyError, ValueError: the values are not those of the dataclass.
    """
    hints = typing.get_type_hints(kind)
    converted = {}
    for name, value in values.items():
        converted[name] = _converted(hints[name], value)
        if problem := structure_problem(converted[name], hints[name]):
            raise TypeError(f"its {name} {problem}")
    return kind(**converted)


def _converted(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _from_plain(hint, value)
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    choices = typing.get_args(hint) if is_union else (hint,)
    if isinstance(value, str) and Path in choices:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
