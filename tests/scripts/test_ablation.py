"""The ablation, run as its user runs it, on images of 16 pixels."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from cloudkit.data.splits import read_names
from cloudkit.training.trainer import Trainer
from prior_ablation.options import AblationOptions
from tests.helpers import (
    ROOT,
    Killed,
    assert_one_error,
    assert_same_state,
    break_at,
    run_script,
    squeezed,
    write_pairs,
)
from tests.scripts.test_every_script import documented_fields

ABLATION = ROOT / "experiments" / "ablation.py"
ARMS = ("untrained-frozen", "trained-then-tunable")
RECIPE = [
    "--folds",
    2,
    "--preset",
    "quick",
    "--epochs-inversion",
    1,
    "--even-steps",
    2,
    "--epochs",
    2,
    "--batch",
    2,
    "--crop",
    8,
    "--validate-every",
    1,
    "--device",
    "cpu",
]
Arguments = list[object]


@pytest.fixture(scope="module")
def given(prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    """A command line: six pairs, each in a block of its own."""
    root = write_pairs(tmp_path_factory.mktemp("pairs"), 6)
    return ["--dataset", "folder", "--root", root, "--priors", prior, "--arms", *ARMS, *RECIPE]


@pytest.fixture(scope="module")
def finished(given: Arguments, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole ablation; made once, not to be changed."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    assert run_script(ABLATION, *given, "--out", out) == 0
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def stamps(out: Path) -> dict[Path, int]:
    """When each file of the runs was written."""
    return {
        path.relative_to(out): path.stat().st_mtime_ns
        for path in out.glob("fold-*/**/*")
        if path.is_file()
    }


def kept_tuned(finished: Path, fold: int) -> bool:
    """Tell whether the weights after tuning, and not those before, were kept as the best."""
    path = finished / f"fold-{fold}" / ARMS[1] / "history.json"
    *before, after = [record["val/psnr"] for record in json.loads(path.read_text())]
    return bool(after > max(before))


def test_what_it_leaves(finished: Path) -> None:
    tests = [read_names(finished / f"fold-{fold}" / "test.txt") for fold in (1, 2)]
    assert tests == [["0", "10", "20"], ["30", "40", "50"]]
    report = json.loads((finished / "ablation.json").read_text())
    assert list(report["arms"]) == list(ARMS)
    for arm in report["arms"].values():
        assert (arm["runs"], arm["steps"], arm["psnr"]["images"]) == (
            2,
            [3],
            6,
        )  # equal steps: one batch an epoch, and one of the inversion
    (found,) = report["differences"]
    assert (found["arm"], found["against"]) == ("trained-then-tunable", "untrained-frozen")
    restored = {arm: report["arms"][arm]["psnr"]["mean"] for arm in ARMS}
    assert found["psnr"]["mean"] == pytest.approx(restored[ARMS[1]] - restored[ARMS[0]])
    assert found["psnr"]["verdict"] in ("helps", "harms", "not resolved")
    assert report["sight"][ARMS[0]]["before"] == report["sight"][ARMS[0]]["after"]  # frozen
    tuned = report["sight"][ARMS[1]]
    assert (tuned["before"] != tuned["after"]) == any(kept_tuned(finished, fold) for fold in (1, 2))
    assert (finished / "ablation.md").read_text().startswith("# What the cloud prior is worth")


def test_each_run_is_of_train_py_with_its_own_options(finished: Path) -> None:
    for fold in (1, 2):
        for arm in ARMS:
            folder = finished / f"fold-{fold}" / arm
            options = json.loads((folder / "options.json").read_text())
            assert options["split"] == str(finished / f"fold-{fold}" / "train.txt")
            assert options["untrained_prior"] is (arm == "untrained-frozen")
            assert (options["epochs_frozen"], options["epochs_tunable"]) == (
                (2, 0) if arm == "untrained-frozen" else (1, 1)
            )
            assert options["batch_frozen"] == options["batch_tunable"] == 2
            assert (
                options["lr_frozen"] == options["lr_tunable"] == 1e-3
            )  # of the preset's frozen phase
            assert (options["crop"], options["seed"], options["residual"]) == (8, 2023, True)
            scored = {path.stem for path in (folder / "test" / "restored").iterdir()}
            assert scored == set(read_names(finished / f"fold-{fold}" / "test.txt"))


def test_what_is_finished_stays_and_what_is_gone_is_done_again(
    copy: Path, finished: Path, given: Arguments, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(copy)
    shutil.rmtree(copy / "fold-1" / ARMS[1])
    (copy / "fold-2" / ARMS[0] / "test" / "metrics.csv").unlink()
    (copy / "fold-2" / ARMS[1] / "thickness.json").unlink()
    assert run_script(ABLATION, *given, "--out", copy) == 0
    shown = capsys.readouterr().out
    assert "run 1 of 4: fold 1, untrained-frozen, seed 2023 (finished)" in shown
    assert "run 2 of 4: fold 1, trained-then-tunable, seed 2023 (new)" in shown
    assert "run 3 of 4: fold 2, untrained-frozen, seed 2023 (trained)" in shown
    assert_same_state(
        copy / "fold-1" / ARMS[1] / "last.pt", finished / "fold-1" / ARMS[1] / "last.pt"
    )
    assert (copy / "ablation.json").read_text() == (finished / "ablation.json").read_text()
    changed = {path for path, stamp in stamps(copy).items() if before.get(path) != stamp}
    assert {path.parts[:3] for path in changed if path.parts[:2] != ("fold-1", ARMS[1])} == {
        ("fold-2", ARMS[0], "test"),
        ("fold-2", ARMS[1], "thickness.json"),
    }


@pytest.mark.parametrize(
    ("method", "call", "state"),
    [
        ("_step", 1, "begun"),  # before anything was saved
        ("_step", 2, "begun"),  # in the frozen phase
        ("save_last", 3, "trained"),  # after the last best.pt and record, so only last.pt is behind
    ],
)
def test_a_killed_run_goes_on(
    copy: Path,
    finished: Path,
    given: Arguments,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    call: int,
    state: str,
) -> None:
    shutil.rmtree(copy / "fold-2" / ARMS[1])
    with monkeypatch.context() as patched:
        break_at(patched, Trainer, method, call)
        with pytest.raises(Killed):
            run_script(ABLATION, *given, "--out", copy)
    assert run_script(ABLATION, "--out", copy, "--report-only") == 0
    assert (
        "Not finished, so left out: trained-then-tunable of fold 2, seed 2023."
        in capsys.readouterr().out
    )
    assert run_script(ABLATION, *given, "--out", copy) == 0
    assert (
        f"run 4 of 4: fold 2, trained-then-tunable, seed 2023 ({state})" in capsys.readouterr().out
    )
    assert_same_state(
        copy / "fold-2" / ARMS[1] / "best.pt", finished / "fold-2" / ARMS[1] / "best.pt"
    )
    assert (copy / "ablation.json").read_text() == (finished / "ablation.json").read_text()


def test_newer_weights_are_scored_again(copy: Path, given: Arguments) -> None:
    folder = copy / "fold-1" / ARMS[0]
    later = (folder / "test" / "metrics.csv").stat().st_mtime + 60
    os.utime(folder / "best.pt", (later, later))
    before = stamps(copy)
    os.utime(folder / "best.pt", (later, later))
    assert run_script(ABLATION, *given, "--arms", ARMS[0], "--out", copy) == 0
    after = stamps(copy)
    assert (
        before[Path("fold-1", ARMS[0], "test", "metrics.csv")]
        != after[Path("fold-1", ARMS[0], "test", "metrics.csv")]
    )
    assert (
        before[Path("fold-2", ARMS[0], "test", "metrics.csv")]
        == after[Path("fold-2", ARMS[0], "test", "metrics.csv")]
    )


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--crop", 16], ["fold-1/untrained-frozen", "crop = 8 there, 16 here"]),
        (["--lr", 0.1], ["lr_frozen = 0.001 there, 0.1 here"]),
        (["--epochs", 3], ["epochs_frozen = 2 there, 3 here"]),
        (["--no-residual", "--epochs-inversion", 0], ["residual = True there, False here"]),
        (["--epochs-inversion", 3], ["epochs_inversion = 1 there, 3 here"]),
        (["--folds", 3], ["holds an ablation over other folds than these 3"]),
        (
            ["--reference", "unet"],
            ["--reference is unet, expected one of the arms: untrained-frozen, trained-"],
        ),
        (["--priors", "absent.pt"], ["there are no weights absent.pt"]),
    ],
)
def test_other_options_are_never_mixed_in(
    copy: Path,
    given: Arguments,
    more: Arguments,
    parts: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = stamps(copy)
    assert run_script(ABLATION, *given, *more, "--out", copy) == 2
    assert_one_error(capsys.readouterr().err, *parts)
    assert stamps(copy) == before


def test_another_prior_is_another_arm(
    copy: Path,
    given: Arguments,
    checkpoint: Path,
    prior: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = tmp_path / prior.name
    changed.write_bytes(prior.read_bytes() + b"\0")  # the name is the same, the content is not
    assert run_script(ABLATION, *given, "--priors", changed, "--out", copy) == 2
    assert_one_error(
        capsys.readouterr().err,
        "fold-1/trained-then-tunable",
        "it began with other weights of SCPM",
    )
    (copy / "fold-1" / ARMS[0] / "run.json").unlink()
    assert run_script(ABLATION, *given, "--out", copy) == 2
    assert_one_error(capsys.readouterr().err, "fold-1/untrained-frozen", "run.json is missing")


def test_a_report_needs_neither_data_nor_priors(
    copy: Path,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = stamps(copy)
    for name in ("ablation.json", "ablation.md"):
        (copy / name).unlink()
    assert run_script(ABLATION, "--out", copy, "--report-only") == 0
    text = (copy / "ablation.md").read_text()
    assert text in capsys.readouterr().out
    assert text == (finished / "ablation.md").read_text()
    assert stamps(copy) == before
    assert (
        run_script(ABLATION, "--out", copy, "--report-only", "--reference", "trained-then-tunable")
        == 0
    )
    assert re.search(r"\| untrained-frozen +\| trained-then-tunable +\|", capsys.readouterr().out)
    assert run_script(ABLATION, "--out", tmp_path / "empty", "--report-only") == 2
    assert_one_error(capsys.readouterr().err, "holds no finished run to report")


def test_a_failing_training_stops_it_and_says_so(
    given: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(ABLATION, *given, "--crop", 64, "--out", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert "smaller than the crop of 64" in shown
    assert (
        "train.py stopped with the error above; correct it and start the same command again"
        in shown
    )
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--root DIR is missing"),
        (
            ["--root", "x", "--epochs-inversion", 1, "--no-residual"],
            "--epochs-inversion needs --residual",
        ),
        (["--root", "x", "--preset", "fast"], "--preset is fast, expected one of paper"),
        (["--folds", "1"], "--folds is 1, expected at least 2."),
        (["--epochs", "1"], "--epochs is 1, expected at least 2."),
        (["--arms", "unet", "unet"], "--arms is unet unet, expected at least one, each once."),
        (["--seeds", "1", "1"], "--seeds is 1 1, expected at least one, each once."),
        (["--seeds", "-1"], "--seeds is -1, expected 0 or more."),
        (["--arms", "tuned"], "tuned"),
        (["--crop", "20"], "--crop is 20, expected a multiple of 8"),
        (["--batch", "0"], "--batch is 0, expected more than 0."),
        (["--root", "absent"], "absent is no folder"),
    ],
)
def test_contradictions_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(ABLATION, *arguments, "--out", tmp_path / "out") == 2
    shown = capsys.readouterr()
    assert message in squeezed(shown.err + shown.out)
    assert "Traceback" not in shown.err
    assert not (tmp_path / "out").exists()


def test_results_do_not_go_among_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(ABLATION, "--root", tmp_path, "--out", tmp_path / "out") == 2
    assert "results would be read as images the next time" in squeezed(capsys.readouterr().err)


def test_torchrun_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_script(ABLATION, "--root", tmp_path, "--out", tmp_path.parent / "out") == 2
    assert_one_error(capsys.readouterr().err, "expected one: start python without it")


def test_help_shows_each_option_with_its_help_and_the_preset_s_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_script(ABLATION, "--preset", "quick", "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    for name, text in documented_fields(AblationOptions):
        assert f"--{name.replace('_', '-')}" in shown
        assert len(text) > 5
        assert text[:25] in shown
    assert "(default: 24)" in shown  # epochs of both phases
