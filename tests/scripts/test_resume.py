"""Training of stage 2, killed and resumed: nothing is lost and nothing changes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cloudkit.checkpoints import read_file
from tests.helpers import TRAIN, assert_one_error, assert_same_state, run_script
from tests.scripts.conftest import KILLS, ONE_EPOCH, TWO_PHASES, history
from thiefcloud.training.losses import RestorationLoss


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that both runs ended in the same weights, bit for bit, with the same records."""
    for name in ("last.pt", "best.pt", "inversion.pt", "frozen.pt"):
        assert_same_state(one / name, other / name)
    assert history(one) == history(other)

    first, second = EventAccumulator(str(one)).Reload(), EventAccumulator(str(other)).Reload()
    assert first.Tags() == second.Tags()
    for tag in first.Tags()["scalars"]:
        expected = [(event.step, event.value) for event in second.Scalars(tag)]
        assert [(event.step, event.value) for event in first.Scalars(tag)] == expected


def bytes_of(run: Path, pattern: str = "*") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.glob(pattern)}


@pytest.mark.parametrize(
    ("point", "ema"),
    [
        *((point, 0.0) for point in KILLS),
        ("between best.pt and last.pt of the tunable phase", 0.6),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(
    unbroken: Callable[[float], Path], tmp_path: Path, point: str, ema: float
) -> None:
    run = Path(shutil.copytree(unbroken(ema).parent / "killed" / point, tmp_path / "run"))
    assert run_script(TRAIN, "--out", run, "--resume") == 0
    assert_same_run(run, unbroken(ema))


def test_a_state_that_cannot_be_resumed_changes_nothing(
    one_epoch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = one_epoch
    content = read_file(run / "last.pt")
    del content["training"]["progress"]
    torch.save(content, run / "last.pt")
    before = bytes_of(run)
    capsys.readouterr()
    assert run_script(TRAIN, "--out", run, "--resume", "--epochs-frozen", 9) == 2
    assert_one_error(capsys.readouterr().err, "last.pt lacks progress of the training's state")
    assert bytes_of(run) == before


def test_weights_note_only_options_that_were_in_force(
    common: list[object], finished: Path, tmp_path: Path
) -> None:
    weights, second = finished / "best.pt", tmp_path / "second"
    arguments = [*common, *ONE_EPOCH, "--pretrained", weights, "--out", second]
    assert run_script(TRAIN, *arguments) == 0

    noted, brought = (read_file(run / "best.pt")["options"] for run in (finished, second))
    assert noted["residual"]
    assert noted.keys() - brought.keys() == {"network", "untrained_prior", "no_prior", "residual"}
    assert noted["prior"] == brought["prior"]
    assert brought["pretrained"] == str(weights.resolve())


def test_the_tunable_phase_overwrote_the_best_frozen_weights(
    unbroken: Callable[[float], Path],
) -> None:
    """Else the kill "between best.pt and last.pt of the tunable phase" would show nothing."""
    records = history(unbroken(0.0))
    assert records[3]["val/psnr"] > max(record["val/psnr"] for record in records[:3])


def test_a_run_killed_at_any_moment_goes_on_bit_for_bit(
    common: list[object], unbroken: Callable[[float], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [*common, *TWO_PHASES, "--ema", 0.0, "--out", run]
    process = subprocess.Popen(
        [sys.executable, TRAIN, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.PIPE,
    )
    records, delay = random.choice([1, 2]), random.uniform(0, 0.2)
    print(f"killed {delay:.3f} s after record {records}")  # shown if the test fails
    while not (run / "history.json").exists() or len(history(run)) < records:
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    # TensorBoard orders files that two processes began within one second by their numbers.
    time.sleep(1)
    assert run_script(TRAIN, "--out", run, "--resume") == 0
    assert_same_run(run, unbroken(0.0))


def test_a_finished_run_stays_as_it_is(
    one_epoch: Path, common: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    run = one_epoch
    before = bytes_of(run, "*.pt")
    assert run_script(TRAIN, "--out", run, "--resume") == 0
    assert bytes_of(run, "*.pt") == before
    printed = capsys.readouterr().out
    assert printed.count("nothing left to train") == 1
    assert "best validation PSNR" in printed.split("nothing left to train")[1]
    assert run_script(TRAIN, *common, *ONE_EPOCH, "--out", run) == 2
    assert_one_error(capsys.readouterr().err, "holds a run already; go on with it by --resume")


def test_a_longer_frozen_phase_renews_what_the_tunable_one_starts_from(one_epoch: Path) -> None:
    run = one_epoch
    assert not (run / "frozen.pt").exists()  # no tunable phase, so nothing to start it from
    (run / "frozen.pt").write_bytes(b"of a shorter run")
    longer = ["--epochs-frozen", 2, "--epochs-tunable", 1]
    assert run_script(TRAIN, "--out", run, "--resume", *longer) == 0
    inversion, *frozen, tunable = history(run)
    assert (inversion["phase"], len(frozen), tunable["phase"]) == (0, 2, 2)
    best = max(record["val/psnr"] for record in (inversion, *frozen))
    assert read_file(run / "frozen.pt")["score"] == best


def test_a_run_without_its_state_is_not_overwritten(
    unbroken: Callable[[float], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(unbroken(0.0), tmp_path / "run"))
    (run / "last.pt").unlink()
    before = bytes_of(run)
    assert run_script(TRAIN, "--out", run, "--resume") == 2
    assert_one_error(capsys.readouterr().err, "last.pt is missing", "another folder with --out")
    assert bytes_of(run) == before


def test_resuming_needs_the_data_but_not_the_prior(
    common: list[object], tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, copy = tmp_path / "run", tmp_path / "prior.pt"
    copy.write_bytes(prior.read_bytes())
    assert run_script(TRAIN, *common, *ONE_EPOCH, "--prior", copy, "--out", run) == 0
    copy.unlink()
    longer = ["--epochs-tunable", 1, "--lr-tunable", 1e-5]
    assert run_script(TRAIN, "--out", run, "--resume", *longer) == 0
    assert "resuming with epochs_tunable = 1 instead of 0" in capsys.readouterr().out
    epochs = [(record["phase"], record["epoch"]) for record in history(run)]
    assert epochs == [(0, 1), (1, 1), (2, 1)]


def test_a_non_finite_loss_keeps_the_last_good_state(
    common: list[object],
    unbroken: Callable[[float], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[int] = []
    forward = RestorationLoss.forward

    def poisoned(self: RestorationLoss, *arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(1)
        factor = float("nan") if len(calls) == 3 else 1
        losses = forward(self, *arguments)
        return {name: value * factor for name, value in losses.items()}

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(RestorationLoss, "forward", poisoned)
        assert run_script(TRAIN, *common, *TWO_PHASES, "--ema", 0.0, "--out", run) == 2
    parts = ("the loss is nan around step 5", "last.pt", "--resume", "--precision fp32")
    assert_one_error(capsys.readouterr().err, *parts)

    saved = read_file(run / "last.pt")
    assert saved["training"]["progress"]["epoch"] == 1
    assert all(value.isfinite().all() for value in saved["training"]["model"].values())
    assert run_script(TRAIN, "--out", run, "--resume") == 0
    assert_same_run(run, unbroken(0.0))
