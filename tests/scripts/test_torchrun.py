"""Two processes on the CPU, started as torchrun starts them."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.distributed.run import get_args_parser

from cloudkit.checkpoints import read_file
from tests.helpers import (
    PREDICT,
    ROOT,
    TEST,
    TEST_CD,
    TRAIN,
    TRAIN_CD,
    run_script,
    write_images,
    write_pairs,
    write_thickness_pairs,
)

SEVERAL = """
import json, os, sys
from pathlib import Path
from tests.helpers import run_script

os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # all would meet at torchrun's port
sys.stderr.isatty = lambda: True  # progress bars are for terminals
statuses = []
for port, script, *arguments in json.loads(sys.argv[1]):
    os.environ["MASTER_PORT"] = port
    statuses.append(run_script(Path(script), *arguments))
sys.exit(max(statuses))
"""


def free_port() -> str:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def two_processes(script: Path, *arguments: object, fails: bool = False) -> tuple[str, str]:
    """Run a script as `torchrun --nproc-per-node 2` does, and return stdout and stderr."""
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    done = subprocess.run(
        [sys.executable, *launch, script, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout, done.stderr


def history(run: Path) -> list[dict[str, float]]:
    return json.loads((run / "history.json").read_text())


def files_of(run: Path) -> list[str]:
    """Return the names of a run's files, with those of TensorBoard cut short."""
    return sorted(path.name.split(".tfevents")[0] for path in run.iterdir())


def several(folder: Path, commands: list[list[object]]) -> tuple[str, str]:
    """Run scripts one after the other in the same two processes. One of them shall fail.

    The start of processes takes longest.
    """
    script = folder / "several.py"
    script.write_text(SEVERAL, encoding="utf-8")
    listed = json.dumps([[free_port(), *map(str, command)] for command in commands])
    return two_processes(script, listed, fails=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute in one thread, as torchrun's processes do, so that sums round alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "script", [TRAIN, TEST, PREDICT, TRAIN_CD, TEST_CD], ids=lambda script: script.stem
)
def test_no_option_is_the_beginning_of_one_of_torchrun(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torchrun would take --start for its own --start-method."""
    assert run_script(script, "--help") == 0
    ours = set(re.findall(r"^[│ ]*(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    assert len(ours) > 5
    for option in ours:
        given = [option, "value"]
        assert get_args_parser().parse_args([str(script), *given]).training_script_args == given


def test_stage_2_equals_one_process_while_the_prior_is_frozen(tmp_path: Path, prior: Path) -> None:
    """Neither three training images nor three validation images divide by two."""
    for part in ("train", "val"):
        write_pairs(tmp_path / "pairs" / part, 3)
    common = ["--dataset", "folder", "--root", tmp_path / "pairs", "--prior", prior]
    common += ["--preset", "quick", "--crop", 16, "--validate-every", 1, "--device", "cpu"]
    common += ["--epochs-inversion", 1, "--even-steps", 2, "--batch-inversion", 2]
    common += ["--epochs-frozen", 2, "--epochs-tunable", 1, "--ema", 0.5]
    common += ["--batch-frozen", 2, "--batch-tunable", 2]
    first, second = tmp_path / "one", tmp_path / "two"
    assert run_script(TRAIN, *common, "--out", first) == 0
    two_processes(TRAIN, *common, "--out", second)

    one, two = (read_file(run / "frozen.pt")["model"] for run in (first, second))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    assert files_of(first) == files_of(second)

    records = list(zip(history(first), history(second), strict=True))
    for single, split in records[:3]:
        assert split == pytest.approx(single, rel=1e-4)
    last = read_file(second / "last.pt")["model"]
    assert all(value.isfinite().all() for value in last.values())


def test_stage_1_runs_with_two_processes(tmp_path: Path) -> None:
    """One validation image for two processes.

    BatchNorm sees each process's part of the batch, so weights differ from those of one process.
    """
    write_images(tmp_path / "chips", [f"{10 * n}.png" for n in range(4)])
    common = ["--clear", tmp_path / "chips", "--preset", "quick", "--crop", 8, "--batch", 4]
    common += ["--steps", 3, "--save-every", 2, "--device", "cpu"]
    first, second = tmp_path / "one", tmp_path / "two"
    assert run_script(TRAIN_CD, *common, "--out", first) == 0
    two_processes(TRAIN_CD, *common, "--out", second)
    assert files_of(first) == files_of(second)

    one, two = history(first), history(second)
    assert [record["step"] for record in two] == [2, 3]
    # The crops and clouds are the same.
    assert two[0]["train/loss"] == pytest.approx(one[0]["train/loss"], rel=0.1)


def test_scores_predictions_and_maps_equal_those_of_one_process(
    tmp_path: Path,
    checkpoint: Path,
    prior: Path,
    one_thread: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All files, byte for byte, and all that is printed.

    The first image that a protocol cannot score belongs to the second process.
    """
    pairs = write_pairs(tmp_path / "pairs", 5, height=140, width=140)
    for part in ("cloudy", "clear"):
        write_images(pairs / part, ["10.png"], height=19)
        write_images(pairs / part, ["20.png"], height=20)
    images = tmp_path / "in"
    write_images(images, ["a.png", "b.png", "deep/c.tif", "d.png", "e.png"], width=21)
    for name in ("b.png", "e.png"):
        (images / name).write_bytes(b"no image")
    maps = write_thickness_pairs(tmp_path / "maps", 3)

    scored: list[object] = [TEST, "--dataset", "folder", "--root", pairs, "--protocol", "all"]
    scored += ["--panels", 3, "--checkpoint", checkpoint, "--out", "scored"]
    predicted = [PREDICT, images, "--thickness", "--checkpoint", checkpoint, "--out", "predicted"]
    mapped = [TEST_CD, "--pairs", maps, "--checkpoint", prior, "--out", "mapped"]
    commands = [[*command, "--device", "cpu"] for command in (scored, predicted, mapped)]
    for folder in ("1", "2"):
        (tmp_path / folder).mkdir()
    with contextlib.chdir(tmp_path / "1"):
        assert [run_script(*command) for command in commands] == [0, 2, 0]  # type: ignore[arg-type]
    with contextlib.chdir(tmp_path / "2"):
        printed, errors = several(tmp_path, commands)
    alone = capsys.readouterr()

    # Restored images, panels, overview and metrics; predicted; mapped.
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert len(one) == 5 + 3 + 3 + 6 + 7
    assert sorted(two) == sorted(one)
    assert [name for name in one if one[name] != two[name]] == []

    assert "without rsdformer, which cannot score every image: 10: " in alone.out
    assert "3 of 5 images restored" in alone.out
    assert printed == alone.out
    left_out = []
    for line in alone.err.splitlines():
        if line.startswith(("error: ", "  ")) and line.strip():
            left_out.append(line)
    assert len(left_out) == 3
    assert [line for line in errors.splitlines() if line in left_out] == left_out

    # No progress bar of the second process.
    bars = set(re.findall(r"(?<!checking )(\b\w+): 100%.* (\d/\d) ", errors))
    assert bars == {("scoring", "3/3"), ("restoring", "3/3"), ("detecting", "2/2")}


def test_an_error_in_one_process_ends_all_with_its_message(tmp_path: Path) -> None:
    """The damaged image belongs to the second process; the first waits for it."""
    pairs = write_pairs(tmp_path / "pairs", 3)
    (pairs / "clear" / "10.png").write_bytes(b"no image")
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "cloudy"]
    arguments += ["--device", "cpu", "--out", tmp_path / "out"]
    printed, errors = two_processes(TEST, *arguments, fails=True)
    assert "10.png cannot be read as an image" in errors.partition("another process ended")[0]
    assert "written to" not in printed
    assert not (tmp_path / "out" / "metrics.json").exists()
