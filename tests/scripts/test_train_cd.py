"""Stage 1's training and test_cd.py, run as their user runs them, on images of 16 pixels."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cloudkit.cli
import scpm
import scpm.options
import thiefcloud.options
import thiefcloud.options_trained
from cloudkit.checkpoints import read_file
from cloudkit.images import read_image, read_unit
from cloudkit.runs import RunFolder
from cloudkit.training import Trainee
from tests.helpers import (
    TEST,
    TEST_CD,
    TRAIN,
    TRAIN_CD,
    Killed,
    assert_one_error,
    assert_same_state,
    break_at,
    run_script,
    write_images,
    write_thickness_pairs,
)

SMALL = ["--preset", "quick", "--crop", 8, "--batch", 2, "--steps", 5, "--save-every", 2, "--device", "cpu"]


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clear images, four to train and validate on and two to test on."""
    folder = tmp_path_factory.mktemp("chips")
    write_images(folder / "train", [f"{10 * n}.png" for n in range(4)])
    write_images(folder / "test", ["a.png", "b.png"], width=21)
    return folder


@pytest.fixture(scope="module")
def unbroken(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """The folder of a whole run, with averaged weights or without; made once."""
    made: dict[float, Path] = {}

    def run(ema: float) -> Path:
        if ema not in made:
            made[ema] = tmp_path_factory.mktemp("unbroken") / "run"
            assert run_script(TRAIN_CD, "--clear", chips, *SMALL, "--ema", ema, "--out", made[ema]) == 0
        return made[ema]

    return run


def history(run: Path) -> list[dict[str, float]]:
    return json.loads((run / "history.json").read_text())


def test_the_store_changes_nothing(chips: Path, unbroken: Callable[[float], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_script(TRAIN_CD, "--clear", chips, *SMALL, "--ema", 0.0, "--store", "device", "--out", run) == 0
    assert_same_state(run / "last.pt", unbroken(0.0) / "last.pt")


def test_a_run_leaves_all_it_should(unbroken: Callable[[float], Path]) -> None:
    run = unbroken(0.0)
    names = {path.name for path in run.iterdir() if not path.name.startswith("events.out.tfevents")}
    assert names == {"best.pt", "last.pt", "options.json", "history.json"}
    records = history(run)
    assert [record["step"] for record in records] == [2, 4, 5]
    assert read_file(run / "best.pt")["score"] == -min(record["val/mae"] for record in records)
    events = EventAccumulator(str(run)).Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "val/mae", "val/correlation"}
    assert [event.step for event in events.Scalars("val/mae")] == [2, 4, 5]
    (images,) = events.Tags()["images"]
    assert [event.step for event in events.Images(images)] == [2, 4, 5]
    assert scpm.load(run / "best.pt").in_channels == 3


@pytest.mark.parametrize(
    ("owner", "method", "call", "ema"),
    [
        (Trainee, "_step", 1, 0.0),
        (RunFolder, "record", 1, 0.0),  # between best.pt and last.pt
        (Trainee, "_step", 4, 0.0),
        (Trainee, "save_last", 2, 0.6),
        (Trainee, "_step", 5, 0.6),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(
    chips: Path,
    unbroken: Callable[[float], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    call: int,
    ema: float,
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        break_at(patched, owner, method, call)
        with pytest.raises(Killed):
            run_script(TRAIN_CD, "--clear", chips, *SMALL, "--ema", ema, "--out", run)
    assert run_script(TRAIN_CD, "--out", run, "--resume") == 0
    for name in ("last.pt", "best.pt"):
        assert_same_state(run / name, unbroken(ema) / name)
    assert history(run) == history(unbroken(ema))


def test_a_non_finite_loss_keeps_the_last_good_state(
    chips: Path,
    unbroken: Callable[[float], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[int] = []
    l1_loss = F.l1_loss

    def poisoned(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return l1_loss(found, truth) * (float("inf") if len(calls) == 4 else 1)

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(F, "l1_loss", poisoned)
        assert run_script(TRAIN_CD, "--clear", chips, *SMALL, "--out", run) == 2
    assert_one_error(capsys.readouterr().err, "the loss is inf around step 4", "last.pt", "--resume", "--precision fp32")
    assert read_file(run / "last.pt")["step"] == 2
    assert run_script(TRAIN_CD, "--out", run, "--resume") == 0
    assert_same_state(run / "last.pt", unbroken(0.0) / "last.pt")


@pytest.mark.parametrize("folders", [("cloudy", "thickness"), ("T_Simulated", "T_Cmask")])
def test_pairs_made_beforehand(tmp_path: Path, folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_thickness_pairs(tmp_path / "pairs", 3, folders=folders)
    (pairs / folders[0] / "20.png").rename(pairs / folders[0] / "99.png")
    arguments = ["--pairs", pairs, *SMALL, "--steps", 1, "--out", tmp_path / "run"]
    assert run_script(TRAIN_CD, *arguments) == 0
    assert "2 pairs; 2 images without a partner are left out" in capsys.readouterr().out
    assert len(history(tmp_path / "run")) == 1


def test_pairs_that_one_could_not_learn_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_thickness_pairs(tmp_path / "one", 1)
    assert run_script(TRAIN_CD, "--pairs", one, *SMALL, "--out", tmp_path / "run") == 2
    assert_one_error(capsys.readouterr().err, "expected at least one image to train on, and another for validation")
    assert run_script(TRAIN_CD, "--clear", one / "cloudy", *SMALL, "--out", tmp_path / "run") == 2
    assert_one_error(capsys.readouterr().err, "expected at least one image to train on, and another for validation")
    sizes = write_thickness_pairs(tmp_path / "sizes", 3)
    write_images(sizes / "thickness", ["0.png", "10.png", "20.png"], bands=1, width=24)
    assert run_script(TRAIN_CD, "--pairs", sizes, *SMALL, "--out", tmp_path / "run") == 2
    assert_one_error(capsys.readouterr().err, "16x16", "16x24", "images of one place must have one size")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision(
    chips: Path, unbroken: Callable[[float], Path], tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    status = run_script(TRAIN_CD, "--clear", chips, *SMALL, "--precision", precision, "--out", run)
    if precision == "fp16":
        assert status == 2
        assert_one_error(capsys.readouterr().err, "fp16 does not train on the CPU")
        assert not run.exists()
    else:
        assert status == 0
        losses = [[record["train/loss"] for record in history(folder)] for folder in (run, unbroken(0.0))]
        assert losses[0] == pytest.approx(losses[1], rel=0.1)
        assert losses[0] != losses[1]


def test_seeds_and_the_papers_optimizer(chips: Path, tmp_path: Path) -> None:
    losses = []
    for number, seed in enumerate((1, 1, 2)):
        run = tmp_path / str(number)
        arguments = ["--clear", chips, *SMALL, "--steps", 2, "--seed", seed, "--optimizer", "sgd", "--out", run]
        assert run_script(TRAIN_CD, *arguments) == 0
        losses.append(history(run)[0]["train/loss"])
        optimizer = read_file(run / "last.pt")["training"]["optimizer"]["param_groups"][0]
        assert (optimizer["momentum"], optimizer["weight_decay"]) == (0.9, 1e-6)
        assert optimizer["lr"] == pytest.approx(2e-3 * 0.5**0.9)  # the last of two steps
    assert losses[0] == losses[1] != losses[2]


def test_bare_commands_take_the_sample_chips(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command without data options takes the sample, uses what the one before made, and says so."""
    runs = tmp_path / "runs"
    for module, name, value in (
        (cloudkit.cli, "SAMPLE", chips),
        (scpm.data, "SAMPLE", chips),
        (thiefcloud.options, "SAMPLE", chips),
        (scpm.options, "OUT", runs / "scpm"),
        (thiefcloud.options, "OUT", runs / "thiefcloud"),
        (thiefcloud.options_trained, "OUT", runs / "thiefcloud"),
    ):
        monkeypatch.setattr(module, name, value)
    for script, arguments in (
        (TRAIN_CD, ["--crop", 8, "--batch", 2, "--steps", 1]),
        (TRAIN_CD, ["--crop", 8, "--batch", 2, "--steps", 1]),
        (TRAIN, ["--prior", runs / "scpm" / "best.pt", "--crop", 8, "--epochs-frozen", 1, "--epochs-tunable", 1]),
        (TEST, ["--checkpoint", runs / "thiefcloud" / "best.pt", "--out", runs / "test"]),
        (TEST_CD, ["--checkpoint", runs / "scpm" / "best.pt", "--out", runs / "test-scpm"]),
    ):
        assert run_script(script, *arguments, "--device", "cpu") == 0
        shown = capsys.readouterr().out
        assert "these are the sample chips; name" in shown
        assert str(chips) in shown
    assert json.loads((runs / "scpm" / "options.json").read_text())["preset"] == "quick"
    assert json.loads((runs / "thiefcloud" / "options.json").read_text())["preset"] == "quick"
    assert (runs / "scpm-1" / "best.pt").exists()  # moved aside by the second run
    assert json.loads((runs / "test" / "metrics.json").read_text())["count"] == 2
    assert json.loads((runs / "test-scpm" / "metrics.json").read_text())["count"] == 2


# test_cd.py


def test_maps_of_images_of_ones_own(tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "images" / "town", ["a.png"], height=5, width=9)
    write_images(tmp_path / "images", ["b.tif"], bands=1)
    arguments = ["--images", tmp_path / "images", "--checkpoint", prior, "--device", "cpu", "--out", tmp_path / "out"]
    assert run_script(TEST_CD, *arguments) == 0
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["thickness/b.png", "thickness/town_a.png"]
    thickness = read_image(tmp_path / "out" / "thickness" / "town_a.png", bands=1)
    assert thickness.dtype == torch.uint16
    expected = scpm.detect(scpm.load(prior), read_unit(tmp_path / "images" / "town" / "a.png"))
    torch.testing.assert_close(thickness / 65535, expected, rtol=0, atol=1e-5)
    assert "correlation" not in capsys.readouterr().out


@pytest.mark.parametrize("folders", [("cloudy", "thickness"), ("T_Simulated", "T_Cmask")])
def test_error_of_maps(tmp_path: Path, prior: Path, folders: tuple[str, str]) -> None:
    pairs, out = write_thickness_pairs(tmp_path / "pairs", 3, folders=folders), tmp_path / "out"
    assert run_script(TEST_CD, "--pairs", pairs, "--checkpoint", prior, "--device", "cpu", "--out", out) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    errors, correlations = [], []
    for path in sorted((pairs / folders[1]).iterdir()):
        truth = read_unit(path, bands=1).numpy().astype(np.float64)
        found = scpm.detect(scpm.load(prior), read_unit(pairs / folders[0] / path.name)).numpy().astype(np.float64)
        errors.append(np.abs(found - truth).mean())
        correlations.append(np.corrcoef(found.flatten(), truth.flatten())[0, 1])
    assert metrics == {
        "count": 3,
        "mae": pytest.approx(np.mean(errors), abs=1e-6),
        "correlation": pytest.approx(np.mean(correlations), abs=1e-5),
    }
    for folder in ("thickness", "panels"):
        assert len(list((out / folder).iterdir())) == 3


def test_fixed_clouds_over_clear_images(chips: Path, tmp_path: Path, prior: Path) -> None:
    arguments = ["--clear", chips, "--checkpoint", prior, "--device", "cpu"]
    scores = []
    for out in ("one", "other"):
        assert run_script(TEST_CD, *arguments, "--out", tmp_path / out) == 0
        scores.append(json.loads((tmp_path / out / "metrics.json").read_text()))
    assert scores[0] == scores[1]
    assert scores[0]["count"] == 2  # of test/ alone
    assert {path.stem for path in (tmp_path / "one" / "thickness").iterdir()} == {"a", "b"}
