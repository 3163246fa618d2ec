"""examples/dask_mosaic.py gives the values of one process, whoever dies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from tests.examples.running import await_file, await_workers, start
from tests.helpers import ROOT, noise
from thiefcloud import UNet, measure_scene, restore_window
from thiefcloud.inference.integers import IntegerSource
from thiefcloud.inference.tiles import whole
from thiefcloud.inference.weights import load_once

pytest.importorskip("distributed")
zarr = pytest.importorskip("zarr")

DASK = ROOT / "examples" / "dask_mosaic.py"
TILE = 192  # not less than what a window needs around it, or tiles would be merged


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a fast network."""
    path = tmp_path_factory.mktemp("weights") / "unet.pt"
    torch.manual_seed(3)
    model = UNet()
    save_checkpoint(path, "unet", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """A mosaic (3, rows, columns) of six tiles, with ground without data, and values too large."""
    values = 1000 + 9500 * noise(height=2 * TILE, width=3 * TILE).numpy()
    values[:, 300:, 480:] = 0
    return values.astype(np.uint16)


def in_one_process(pixels: np.ndarray, checkpoint: Path) -> np.ndarray:
    """Restore a mosaic here, tile by tile."""
    source, model = IntegerSource(pixels, 10000), load_once(checkpoint)
    statistics = measure_scene(model, source)
    expected = np.zeros_like(pixels)
    for window in whole(source).tiles(TILE):
        restored, _ = restore_window(model, source, statistics, window)
        window.of(expected)[:] = source.stored(window, restored)
    return expected


def test_a_worker_that_is_killed(pixels: np.ndarray, checkpoint: Path, tmp_path: Path) -> None:
    mosaic, out = tmp_path / "mosaic.zarr", tmp_path / "out.zarr"
    zarr.save_array(mosaic, pixels)
    options = ("--tile", TILE, "--workers", 2, "--checkpoint", checkpoint)
    running = start(DASK, "--mosaic", mosaic, "--out", out, *options)
    workers = await_workers(running, lambda command: "spawn_main" in command, 2)
    await_file(running, tmp_path, ".out.zarr.unfinished/c/0/*/*")
    workers[0].kill()
    assert len(list(tmp_path.glob(".out.zarr.unfinished/c/0/*/*"))) < 6
    assert running.wait() == 0

    found = np.asarray(zarr.open_array(out)[:])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers have
    np.testing.assert_array_equal(found, in_one_process(pixels, checkpoint))
    torch.set_num_threads(threads)
    assert (found != pixels).mean() > 0.5
    assert not found[:, 300:, 480:].any()


@pytest.mark.parametrize(("option", "value"), [("tile", 0), ("tile", -64), ("workers", 0)])
def test_numbers_that_cannot_be_are_refused(option: str, value: int, tmp_path: Path) -> None:
    """Without workers it would wait for ever."""
    arguments = ("--mosaic", tmp_path, "--out", tmp_path / "out.zarr", f"--{option}", value)
    assert start(DASK, *arguments).wait(timeout=60) == 2
