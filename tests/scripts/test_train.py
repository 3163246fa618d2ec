"""Training of stage 2, run as its user runs it, on images of 16 pixels."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import thiefcloud
import trainkit.scoring.metrics
from cloudkit.checkpoints import read_file
from tests.helpers import (
    TEST,
    TRAIN,
    assert_one_error,
    assert_same_state,
    run_script,
    write_images,
    write_pairs,
)
from tests.scripts.conftest import ONE_EPOCH, SMALL, TWO_PHASES, history


def test_the_store_changes_nothing(
    common: list[object], unbroken: Callable[[float], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [*common, *TWO_PHASES, "--ema", 0.0, "--store", "device", "--out", run]
    assert run_script(TRAIN, *arguments) == 0
    assert_same_state(run / "last.pt", unbroken(0.0) / "last.pt")


FILES = {"best.pt", "last.pt", "inversion.pt", "frozen.pt", "options.json", "history.json"}


def test_a_run_leaves_all_its_files(unbroken: Callable[[float], Path]) -> None:
    run = unbroken(0.0)
    names = {path.name for path in run.iterdir() if not path.name.startswith("events.out.tfevents")}
    assert names == FILES

    records = history(run)
    steps = [(record["phase"], record["epoch"], record["step"]) for record in records]
    assert steps == [(0, 1, 2), (1, 1, 4), (1, 2, 6), (2, 1, 8), (2, 2, 10)]
    assert read_file(run / "last.pt")["training"]["progress"]["history"] == records

    scores = [record["val/psnr"] for record in records]
    assert read_file(run / "best.pt")["score"] == max(scores)
    assert read_file(run / "frozen.pt")["score"] == max(scores[:3])
    noted = json.dumps(read_file(run / "best.pt")["options"])
    assert json.loads(noted) == json.loads((run / "options.json").read_text())


def test_a_run_leaves_its_records_for_tensorboard(unbroken: Callable[[float], Path]) -> None:
    run = unbroken(0.0)
    events = EventAccumulator(str(run), {"images": 0}).Reload()  # 0: keep all
    assert set(events.Tags()["scalars"]) == {"train/loss", "val/psnr", "val/ssim"}

    scalars = events.Scalars("val/psnr")
    assert [event.step for event in scalars] == [2, 4, 6, 8, 10]
    scores = [record["val/psnr"] for record in history(run)]
    assert [event.value for event in scalars] == pytest.approx(scores, abs=1e-5)

    (images,) = events.Tags()["images"]
    assert [event.step for event in events.Images(images)] == [2, 4, 6, 8, 10]
    assert events.Images(images)[0].width >= 4 * 16  # cloudy, thickness, restored, clear


def test_best_weights_score_as_they_note(
    unbroken: Callable[[float], Path], pairs: Path, tmp_path: Path
) -> None:
    """Validation is whole images in full precision, so test.py finds the same score."""
    best = unbroken(0.0) / "best.pt"
    arguments = ["--dataset", "folder", "--root", pairs, "--checkpoint", best, "--device", "cpu"]
    assert run_script(TEST, *arguments, "--out", tmp_path) == 0
    lines = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    scores = [float(line.split(",")[4]) for line in lines]
    # On CPUs weights lie in another order in training than when loaded, so sums round differently.
    # Images are 0.04 dB apart.
    noted = read_file(best)["score"]
    assert min(abs(score - noted) for score in scores) < 1e-5


@pytest.mark.parametrize("ema", [0.0, 0.6])
def test_the_prior_is_frozen_then_tuned(
    unbroken: Callable[[float], Path], prior: Path, ema: float
) -> None:
    before = read_file(prior)["model"]
    frozen, last = (read_file(unbroken(ema) / name)["model"] for name in ("frozen.pt", "last.pt"))
    tuned = set()
    for name, value in before.items():
        assert torch.equal(frozen[f"prior.{name}"], value), name
        if not torch.equal(last[f"prior.{name}"], value):
            tuned.add(name)
    # No term of the loss depends on the head.
    statistics = {name for name, value in before.items() if "running" in name or not value.dim()}
    assert before.keys() - tuned == {"head.weight", "head.bias"} | statistics


def test_averaged_weights_are_kept_apart(unbroken: Callable[[float], Path]) -> None:
    last = read_file(unbroken(0.6) / "last.pt")
    weight, training = last["model"]["shallow.weight"], last["training"]
    assert not torch.equal(weight, training["model"]["shallow.weight"])
    assert torch.equal(weight, training["averaged"]["module.shallow.weight"])
    thiefcloud.load(unbroken(0.6) / "last.pt")


@pytest.mark.parametrize("ema", [0.0, 0.6])
def test_the_tunable_phase_starts_from_the_best_frozen_weights(
    common: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    """Validation prefers the first frozen epoch, and the tunable phase changes next to nothing."""
    scores = iter((2.5, 3.0, 2.0, 1.0))
    monkeypatch.setattr(
        trainkit.scoring.metrics, "psnr", lambda image, clear: torch.tensor([next(scores)])
    )
    arguments = [*common, *TWO_PHASES, "--epochs-tunable", 1, "--ema", ema]
    arguments += ["--lr-tunable", 1e-12, "--lr-end", 1e-12]
    assert run_script(TRAIN, *arguments, "--out", tmp_path / "run") == 0

    frozen, last = (read_file(tmp_path / "run" / name) for name in ("frozen.pt", "last.pt"))
    assert (frozen["score"], frozen["step"], last["step"]) == (3.0, 4, 8)
    expected = frozen["model"]["shallow.weight"]
    for weights in (last["model"], last["training"]["model"]):
        torch.testing.assert_close(weights["shallow.weight"], expected, rtol=0, atol=1e-7)


def test_bf16_trains(common: list[object], finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_script(TRAIN, *common, *ONE_EPOCH, "--precision", "bf16", "--out", run) == 0
    expected, found = (history(folder)[-1]["train/loss"] for folder in (finished, run))
    assert read_file(finished / "best.pt")["options"]["precision"] in ("auto", "fp32")
    assert found == pytest.approx(expected, rel=0.05)
    assert found != expected


def test_fp16_needs_a_gpu(
    common: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*common, *ONE_EPOCH, "--precision", "fp16", "--out", tmp_path / "run"]
    assert run_script(TRAIN, *arguments) == 2
    message = "fp16 does not train on the CPU; choose --precision fp32 or bf16"
    assert_one_error(capsys.readouterr().err, message)
    assert not (tmp_path / "run").exists()


def test_simulated_clouds(tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "chips", [f"{10 * n}.png" for n in range(3)])
    arguments = ["--root", tmp_path / "chips", "--prior", prior, *SMALL]
    arguments += ["--epochs-frozen", 0, "--epochs-tunable", 1]
    for run in ("one", "other"):
        assert run_script(TRAIN, *arguments, "--out", tmp_path / run) == 0
    assert "clear images (2 train, 1 val, 3 test), clouds simulated" in capsys.readouterr().out
    assert_same_state(tmp_path / "one" / "last.pt", tmp_path / "other" / "last.pt")
    assert not (tmp_path / "one" / "frozen.pt").exists()


def test_named_set_without_prior(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's recipe is the default of a named set; the tree is RICE1's."""
    write_pairs(tmp_path / "RICE1", 6)
    (tmp_path / "RICE1" / "cloudy").rename(tmp_path / "RICE1" / "cloud")
    (tmp_path / "RICE1" / "clear").rename(tmp_path / "RICE1" / "label")
    arguments = ["--dataset", "rice1", "--root", tmp_path, "--untrained-prior", *ONE_EPOCH]
    arguments += ["--perceptual", 0, "--crop", 8, "--batch-frozen", 2, "--device", "cpu"]
    assert run_script(TRAIN, *arguments, "--out", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert "rice1: 6 pairs" in shown
    assert "prior: untrained" in shown

    options = json.loads((tmp_path / "run" / "options.json").read_text())
    assert (options["preset"], options["pixel"]) == ("paper", "mse")
    assert (options["lr_frozen"], options["epochs_tunable"]) == (5e-4, 0)


def test_a_run_goes_on_without_the_prior_that_it_began_with(
    common: list[object], prior: Path, tmp_path: Path
) -> None:
    began = tmp_path / "began.pt"
    began.write_bytes(prior.read_bytes())
    arguments = [*common, *ONE_EPOCH, "--prior", began, "--out", tmp_path / "run"]
    assert run_script(TRAIN, *arguments) == 0
    began.unlink()
    assert run_script(TRAIN, "--out", tmp_path / "run", "--resume") == 0


MISTAKES = {
    ("--prior", "absent.pt"): ["absent.pt", "SCPM/src/train_cd.py trains SCPM"],
    ("--root", "only"): ["there is no image for train"],
    ("--root", "one"): ["at least 2 pairs are needed"],
    ("--dataset", "simulated"): [
        "holds pairs of cloudy and clear images, expected only clear ones",
        "Name the folder of the clear images: ",
        "clear.",
    ],
    ("--crop", 64): ["smaller than the crop of 64; choose a smaller --crop"],
    ("--device", "nonsense"): ["the device 'nonsense' is unknown"],
    ("--perceptual", 0.1, "--vgg", "absent.pt"): ["absent.pt"],
}


@pytest.mark.parametrize(("arguments", "parts"), MISTAKES.items())
def test_other_mistakes_are_one_line(
    common: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[object, ...],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "only" / "test" / "cloudy", ["0.png"])
    write_images(tmp_path / "only" / "test" / "clear", ["0.png"])
    write_pairs(tmp_path / "one", 1)
    assert run_script(TRAIN, *common, *arguments, "--out", "run") == 2
    assert_one_error(capsys.readouterr().err, *parts)
    assert not (tmp_path / "run").exists()
