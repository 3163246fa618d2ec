"""The runs of the ablation: one training and one scoring for each arm, fold and seed, each in a folder of its own."""

import gc
import json
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro

from cloudkit.cli import plain
from cloudkit.distributed import choose_device
from cloudkit.errors import UserError
from cloudkit.files import write_json
from cloudkit.runs import BEST, HISTORY, OPTIONS_FILE
from thiefcloud.ablation import sight
from thiefcloud.ablation.arms import Arm, arms_of
from thiefcloud.ablation.folds import TEST, TRAIN, cut, fold_folder, whole_list, write_folds
from thiefcloud.ablation.options import AblationOptions
from thiefcloud.data import open_data
from thiefcloud.options import PRESETS, DataOptions, TrainOptions

RUN, SIGHT, SCORES = "run.json", "sight.json", Path("test") / "metrics.csv"
Start = Callable[[Sequence[str]], None]  # a script, with its arguments
_FREE = (
    "out",
    "resume",
    "split",
    "prior",
    "device",
    "store",
)  # options that may differ; lists and priors are compared by content


class Run(NamedTuple):
    """One training and its scoring."""

    arm: Arm
    fold: int
    """From 1."""
    seed: int
    out: Path
    """The ablation's folder."""

    @property
    def folder(self) -> Path:
        """The run's own folder; other seeds than the default one are part of its name, so that they can be added later."""
        own = self.arm.name if self.seed == TrainOptions.seed else f"{self.arm.name}-seed-{self.seed}"
        return fold_folder(self.out, self.fold) / own

    @property
    def title(self) -> str:
        """For people."""
        return f"fold {self.fold}, {self.arm.name}, seed {self.seed}"

    @property
    def about(self) -> dict[str, Any]:
        """What run.json holds."""
        return {"arm": self.arm.name, "fold": self.fold, "seed": self.seed, "prior": self.arm.digest}


def planned(options: AblationOptions) -> list[Run]:
    """All runs of a command line in the order to do them, so that what is finished early compares; writes the lists of the folds.

    Raises:
        UserError: the data or a prior cannot be used, or --out holds runs with other options. No run is begun then.
    """
    if options.root is None:
        raise UserError("--root DIR is missing, the folder that holds the data set (only --report-only does without).")
    arms = arms_of(options)
    write_folds(options.out, cut(whole_list(options.dataset, options.root), options.folds))
    folds = range(1, options.folds + 1)
    runs = [Run(arm, fold, seed, options.out) for seed in options.seeds for fold in folds for arm in arms]
    for run in runs:
        check(run, options)
    return runs


def check(run: Run, options: AblationOptions) -> None:
    """Raise UserError if the run's folder holds a run with other options, or one that began with another prior."""
    given = tyro.cli(TrainOptions, args=training_arguments(run, options), default=PRESETS[options.preset])
    wanted = json.loads(json.dumps(plain(given)))
    options_file = run.folder / OPTIONS_FILE
    if not options_file.exists():
        return
    there = json.loads(options_file.read_text(encoding="utf-8"))
    about = _read(run.folder / RUN)
    differences = [
        f"{name} = {there.get(name)} there, {wanted.get(name)} here"
        for name in {**wanted, **there}
        if name not in _FREE and there.get(name) != wanted.get(name)
    ]
    if about.get("prior") != run.arm.digest or not about:
        differences.append("it began with other weights of SCPM" if about else f"{RUN} is missing")
    if differences:
        raise UserError(
            f"{run.folder} holds a run with other options ({'; '.join(differences)}): give those that it was begun with, name "
            "another folder with --out, or remove this one."
        )


def state_of(run: Run) -> str:
    """How far a run is: "finished", "trained", "begun" or "new"."""
    if is_finished(run.folder):
        return "finished" if is_scored(run.folder) else "trained"
    return "begun" if (run.folder / OPTIONS_FILE).exists() else "new"


def is_finished(folder: Path) -> bool:
    """Whether the training in a folder has reached its last epoch, so that best.pt is final."""
    options, history = _read(folder / OPTIONS_FILE), _read(folder / HISTORY)
    if not options or not history or not (folder / BEST).exists():
        return False
    last = (1, options["epochs_tunable"]) if options["epochs_tunable"] else (0, options["epochs_frozen"])
    return (history[-1]["phase"], history[-1]["epoch"]) >= last


def is_scored(folder: Path) -> bool:
    """Whether the test images were scored with the weights that are there."""
    return _is_newer(folder / SCORES, folder / BEST)


def carry_out(run: Run, options: AblationOptions, train: Start, test: Start) -> None:
    """Do what is left of a run: train it or go on, score the test images, compare thickness maps.

    Args:
        run: a run of `planned`.
        options: those of the command line.
        train, test: start train.py and test.py.
    """
    resuming = (run.folder / OPTIONS_FILE).exists()
    if not resuming:
        write_json(run.folder / RUN, run.about)
    if not is_finished(run.folder):
        train([*training_arguments(run, options), *(["--resume"] if resuming else [])])
    if not is_scored(run.folder):
        test(scoring_arguments(run, options))
    if run.arm.kind not in ("no-prior", "unet") and not _is_newer(run.folder / SIGHT, run.folder / BEST):
        data = DataOptions(dataset=options.dataset, root=options.root, split=fold_folder(run.out, run.fold) / TEST)
        before = None if run.arm.kind.endswith("-frozen") else run.arm.prior
        found = sight.look(run.folder / BEST, before, open_data(data).test, choose_device(options.device))
        sight.write(run.folder / SIGHT, found)


def training_arguments(run: Run, options: AblationOptions) -> list[str]:
    """The command line of train.py."""
    both = {"batch": options.batch, "lr": options.lr}
    named = {
        **_data(run, options, TRAIN),
        "out": run.folder,
        "preset": options.preset,
        "seed": run.seed,
        **{f"{name}-{phase}": value for name, value in both.items() for phase in ("frozen", "tunable")},
        "crop": options.crop,
        "pixel": options.pixel,
        "perceptual": options.perceptual,
        "epochs-inversion": options.epochs_inversion,
        "even-steps": options.even_steps,
        "validate-every": options.validate_every,
        **({"vgg": options.vgg.resolve()} if options.vgg else {}),
    }
    return [*_as_arguments(named), "--residual" if options.residual else "--no-residual", *run.arm.choices(options.epochs)]


def scoring_arguments(run: Run, options: AblationOptions) -> list[str]:
    """The command line of test.py."""
    named = {"checkpoint": run.folder / BEST, "out": (run.folder / SCORES).parent, "method": run.arm.name, "panels": 4}
    return _as_arguments({**_data(run, options, TEST), **named})


def start(script: Path, arguments: Sequence[str]) -> None:
    """Run a script as if from the command line, but in this process: a kill ends both, and no training outlives its ablation.

    Raises:
        UserError: the script ended with an error, which it has printed.
    """
    before = sys.argv
    sys.argv = [str(script), *arguments]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stop:
        if stop.code == 130:
            raise KeyboardInterrupt from stop
        if stop.code:
            raise UserError(
                f"{script.name} stopped with the error above; mend it and start the same command again: what is finished is kept."
            ) from stop
    finally:
        sys.argv = before
        gc.collect()  # networks and their optimizers refer to themselves; the next run wants the memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _data(run: Run, options: AblationOptions, names: str) -> dict[str, object]:
    assert options.root is not None
    split = fold_folder(run.out, run.fold) / names
    return {"dataset": options.dataset, "root": options.root.resolve(), "split": split, "device": options.device}


def _as_arguments(named: dict[str, object]) -> list[str]:
    return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def _is_newer(path: Path, than: Path) -> bool:
    return path.exists() and path.stat().st_mtime >= than.stat().st_mtime


def _read(path: Path) -> Any:
    """A file of JSON; an empty dict where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
