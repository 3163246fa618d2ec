"""Training and scoring of stage 1, run as users run them, on images of 16 pixels."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cloudkit.script.command_line
import scpm
import scpm.data
import scpm.paths
import thiefcloud.data.options
import thiefcloud.paths
import thiefcloud.scoring_options
from cloudkit.checkpoints import read_file
from tests.helpers import (
    TEST,
    TEST_CD,
    TRAIN,
    TRAIN_CD,
    assert_one_error,
    assert_same_state,
    copies_at,
    run_script,
    write_images,
    write_thickness_pairs,
)
from tests.scripts.conftest import history
from trainkit.training.run import Run
from trainkit.training.trainer import Trainer

SMALL = ["--preset", "quick", "--crop", 8, "--batch", 2, "--steps", 5, "--save-every", 2]
SMALL += ["--device", "cpu"]
# Moments of such a run at which it may be killed.
KILLS = {
    "before the first step": (Trainer, "_step", 1),
    "between the first best.pt and last.pt": (Run, "record", 1),
    "after a state was saved": (Trainer, "_step", 4),
    "before the second state is saved": (Trainer, "save_last", 2),
    "before the last step": (Trainer, "_step", 5),
}


@pytest.fixture(scope="module")
def unbroken(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """The folder of a whole run, for each decay of averaged weights; made once.

    Beside it, killed/ holds what a kill at each moment of `KILLS` leaves.
    """
    made: dict[float, Path] = {}

    def run(ema: float) -> Path:
        if ema not in made:
            made[ema] = tmp_path_factory.mktemp("unbroken") / "run"
            with copies_at(KILLS, made[ema], made[ema].parent / "killed"):
                arguments = ["--clear", chips, *SMALL, "--ema", ema, "--out", made[ema]]
                assert run_script(TRAIN_CD, *arguments) == 0
        return made[ema]

    return run


def test_the_store_changes_nothing(
    chips: Path, unbroken: Callable[[float], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["--clear", chips, *SMALL, "--store", "device", "--out", run]
    assert run_script(TRAIN_CD, *arguments) == 0
    assert_same_state(run / "last.pt", unbroken(0.0) / "last.pt")


def test_a_run_leaves_all_its_files(unbroken: Callable[[float], Path]) -> None:
    run = unbroken(0.0)
    names = {path.name for path in run.iterdir() if not path.name.startswith("events.out.tfevents")}
    assert names == {"best.pt", "last.pt", "options.json", "history.json"}
    records = history(run)
    assert [record["step"] for record in records] == [2, 4, 5]
    assert read_file(run / "best.pt")["score"] == -min(record["val/mae"] for record in records)
    assert scpm.load(run / "best.pt").in_channels == 3

    events = EventAccumulator(str(run)).Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "val/mae", "val/correlation"}
    assert [event.step for event in events.Scalars("val/mae")] == [2, 4, 5]
    (images,) = events.Tags()["images"]
    assert [event.step for event in events.Images(images)] == [2, 4, 5]


@pytest.mark.parametrize("ema", [0.0, 0.6])
@pytest.mark.parametrize("point", KILLS)
def test_a_killed_run_goes_on_bit_for_bit(
    unbroken: Callable[[float], Path], tmp_path: Path, point: str, ema: float
) -> None:
    run = Path(shutil.copytree(unbroken(ema).parent / "killed" / point, tmp_path / "run"))
    assert run_script(TRAIN_CD, "--out", run, "--resume") == 0
    for name in ("last.pt", "best.pt"):
        assert_same_state(run / name, unbroken(ema) / name)
    assert history(run) == history(unbroken(ema))


def test_a_run_goes_on_without_the_weights_that_it_began_with(
    chips: Path, prior: Path, tmp_path: Path
) -> None:
    run, began = tmp_path / "run", tmp_path / "began.pt"
    began.write_bytes(prior.read_bytes())
    arguments = ["--clear", chips, *SMALL, "--pretrained", began, "--out", run]
    assert run_script(TRAIN_CD, *arguments) == 0
    began.unlink()
    assert run_script(TRAIN_CD, "--out", run, "--resume") == 0


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
    parts = ("the loss is inf around step 4", "last.pt", "--resume", "--precision fp32")
    assert_one_error(capsys.readouterr().err, *parts)

    assert read_file(run / "last.pt")["step"] == 2
    assert run_script(TRAIN_CD, "--out", run, "--resume") == 0
    assert_same_state(run / "last.pt", unbroken(0.0) / "last.pt")


@pytest.mark.parametrize("folders", [("cloudy", "thickness"), ("T_Simulated", "T_Cmask")])
def test_pairs_made_beforehand(
    tmp_path: Path, folders: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_thickness_pairs(tmp_path / "pairs", 3, folders=folders)
    (pairs / folders[0] / "20.png").rename(pairs / folders[0] / "99.png")
    arguments = ["--pairs", pairs, *SMALL, "--steps", 1, "--out", tmp_path / "run"]
    assert run_script(TRAIN_CD, *arguments) == 0
    assert "2 pairs; 2 images without a partner are left out" in capsys.readouterr().out
    assert len(history(tmp_path / "run")) == 1


def test_too_few_images_to_learn_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, run = write_thickness_pairs(tmp_path / "one", 1), tmp_path / "run"
    for option, folder, kind in (("--pairs", one, "pairs"), ("--clear", one / "cloudy", "images")):
        assert run_script(TRAIN_CD, option, folder, *SMALL, "--out", run) == 2
        assert_one_error(capsys.readouterr().err, f"at least 2 {kind} are needed")
    assert not run.exists()


def test_thickness_maps_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, run = write_thickness_pairs(tmp_path / "pairs", 3), tmp_path / "run"
    write_images(pairs / "thickness", ["0.png", "10.png", "20.png"], bands=1, width=24)
    assert run_script(TRAIN_CD, "--pairs", pairs, *SMALL, "--out", run) == 2
    parts = ("16x16", "16x24", "images of one place must have one size")
    assert_one_error(capsys.readouterr().err, *parts)
    assert not run.exists()


def test_bf16_trains(chips: Path, unbroken: Callable[[float], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--clear", chips, *SMALL, "--precision", "bf16", "--out", run]
    assert run_script(TRAIN_CD, *arguments) == 0
    found = [record["train/loss"] for record in history(run)]
    expected = [record["train/loss"] for record in history(unbroken(0.0))]
    assert found == pytest.approx(expected, rel=0.1)
    assert found != expected


def test_fp16_needs_a_gpu(chips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    arguments = ["--clear", chips, *SMALL, "--precision", "fp16", "--out", run]
    assert run_script(TRAIN_CD, *arguments) == 2
    assert_one_error(capsys.readouterr().err, "fp16 does not train on the CPU")
    assert not run.exists()


def test_seeds_and_the_papers_optimizer(chips: Path, tmp_path: Path) -> None:
    losses = []
    for number, seed in enumerate((1, 1, 2)):
        run = tmp_path / str(number)
        arguments = ["--clear", chips, *SMALL, "--steps", 2, "--optimizer", "sgd"]
        arguments += ["--seed", seed, "--out", run]
        assert run_script(TRAIN_CD, *arguments) == 0
        losses.append(history(run)[0]["train/loss"])

        optimizer = read_file(run / "last.pt")["training"]["optimizer"]["param_groups"][0]
        assert (optimizer["momentum"], optimizer["weight_decay"]) == (0.9, 1e-6)
        assert optimizer["lr"] == pytest.approx(2e-3 * 0.5**0.9)  # the last of two steps
    assert losses[0] == losses[1] != losses[2]


def test_bare_commands_take_the_sample_chips(
    chips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command without data options takes the sample, and says so.

    It also takes the weights of the command before.
    """
    runs = tmp_path / "runs"
    for module, name, value in (
        (cloudkit.script.command_line, "SAMPLE", chips),
        (scpm.data, "SAMPLE", chips),
        (thiefcloud.data.options, "SAMPLE", chips),
        (scpm.paths, "OUT", runs / "scpm"),
        (thiefcloud.paths, "OUT", runs / "thiefcloud"),
        (thiefcloud.scoring_options, "OUT", runs / "thiefcloud"),
    ):
        monkeypatch.setattr(module, name, value)

    prior, best = runs / "scpm" / "best.pt", runs / "thiefcloud" / "best.pt"
    stage_1 = [TRAIN_CD, "--crop", 8, "--batch", 2, "--steps", 1]
    stage_2 = [TRAIN, "--crop", 8, "--prior", prior, "--epochs-frozen", 1, "--epochs-tunable", 1]
    scored = [TEST, "--checkpoint", best, "--out", runs / "test"]
    mapped = [TEST_CD, "--checkpoint", prior, "--out", runs / "test-scpm"]
    for script, *arguments in (stage_1, stage_1, stage_2, scored, mapped):
        assert run_script(Path(str(script)), *arguments, "--device", "cpu") == 0
        shown = capsys.readouterr().out
        assert "these are the sample chips; name" in shown
        assert str(chips) in shown

    for folder in ("scpm", "thiefcloud"):
        assert json.loads((runs / folder / "options.json").read_text())["preset"] == "quick"
    for folder in ("test", "test-scpm"):
        assert json.loads((runs / folder / "metrics.json").read_text())["count"] == 2
    assert (runs / "scpm-1" / "best.pt").exists()  # moved aside by the second run
