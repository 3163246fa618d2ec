"""Two processes on the CPU, started as torchrun starts them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import read_file
from tests.helpers import TRAIN, TRAIN_CD, run_script, write_images, write_pairs


def two_processes(script: Path, *arguments: object) -> None:
    """Run a script as `torchrun --nproc-per-node 2` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    done = subprocess.run(
        [sys.executable, *launch, script, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def history(run: Path) -> list[dict[str, float]]:
    return json.loads((run / "history.json").read_text())


def kinds(run: Path) -> list[str]:
    """What files a run wrote, with TensorBoard's name cut short."""
    return sorted(path.name.split(".tfevents")[0] for path in run.iterdir())


def test_stage_2_equals_one_process_while_the_prior_is_frozen(tmp_path: Path, prior: Path) -> None:
    """Neither three training images nor three validation images divide by two."""
    for part in ("train", "val"):
        write_pairs(tmp_path / "pairs" / part, 3)
    common = ["--dataset", "folder", "--root", tmp_path / "pairs", "--prior", prior, "--preset", "quick", "--crop", 16]
    common += ["--epochs-frozen", 2, "--epochs-tunable", 1, "--batch-frozen", 2, "--batch-tunable", 2, "--validate-every", 1]
    common += ["--ema", 0.5, "--device", "cpu"]
    assert run_script(TRAIN, *common, "--out", tmp_path / "one") == 0
    two_processes(TRAIN, *common, "--out", tmp_path / "two")
    one, two = (read_file(tmp_path / run / "frozen.pt")["model"] for run in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    assert kinds(tmp_path / "one") == kinds(tmp_path / "two")
    for single, shared in list(zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True))[:2]:
        assert shared == pytest.approx(single, rel=1e-4)
    assert all(value.isfinite().all() for value in read_file(tmp_path / "two" / "last.pt")["model"].values())


def test_stage_1_runs_with_two_processes(tmp_path: Path) -> None:
    """One validation image for two processes; BatchNorm sees each process's share, so weights differ from one process's."""
    write_images(tmp_path / "chips", [f"{10 * n}.png" for n in range(4)])
    common = ["--clear", tmp_path / "chips", "--preset", "quick", "--crop", 8, "--batch", 4, "--steps", 3, "--save-every", 2]
    common += ["--device", "cpu"]
    assert run_script(TRAIN_CD, *common, "--out", tmp_path / "one") == 0
    two_processes(TRAIN_CD, *common, "--out", tmp_path / "two")
    assert kinds(tmp_path / "one") == kinds(tmp_path / "two")
    one, two = (history(tmp_path / run) for run in ("one", "two"))
    assert [record["step"] for record in two] == [2, 3]
    assert two[0]["train/loss"] == pytest.approx(one[0]["train/loss"], rel=0.1)  # of the same crops under the same clouds
