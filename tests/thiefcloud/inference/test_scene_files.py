"""Scenes from file to file: tiles if memory runs out, and what is said of many images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cloudkit.imaging.raster import RasterFile, open_image
from cloudkit.imaging.selection import select
from tests.cloudkit.imaging import geotiffs
from tests.thiefcloud.inference.scenes import Blur
from tests.thiefcloud.inference.scenes import scene as ground
from thiefcloud.inference import measuring, scene_files
from thiefcloud.inference.measuring import measure_scene
from thiefcloud.inference.planning import InOnePass, ScenePlan, summary
from thiefcloud.inference.rasters import RasterSource, RasterTarget
from thiefcloud.inference.scene_files import restore_file
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.tiles import ArraySource, Window
from thiefcloud.inference.windows import restore_window

ERRORS = [
    MemoryError("no memory"),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    OSError(12, "Cannot allocate memory"),
]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: object, **named: object) -> None:
        raise error

    return fail


def restored(
    folder: Path, tile: int, *, flips: bool = False, taken: list[Window] | None = None
) -> np.ndarray:
    """Restore an image here, or by a function that notes the tiles it has taken."""
    path = folder / f"{tile}.tif"

    def work(statistics: SceneStatistics, tiles: list[Window]) -> Iterator[None]:
        assert taken is not None
        for window in tiles:
            target.write(window, *restore_window(Blur(), source, statistics, window))
            target.finish(window)
            taken.append(window)
            yield

    with open_image(folder / "a.tif") as file:
        source = RasterSource(file, select(file.properties, folder / "a.tif"))
        target = RasterTarget(path, source)
        plan, elsewhere = ScenePlan(source, tile), None if taken is None else work
        restore_file(Blur(), target, plan, flips=flips, work=elsewhere)
    return geotiffs.stored(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint8", 3, 20, 250, height=150))
    return tmp_path


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_image_without_memory_for_one_pass_goes_by_tiles(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    expected = restored(folder, 150)
    monkeypatch.setattr(scene_files, "restore_and_detect", failing(error))
    found = restored(folder, 200)
    np.testing.assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=1)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_an_image_without_memory_to_read_it_goes_by_tiles(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = restored(folder, 150)
    read = RasterFile.read

    def limited(self: RasterFile, window: Any = None) -> object:
        if window is None:
            raise MemoryError
        return read(self, window)

    monkeypatch.setattr(RasterFile, "read", limited)
    found = restored(folder, 200)
    np.testing.assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=1)


def test_other_processes_restore_tiles_and_this_one_images_in_one_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tile, number in ((75, 2), (200, 0)):
        taken: list[Window] = []
        np.testing.assert_array_equal(restored(folder, tile, taken=taken), restored(folder, tile))
        assert len(taken) == number

    expected = restored(folder, 75)
    monkeypatch.setattr(scene_files, "restore_and_detect", failing(MemoryError("none")))
    np.testing.assert_array_equal(restored(folder, 200, taken=taken), expected)
    assert len(taken) == 2


@pytest.mark.parametrize(("error", "flips"), [(MemoryError("none"), True), (ValueError(), False)])
def test_flips_and_other_errors_end_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, flips: bool
) -> None:
    monkeypatch.setattr(scene_files, "restore_and_detect", failing(error))
    with pytest.raises(type(error)):
        restored(folder, 150, flips=flips)


def test_statistics_are_measured_in_smaller_tiles_if_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, sides = ArraySource(ground(140, 150).numpy()), []
    expected = measure_scene(Blur(), source, tile=128)
    run = measuring._Measuring.run

    def limited(self: Any, tile: int, most: int, *others: Any) -> object:
        sides.append((tile, most))
        if tile > 128:
            raise RuntimeError("CUDA error: out of memory")
        return run(self, tile, most, *others)

    monkeypatch.setattr(measuring._Measuring, "run", limited)
    found = measure_scene(Blur(), source)
    assert sides == [(512, 16), (256, 64), (128, 256)]
    torch.testing.assert_close(vars(found), vars(expected), rtol=0, atol=0)

    monkeypatch.setattr(measuring._Measuring, "run", failing(MemoryError("none")))
    with pytest.raises(MemoryError):
        measure_scene(Blur(), source)


def test_a_summary_counts_images_of_a_kind() -> None:
    def said(kinds: str) -> str:
        return summary([InOnePass(kind) for kind in kinds])

    assert said("a") == "in one pass: 1 image with a"
    assert said("baa") == "in one pass: 2 images with a; 1 image with b"
    assert said("aabbccde").endswith("2 images with c; 2 of other kinds")
