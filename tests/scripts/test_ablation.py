"""The ablation, run as its user runs it, on images of 16 pixels: its runs and its report."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from cloudkit.files import read_json, write_json
from tests.helpers import (
    ABLATION,
    Killed,
    assert_one_error,
    assert_same_state,
    break_at,
    run_script,
)
from tests.scripts.ablating import ARMS, Arguments, six_pairs
from tests.scripts.conftest import history
from trainkit.data.splits import read_names
from trainkit.training.trainer import Trainer


@pytest.fixture(scope="module")
def given(prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    return six_pairs(tmp_path_factory.mktemp("pairs"), prior)


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
    """Return the time of the last change of each file of the runs."""
    files = [path for path in out.glob("fold-*/**/*") if path.is_file()]
    return {path.relative_to(out): path.stat().st_mtime_ns for path in files}


def test_what_it_leaves(finished: Path) -> None:
    tests = [read_names(finished / f"fold-{fold}" / "test.txt") for fold in (1, 2)]
    assert tests == [["0", "10", "20"], ["30", "40", "50"]]
    report = json.loads((finished / "ablation.json").read_text())
    assert list(report["arms"]) == list(ARMS)
    for arm in report["arms"].values():
        assert (arm["runs"], arm["psnr"]["images"]) == (2, 6)
        assert arm["steps"] == [3]  # one batch an epoch, and one of the inversion

    (found,) = report["differences"]
    assert (found["arm"], found["against"]) == ("trained-then-tunable", "untrained-frozen")
    restored = {arm: report["arms"][arm]["psnr"]["mean"] for arm in ARMS}
    assert found["psnr"]["mean"] == pytest.approx(restored[ARMS[1]] - restored[ARMS[0]])
    assert found["psnr"]["verdict"] in ("helps", "harms", "not resolved")
    assert (finished / "ablation.md").read_text().startswith("# What the cloud prior is worth")


def test_tuning_alone_changes_the_thickness_maps(finished: Path) -> None:
    for fold in (1, 2):
        scores = [record["val/psnr"] for record in history(finished / f"fold-{fold}" / ARMS[1])]
        assert max(scores) == scores[-1], "the best weights are those after tuning"

    correlations = json.loads((finished / "ablation.json").read_text())["sight"]
    frozen, tuned = (correlations[arm] for arm in ARMS)
    assert frozen["before"] == frozen["after"]
    assert tuned["before"] != tuned["after"]


def test_each_run_is_of_train_py_with_its_own_options(finished: Path) -> None:
    for fold in (1, 2):
        for arm in ARMS:
            folder = finished / f"fold-{fold}" / arm
            options = json.loads((folder / "options.json").read_text())
            assert options["split"] == str(finished / f"fold-{fold}" / "train.txt")
            assert options["untrained_prior"] is (arm == "untrained-frozen")
            epochs = (2, 0) if arm == "untrained-frozen" else (1, 1)
            assert (options["epochs_frozen"], options["epochs_tunable"]) == epochs
            assert options["batch_frozen"] == options["batch_tunable"] == 2
            assert options["lr_frozen"] == options["lr_tunable"] == 1e-4
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
    last = Path("fold-1", ARMS[1], "last.pt")
    assert_same_state(copy / last, finished / last)
    assert (copy / "ablation.json").read_text() == (finished / "ablation.json").read_text()
    changed = {path for path, stamp in stamps(copy).items() if before.get(path) != stamp}
    assert {path.parts[:3] for path in changed if path.parts[:2] != ("fold-1", ARMS[1])} == {
        ("fold-2", ARMS[0], "test"),
        ("fold-2", ARMS[1], "thickness.json"),
    }


def test_runs_at_a_time_give_the_same(
    copy: Path, finished: Path, given: Arguments, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy / "fold-1")
    assert run_script(ABLATION, *given, "--out", copy, "--jobs", 2) == 0
    shown = capfd.readouterr().out
    assert "run 1 of 4: fold 1, untrained-frozen, seed 2023 (new)" in shown
    assert "run 2 of 4: fold 1, trained-then-tunable, seed 2023 is finished" in shown
    assert "best validation PSNR" not in shown  # it is in the log
    for arm in ARMS:
        assert "best validation PSNR" in (copy / "fold-1" / f"{arm}.log").read_text()
        last = Path("fold-1", arm, "last.pt")
        assert_same_state(copy / last, finished / last)
    assert (copy / "ablation.json").read_text() == (finished / "ablation.json").read_text()


@pytest.mark.parametrize(
    ("arm", "method", "call", "state"),
    [
        (ARMS[1], "_step", 1, "begun"),  # before anything was saved
        (ARMS[1], "_step", 2, "begun"),  # in the frozen phase
        (ARMS[1], "_step", 3, "begun"),  # in the tunable one
        (ARMS[0], "_step", 3, "begun"),  # in the second epoch of the frozen one
        # after the last best.pt and record, so only last.pt is behind
        (ARMS[1], "save_last", 3, "trained"),
    ],
)
def test_a_killed_run_goes_on(
    copy: Path,
    finished: Path,
    given: Arguments,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arm: str,
    method: str,
    call: int,
    state: str,
) -> None:
    shutil.rmtree(copy / "fold-2" / arm)
    with monkeypatch.context() as patched:
        break_at(patched, Trainer, method, call)
        with pytest.raises(Killed):
            run_script(ABLATION, *given, "--out", copy)
    assert run_script(ABLATION, "--out", copy, "--report-only") == 0
    message = f"Not finished, so left out: {arm} of fold 2, seed 2023."
    assert message in capsys.readouterr().out

    assert run_script(ABLATION, *given, "--out", copy) == 0
    assert f": fold 2, {arm}, seed 2023 ({state})" in capsys.readouterr().out
    best = Path("fold-2", arm, "best.pt")
    assert_same_state(copy / best, finished / best)
    assert (copy / "ablation.json").read_text() == (finished / "ablation.json").read_text()


def test_other_weights_are_scored_again(copy: Path, given: Arguments) -> None:
    folder = copy / "fold-1" / ARMS[0]
    best = folder / "best.pt"
    content = torch.load(best, weights_only=False)
    content["score"] += 1.0
    torch.save(content, best)
    os.utime(best, (0, 0))  # the times of files say nothing, and copies may change them
    for other in copy.glob("fold-2/*/best.pt"):
        os.utime(other)

    before = stamps(copy)
    assert run_script(ABLATION, *given, "--arms", ARMS[0], "--out", copy) == 0
    after = stamps(copy)
    for name in ("test/metrics.csv", "thickness.json"):
        ours, others = (Path(fold, ARMS[0], name) for fold in ("fold-1", "fold-2"))
        assert before[ours] != after[ours]
        assert before[others] == after[others]


def test_results_of_other_weights_are_not_reported(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = copy / "fold-1" / ARMS[0] / "test" / "metrics.json"
    write_json(scores, {**read_json(scores), "weights": "0" * 64})
    assert run_script(ABLATION, "--out", copy, "--report-only") == 0
    message = f"Not finished, so left out: {ARMS[0]} of fold 1, seed 2023."
    assert message in capsys.readouterr().out

    thickness = copy / "fold-1" / ARMS[1] / "thickness.json"
    before = json.loads((copy / "ablation.json").read_text())["sight"][ARMS[1]]
    write_json(thickness, {**read_json(thickness), "weights": "0" * 64})
    assert run_script(ABLATION, "--out", copy, "--report-only") == 0
    after = json.loads((copy / "ablation.json").read_text())["sight"][ARMS[1]]
    assert len(before["after"]["between_by_run"]) == 2
    assert len(after["after"]["between_by_run"]) == 1


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--crop", 16], ["fold-1/untrained-frozen", "crop = 8 there, 16 here"]),
        (["--lr", 0.1], ["lr_frozen = 0.0001 there, 0.1 here"]),
        (["--epochs", 3], ["epochs_frozen = 2 there, 3 here"]),
        (["--no-residual", "--epochs-inversion", 0], ["residual = True there, False here"]),
        (["--epochs-inversion", 3], ["epochs_inversion = 1 there, 3 here"]),
        (["--folds", 3], ["holds an ablation over other folds than these 3"]),
        (
            ["--reference", "unet"],
            [f"--reference is unet, expected one of the arms: {', '.join(ARMS)}."],
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
    prior: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = tmp_path / prior.name
    changed.write_bytes(prior.read_bytes() + b"\0")  # the name is the same, the content is not
    assert run_script(ABLATION, *given, "--priors", changed, "--out", copy) == 2
    parts = ("fold-1/trained-then-tunable", "it began with other weights of SCPM")
    assert_one_error(capsys.readouterr().err, *parts)

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

    assert run_script(ABLATION, "--out", copy, "--report-only", "--reference", ARMS[1]) == 0
    assert re.search(r"\| untrained-frozen +\| trained-then-tunable +\|", capsys.readouterr().out)

    assert run_script(ABLATION, "--out", tmp_path / "empty", "--report-only") == 2
    assert_one_error(capsys.readouterr().err, "holds no finished run to report")


def test_a_failing_training_stops_it_and_says_so(
    given: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(ABLATION, *given, "--crop", 64, "--out", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert "smaller than the crop of 64" in shown
    message = "train.py stopped with the error above; correct it and start the same command again"
    assert message in shown
    assert "Traceback" not in shown
