"""The folder of a training run: its options, checkpoints, history and TensorBoard records."""

import dataclasses
import json
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cloudkit.cli import peek, plain
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.files import write_json, write_text

Options = TypeVar("Options")
OPTIONS_FILE, HISTORY, LAST, BEST = "options.json", "history.json", "last.pt", "best.pt"
# Options that make another run of it: they say what is trained, and are over and done with once a run has begun.
_FIXED = {"dataset", "preset", "backend", "clouds", "optimizer", "network", "residual"}
_FIXED |= {"prior", "untrained_prior", "no_prior", "pretrained"}


def training_parser(
    kind: type[Options],
    presets: Mapping[str, Options],
    preset_of: Callable[[Mapping[str, str]], str],
    default_out: Path,
    description: str | None,
) -> Callable[[Sequence[str]], Options]:
    """A parser whose defaults are a preset's, or with --resume those of the run that is resumed.

    Args:
        kind: dataclass of the options; it has the fields out and resume.
        presets: the named sets of defaults.
        preset_of: the preset to use, from the values given for --preset, --dataset, --clear and --pairs.
        default_out: the run's folder where --out is not given.
        description: for --help.
    """

    def parse(arguments: Sequence[str]) -> Options:
        given = peek(arguments, "preset", "dataset", "clear", "pairs", "mixture", "out")
        if "--resume" in arguments:
            saved = read_options(kind, Path(given.get("out", default_out)))
            options = tyro.cli(kind, args=arguments, default=saved, description=description)
            for name, old, new in _differences(saved, options):
                other_source = name in ("clear", "pairs", "mixture") and None in (old, new)
                other_network = name == "epochs_inversion" and 0 in (old, new)
                if name in _FIXED or other_source or other_network:
                    raise UserError(f"the run has {name} = {old}, which --resume cannot change to {new}; start another run.")
                print(f"resuming with {name} = {new} instead of {old}")
            return options
        default = presets.get(preset_of(given), next(iter(presets.values())))
        return tyro.cli(kind, args=arguments, default=default, description=description)

    return parse


def read_options(kind: type[Options], folder: Path) -> Options:
    """The options of the run in a folder. Raises UserError where there is none or its options do not fit."""
    path = folder / OPTIONS_FILE
    if not path.is_file():
        raise UserError(
            f"{folder} holds no run to resume (no {OPTIONS_FILE}); name its folder with --out, or leave --resume out."
        )
    try:
        return _from_plain(kind, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} does not hold the options of this script ({error}); name the folder of another run.") from error


def check_folder(out: Path | None, default: Path, *, resume: bool) -> None:
    """Raise UserError if `RunFolder` will not take this folder, before any work is done.

    A run without last.pt may only be resumed if it was killed before it saved its state for the first time.
    """
    folder = Path(out or default)
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"--out {folder} cannot be a folder: {there} is a file, expected a folder to write the run to.")
    if not os.access(there, os.W_OK):
        raise UserError(f"--out {folder} cannot be written to: {there} is read-only; name another folder.")
    if out is not None and not resume and (folder / OPTIONS_FILE).exists():
        raise UserError(f"{out} holds a run already; go on with it by --resume, or name another folder with --out.")
    if resume and not (folder / LAST).exists() and _has_saved(folder / HISTORY):
        raise UserError(f"{folder / LAST} is missing, so the run cannot go on; name another folder with --out to start anew.")


class RunFolder:
    """A run's folder, opened by the main process; the others only know its path.

    Args:
        out: the folder, or None for `default`, in which an earlier run is moved aside.
        default: the folder of runs without --out.
        options: the run's options, a dataclass.
        resume: whether to go on with the run that is there.
        world: the processes.

    Raises:
        UserError: `out` holds a run and `resume` is false.
    """

    def __init__(self, out: Path | None, default: Path, options: Any, *, resume: bool, world: World) -> None:
        self.path, self.world = Path(out or default).resolve(), world
        if world.is_main:
            if not resume and (self.path / OPTIONS_FILE).exists():
                check_folder(out, default, resume=resume)
                print(f"the earlier run is kept as {_move_aside(self.path)}")
            self.path.mkdir(parents=True, exist_ok=True)
            leftovers = (path for name in (OPTIONS_FILE, HISTORY, LAST, BEST) for path in self.path.glob(f".{Path(name).stem}-*"))
            for leftover in leftovers:  # half-written files of a run that was killed while saving
                leftover.unlink()
            write_json(self.path / OPTIONS_FILE, plain(options))
        world.barrier()
        self._writer: SummaryWriter | None = None

    @property
    def last(self) -> Path:
        """The state to resume from."""
        return self.path / LAST

    @property
    def best(self) -> Path:
        """The weights that scored best."""
        return self.path / BEST

    def record(self, step: int, history: Sequence[Mapping[str, float]], pictures: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write the newest record of a history to TensorBoard, with pictures (3, H, W), and the whole to history.json."""
        if not self.world.is_main:
            return
        if self._writer is None:  # opened late, so that records after the point of resumption are dropped
            self._writer = SummaryWriter(str(self.path), purge_step=step)
        for name, value in history[-1].items():
            if name not in ("phase", "epoch", "step"):
                self._writer.add_scalar(name, value, step)
        for name, picture in pictures().items():
            self._writer.add_image(f"val/{name}", picture, step)
        self._writer.flush()
        write_text(self.path / HISTORY, "[\n" + ",\n".join(json.dumps(record) for record in history) + "\n]\n")

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._writer is not None:
            self._writer.close()


def _has_saved(history: Path) -> bool:
    """Whether a run with this history must have saved its state; of the first validation it may not have come to that."""
    try:
        return history.exists() and len(json.loads(history.read_text(encoding="utf-8"))) > 1
    except ValueError:
        return True


def _move_aside(folder: Path) -> Path:
    number = 1
    while (target := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    folder.rename(target)
    return target


def _differences(old: Any, new: Any) -> list[tuple[str, object, object]]:
    pairs = [(field.name, getattr(old, field.name), getattr(new, field.name)) for field in dataclasses.fields(old)]
    return [pair for pair in pairs if pair[1] != pair[2] and pair[0] not in ("resume", "out")]


def _from_plain(kind: Any, values: Mapping[str, Any]) -> Any:
    """The inverse of `cloudkit.cli.plain`."""
    hints = typing.get_type_hints(kind)

    def convert(hint: Any, value: Any) -> Any:
        if dataclasses.is_dataclass(hint):
            return _from_plain(hint, value)
        choices = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
        if isinstance(value, str) and Path in choices:
            return Path(value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: convert(hints[name], value) for name, value in values.items()})
