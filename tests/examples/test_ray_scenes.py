"""examples/ray_scenes.py gives the bytes of one process, whoever dies."""

from pathlib import Path

import numpy as np
import pytest

from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED
from tests.examples.running import await_file, await_workers, run, start
from tests.helpers import PREDICT, ROOT, noise

pytest.importorskip("ray")

RAY = ROOT / "examples" / "ray_scenes.py"
ARGUMENTS = ("--bands", 4, 3, 2, "--tile", 48, "--device", "cpu")
TILES = 12


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of four bands, with ground without data."""
    path = tmp_path_factory.mktemp("scene") / "a.tif"
    pixels = noise(bands=4, height=144, width=192).permute(1, 2, 0).numpy()
    pixels = (1000 + 8000 * pixels).astype(np.uint16)
    pixels[100:, 150:] = 0
    tags = {"": {"QUANTIFICATION_VALUE": "10000"}}
    geotiffs.write(path, pixels, **PLACED, nodata=0, photometric="minisblack", tags=tags)
    return path


@pytest.fixture(scope="module")
def expected(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that one process writes."""
    out = tmp_path_factory.mktemp("expected")
    run(PREDICT, scene, *ARGUMENTS, "--out", out)
    return (out / "a.tif").read_bytes()


def test_a_worker_that_is_killed(scene: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "a.tif"
    running = start(RAY, scene, out, *ARGUMENTS, "--workers", 2)
    workers = await_workers(running, lambda command: command.startswith("ray::Worker"), 2)
    await_file(running, tmp_path, ".*/pixels_*.npy")
    workers[0].kill()
    assert len(list(tmp_path.glob(".*/pixels_*.npy"))) < TILES
    assert running.wait() == 0
    assert out.read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_run_that_is_killed_is_one_that_predict_goes_on_with(
    scene: Path, expected: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "a.tif"
    running = start(RAY, scene, out, *ARGUMENTS, "--workers", 2)
    await_file(running, tmp_path, ".*/pixels_*.npy")
    running.kill()
    running.wait()
    assert not out.exists()

    run(PREDICT, scene, "--bands", 4, 3, 2, "--device", "cpu", "--out", tmp_path)
    assert out.read_bytes() == expected


@pytest.mark.parametrize(("option", "value"), [("workers", 0), ("workers", -1), ("gpus", -1)])
def test_numbers_that_cannot_be_are_refused(
    option: str, value: int, scene: Path, tmp_path: Path
) -> None:
    """Without workers no tile is written, and the run ended with an error of a file."""
    arguments = (*ARGUMENTS, f"--{option}", value)
    assert start(RAY, scene, tmp_path / "a.tif", *arguments).wait(timeout=60) == 2
    assert not list(tmp_path.iterdir())
