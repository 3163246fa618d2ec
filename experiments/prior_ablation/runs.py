"""Runs of the ablation: a training and its scores for each arm, fold and seed."""

import gc
import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro

from cloudkit.errors import UserError
from cloudkit.files import digest, read_json, write_json
from cloudkit.folders import writing_to
from cloudkit.processes import choose_device
from cloudkit.script.command_line import CHOICES, ROOT, plain
from prior_ablation.arms import Arm, make_arms
from prior_ablation.folds import (
    TEST_LIST,
    TRAIN_LIST,
    fold_folder,
    list_pairs,
    own_test,
    split_into_folds,
    write_folds,
)
from prior_ablation.options import AblationOptions
from prior_ablation.thickness import compare_tuning
from thiefcloud.data.datasets import open_data
from thiefcloud.data.options import DataOptions
from thiefcloud.training.options import PRESETS, TrainOptions
from thiefcloud.training.phases import end_of_training
from trainkit.training.run import BEST, HISTORY, OPTIONS_FILE

TRAIN, TEST = ROOT / "ThiefCloud" / "train.py", ROOT / "ThiefCloud" / "test.py"
RUN, THICKNESS = "run.json", "thickness.json"
MEANS, SCORES = Path("test") / "metrics.json", Path("test") / "metrics.csv"
# Options that a resumed run may change. The content of lists and priors is compared instead.
_MAY_DIFFER = ("out", "resume", "split", "prior", "device", "store")


class Run(NamedTuple):
    """Training of one arm on one fold with one seed, and its scores."""

    arm: Arm
    fold: int
    """Number of the fold, from 1."""
    seed: int
    out: Path
    """Folder of the ablation."""

    @property
    def folder(self) -> Path:
        """Folder of the run; its name has the seed only if it is not the default one."""
        suffix = "" if self.seed == TrainOptions.seed else f"-seed-{self.seed}"
        return fold_folder(self.out, self.fold) / f"{self.arm.name}{suffix}"

    @property
    def title(self) -> str:
        """Description for people."""
        return f"fold {self.fold}, {self.arm.name}, seed {self.seed}"


def plan_runs(options: AblationOptions) -> list[Run]:
    """Return all runs of a command line, and write the lists of the folds.

    All arms of a fold come before the next fold, so that finished runs compare early.

    Raises:
        UserError: The data or a prior cannot be used, or --out holds runs with other options.
    """
    if options.root is None:
        raise UserError("--root DIR is missing: name the dataset's folder, or use --report-only.")

    arms = make_arms(options)
    names = list_pairs(options.dataset, options.root)
    if options.folds == 1:
        tests = [own_test(options.dataset, options.root, names)]
    else:
        tests = split_into_folds(names, options.folds)
    write_folds(options.out, names, tests)

    runs = []
    for seed, fold, arm in product(options.seeds, range(1, options.folds + 1), arms):
        run = Run(arm, fold, seed, options.out)
        check_options(run, options)
        runs.append(run)
    return runs


def check_options(run: Run, options: AblationOptions) -> None:
    """Raise UserError if the run's folder holds a run with other options or another prior."""
    arguments = training_arguments(run, options)
    given = plain(
        tyro.cli(TrainOptions, args=arguments, default=PRESETS[options.preset], registry=CHOICES)
    )
    new = json.loads(json.dumps(given))  # tuples become lists, as in the file
    if not (run.folder / OPTIONS_FILE).exists():
        return

    differences = []
    old = read_part(run.folder / OPTIONS_FILE)
    for name in {**new, **old}:
        if name not in _MAY_DIFFER and old.get(name) != new.get(name):
            differences.append(f"{name} = {old.get(name)} there, {new.get(name)} here")
    if not (run.folder / RUN).exists():
        differences.append(f"{RUN} is missing")
    elif read_part(run.folder / RUN)["prior"] != run.arm.digest:
        differences.append("it began with other weights of SCPM")

    if differences:
        raise UserError(
            f"{run.folder} holds a run with other options ({'; '.join(differences)}): use those of "
            "its first start, name another folder with --out, or remove this one."
        )


def read_part(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}), expected JSON as the run wrote it; remove the "
            f"folder {path.parent}, and the same command does this run again."
        ) from error


def state_of(run: Run) -> str:
    """Return the progress of a run: "finished", "trained", "begun" or "new"."""
    if is_trained(run.folder):
        return "finished" if is_scored(run.folder) else "trained"
    return "begun" if (run.folder / OPTIONS_FILE).exists() else "new"


def is_trained(folder: Path) -> bool:
    """Return whether training has reached its last epoch, so that best.pt is final."""
    for name in (OPTIONS_FILE, HISTORY, BEST):
        if not (folder / name).exists():
            return False

    options, history = read_part(folder / OPTIONS_FILE), read_part(folder / HISTORY)
    if not history:
        return False
    return (history[-1]["phase"], history[-1]["epoch"]) == end_of_training(options)


def is_scored(folder: Path) -> bool:
    """Return whether the scores in a folder are those of its current weights."""
    return (folder / SCORES).exists() and _is_of_weights(folder / MEANS, folder / BEST)


def is_compared(folder: Path) -> bool:
    """Return whether the thickness maps in a folder are those of its current weights."""
    return _is_of_weights(folder / THICKNESS, folder / BEST)


def complete(run: Run, options: AblationOptions) -> None:
    """Train, score, and compare thickness maps, unless the run's folder has the results.

    Args:
        run: Run of `plan_runs`.
        options: Options of the command line.

    Raises:
        UserError: Another process works on this run, or a step of it fails.
    """
    with writing_to(run.folder, purpose="ablation"):
        check_options(run, options)  # another process may have begun it since
        _complete(run, options)


def _complete(run: Run, options: AblationOptions) -> None:
    resumed = (run.folder / OPTIONS_FILE).exists()
    if not resumed:
        about = {"arm": run.arm.name, "fold": run.fold, "seed": run.seed, "prior": run.arm.digest}
        write_json(run.folder / RUN, about)

    if not is_trained(run.folder):
        arguments = training_arguments(run, options)
        start(TRAIN, [*arguments, "--resume"] if resumed else arguments)
    if not is_scored(run.folder):
        start(TEST, scoring_arguments(run, options))

    if run.arm.kind not in ("no-prior", "unet") and not is_compared(run.folder):
        split = fold_folder(run.out, run.fold) / TEST_LIST
        images = DataOptions(
            dataset=options.dataset, root=options.root, split=split, peak=options.peak
        )
        data = open_data(images)
        before = None if run.arm.kind.endswith("-frozen") else run.arm.prior
        device = choose_device(options.device)
        best = run.folder / BEST
        correlations = compare_tuning(best, before, data.test, device)
        write_json(run.folder / THICKNESS, {"weights": digest(best), **correlations})


def training_arguments(run: Run, options: AblationOptions) -> list[str]:
    """Return the command line of train.py."""
    named = {
        **_data_options(run, options, TRAIN_LIST),
        "out": run.folder,
        "preset": options.preset,
        "seed": run.seed,
        "batch-frozen": options.batch,
        "batch-tunable": options.batch,
        "lr-frozen": options.lr,
        "lr-tunable": options.lr,
        "crop": options.crop,
        "pixel": options.pixel,
        "perceptual": options.perceptual,
        "epochs-inversion": options.epochs_inversion,
        "even-steps": options.even_steps,
        "validate-every": options.validate_every,
        "precision": options.precision,
    }
    if options.vgg:
        named["vgg"] = options.vgg.resolve()

    residual = "--residual" if options.residual else "--no-residual"
    return [*_as_arguments(named), residual, *run.arm.train_arguments(options.epochs)]


def scoring_arguments(run: Run, options: AblationOptions) -> list[str]:
    """Return the command line of test.py."""
    named = {
        **_data_options(run, options, TEST_LIST),
        "checkpoint": run.folder / BEST,
        "out": (run.folder / SCORES).parent,
        "method": run.arm.name,
        "panels": 4,
    }
    return _as_arguments(named)


def start(script: Path, arguments: Sequence[str]) -> None:
    """Run a script in this process, so that a kill ends it together with the ablation.

    Raises:
        UserError: The script ended with an error, which it has printed.
    """
    original = sys.argv
    sys.argv = [str(script), *arguments]

    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stop:
        if stop.code == 130:
            raise KeyboardInterrupt from stop
        if stop.code:
            raise UserError(
                f"{script.name} stopped with the error above; correct it and start the same "
                "command again. Finished runs are kept."
            ) from stop
    finally:
        sys.argv = original
        gc.collect()  # networks and optimizers are in reference cycles; the next run needs memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _data_options(run: Run, options: AblationOptions, names: str) -> dict[str, Any]:
    assert options.root is not None
    named = {
        "dataset": options.dataset,
        "root": options.root.resolve(),
        "split": fold_folder(run.out, run.fold) / names,
        "device": options.device,
    }
    if options.peak is not None:
        named["peak"] = options.peak
    return named


def _as_arguments(named: Mapping[str, object]) -> list[str]:
    arguments = []
    for name, value in named.items():
        arguments += [f"--{name}", str(value)]
    return arguments


def _is_of_weights(path: Path, weights: Path) -> bool:
    """Return whether a file of results is there, and was made from these weights."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False  # it is made anew
    return isinstance(content, dict) and content.get("weights") == digest(weights)
