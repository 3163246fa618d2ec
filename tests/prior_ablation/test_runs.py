from pathlib import Path

import pytest
import tyro

from cloudkit.checkpoints import save_checkpoint
from prior_ablation.options import KINDS, AblationOptions, parse
from prior_ablation.runs import plan_runs, training_arguments
from scpm import SCPM
from tests.helpers import write_pairs
from thiefcloud.training.options import PRESETS, TrainOptions


@pytest.fixture
def options(tmp_path: Path) -> AblationOptions:
    model = SCPM()
    save_checkpoint(
        tmp_path / "prior.pt", "scpm", model.config, {"model": model.state_dict(), "step": 9}
    )
    root = write_pairs(tmp_path / "pairs", 6, height=1, width=1)
    words = [
        "--dataset",
        "folder",
        "--root",
        root,
        "--priors",
        tmp_path / "prior.pt",
        "--out",
        tmp_path / "out",
    ]
    return parse(
        [
            *map(str, words),
            "--folds",
            "2",
            "--seeds",
            "2023",
            "7",
            "--epochs",
            "9",
            "--batch",
            "3",
            "--vgg",
            "vgg.pt",
        ]
    )


def test_every_arm_fold_and_seed_has_a_folder(options: AblationOptions) -> None:
    runs = plan_runs(options)
    assert len({run.folder for run in runs}) == len(runs) == 6 * 2 * 2
    first = [(run.fold, run.seed, run.folder.relative_to(options.out).as_posix()) for run in runs]
    assert first[0] == (1, 2023, "fold-1/no-prior")
    assert first[2] == (1, 2023, "fold-1/trained-frozen-9")
    assert first[6] == (
        2,
        2023,
        "fold-2/no-prior",
    )  # all arms of a fold come first, so that they compare early
    assert first[12] == (
        1,
        7,
        "fold-1/no-prior-seed-7",
    )  # the folders of the default seed keep their names when more are added


def test_arms_differ_in_the_prior_alone(options: AblationOptions) -> None:
    """All else of train.py's options is equal, and so are batch and rate in both phases."""
    runs = [run for run in plan_runs(options) if (run.fold, run.seed) == (1, 7)]
    told = [
        tyro.cli(TrainOptions, args=training_arguments(run, options), default=PRESETS["paper"])
        for run in runs
    ]
    assert [run.arm.kind for run in runs] == list(KINDS)
    own = {
        "out",
        "prior",
        "untrained_prior",
        "no_prior",
        "network",
        "epochs_frozen",
        "epochs_tunable",
    }
    assert {
        name for name in vars(told[0]) if len({str(getattr(each, name)) for each in told}) > 1
    } == own
    for each in told:
        assert each.epochs_frozen + each.epochs_tunable == 9
        assert (each.batch_frozen, each.batch_tunable, each.lr_frozen, each.lr_tunable) == (
            3,
            3,
            5e-4,
            5e-4,
        )
        assert (each.seed, each.crop, each.pixel, each.perceptual, each.residual) == (
            7,
            256,
            "mse",
            0.04,
            False,
        )
        assert each.vgg == Path("vgg.pt").resolve()
    assert [each.no_prior for each in told] == [True, *[False] * 5]
    assert [each.network for each in told] == [*["thiefcloud"] * 5, "unet"]


def test_presets_are_those_of_train_py() -> None:
    quick = parse(["--preset", "quick", "--root", "x"])
    theirs = PRESETS["quick"]
    assert (quick.epochs, quick.batch, quick.lr, quick.crop) == (
        theirs.epochs_frozen + theirs.epochs_tunable,
        theirs.batch_frozen,
        theirs.lr_frozen,
        theirs.crop,
    )
    assert (quick.pixel, quick.perceptual, quick.residual) == (
        theirs.pixel,
        theirs.perceptual,
        theirs.residual,
    )
    assert quick.epochs_inversion == 0  # the paper's network has none
    assert parse(["--root", "x"]).epochs == 400
    assert parse(["--preset=inversion", "--root", "x"]).residual
