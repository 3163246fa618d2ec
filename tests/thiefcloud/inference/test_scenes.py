"""Scenes are restored tile by tile: completely, each pixel once, whatever happens."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from tests.helpers import noise
from tests.thiefcloud.inference.scenes import Blur, empty_target, scene, with_random_residual
from thiefcloud import ThiefCloud, restore_and_detect
from thiefcloud.inference import scenes
from thiefcloud.inference.measuring import measure_scene, spread
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.scenes import fitting_tile, restore_scene, tiles_of
from thiefcloud.inference.tiles import ArraySource, ArrayTarget, Window
from thiefcloud.inference.windows import restore_with_gain


class Counting(ArrayTarget):
    """A target that refuses to write a pixel twice."""

    def write(self, window: Window, pixels: Tensor, thickness: Tensor) -> None:
        assert np.isnan(window.of(self.pixels)).all()
        super().write(window, pixels, thickness)


def counting(source: ArraySource) -> Counting:
    target = empty_target(source)
    return Counting(target.pixels, target.thickness)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 7), (70, 100)])
def test_each_pixel_is_written_once_for_any_size(size: tuple[int, int]) -> None:
    image = 0.1 + 0.9 * noise(height=size[0], width=size[1])
    source = ArraySource(image.numpy())
    target = counting(source)
    statistics = measure_scene(Blur(), source)
    restore_scene(Blur(), source, target, tile=32, statistics=statistics)
    expected = restore_and_detect(Blur(), image)[0]
    torch.testing.assert_close(torch.from_numpy(target.pixels), expected, rtol=0, atol=1e-6)


def test_bytes_are_equal_in_any_order_and_after_an_interruption() -> None:
    source = ArraySource(scene(70, 100).numpy())
    expected, found = counting(source), counting(source)
    restore_scene(Blur(), source, expected, tile=32)

    windows = tiles_of(source, 32)
    random.Random(0).shuffle(windows)
    for part in (windows[:5], windows[5:]):
        restore_scene(Blur(), source, found, tile=32, windows=part)
    assert np.array_equal(expected.pixels, found.pixels)


def test_one_tile_is_one_pass_bit_by_bit() -> None:
    model, image = with_random_residual(), scene(40, 56)
    source = ArraySource(image.numpy())
    target = empty_target(source)
    restore_scene(model, source, target, tile=64)
    restored, thickness = restore_and_detect(model, image)
    valid = image.any(0).numpy()
    assert np.array_equal(target.pixels[:, valid], restored.numpy()[:, valid])
    assert target.thickness is not None
    assert np.array_equal(target.thickness[:, valid], thickness.numpy()[:, valid])


@pytest.mark.parametrize("tile", [64, 512])
def test_fast_tiles_are_one_fast_pass(tile: int) -> None:
    model, image = with_random_residual(), scene(150, 130)
    source = ArraySource(image.numpy())
    target = counting(source)
    restore_scene(model, source, target, tile=tile, fast=True)
    expected = torch.where(image.any(0), restore_and_detect(model, image, fast=True)[0], image)
    torch.testing.assert_close(torch.from_numpy(target.pixels), expected, rtol=0, atol=1e-5)


class WithMask(ArraySource):
    """A scene whose invalid pixels are NaN."""

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(window.of(self.array).copy())
        return pixels, ~pixels.isnan().any(0)


@pytest.mark.parametrize("tile", [32, 128])
def test_invalid_pixels_come_as_they_were_read(tile: int) -> None:
    image = scene(70, 100)
    invalid = ~image.any(0)
    source = WithMask(torch.where(invalid, torch.nan, image).numpy())
    target = empty_target(source)
    restore_scene(Blur(), source, target, tile=tile)
    assert torch.equal(torch.from_numpy(target.pixels).isnan().all(0), invalid)
    assert torch.equal(torch.from_numpy(target.pixels).isnan().any(0), invalid)
    assert target.thickness is not None
    assert (target.thickness[0][invalid] == 0).all()


def test_empty_tiles_skip_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(height=64, width=128)
    image[:, :, 40:] = 0
    source, model, calls = ArraySource(image.numpy()), Blur(), []
    statistics = measure_scene(model, source)
    remove = Blur.remove

    def counted(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        return remove(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Blur, "remove", counted)
    target = empty_target(source)
    restore_scene(model, source, target, tile=32, statistics=statistics)
    assert len(calls) == 4  # of 8 tiles
    assert (target.pixels[:, :, 40:] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_borders_of_one_colour_stay(value: float) -> None:
    model, image = with_random_residual(), scene(120, 104)
    image[:, :20], image[:, :, -12:] = value, value
    source = ArraySource(image.numpy())
    statistics = measure_scene(model, source)
    assert statistics.inside == Window(20, 0, 100, 92)

    target = empty_target(source)
    restore_scene(model, source, target, tile=64, statistics=statistics)
    expected = restore_and_detect(model, image)[0] * image.any(0)
    torch.testing.assert_close(torch.from_numpy(target.pixels), expected, rtol=0, atol=1e-5)


def test_tiles_become_smaller_if_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource(scene(140, 150).numpy())
    statistics = measure_scene(Blur(), source)
    expected, found = counting(source), counting(source)
    restore_scene(Blur(), source, expected, tile=128, statistics=statistics)

    original, sides = restore_with_gain, []

    def limited(*arguments: object, **named: object) -> object:
        window = arguments[3]
        assert isinstance(window, Window)
        sides.append(max(window.height, window.width))
        if sides[-1] > 40:
            raise RuntimeError("CUDA error: out of memory")
        return original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(scenes, "restore_with_gain", limited)
    restore_scene(Blur(), source, found, tile=128, statistics=statistics)
    assert np.array_equal(expected.pixels, found.pixels)
    assert sides[:3] == [128, 64, 32]
    assert max(sides[3:]) == 32  # what has failed is not tried again


def test_without_memory_for_the_smallest_tile_the_error_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(scenes, "restore_with_gain", fail)
    source = ArraySource(scene(70, 70).numpy())
    with pytest.raises(MemoryError):
        restore_scene(Blur(), source, empty_target(source), tile=64)


def test_tiles_follow_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource(np.zeros((3, 3000, 4000), np.uint8))
    expected = {2**40: (4000, 4000), 2**32: (640, 1536), 2**30: (256, 640), 2**20: (64, 64)}
    for free, sides in expected.items():
        monkeypatch.setattr(scenes, "available_memory", lambda device, free=free: free)
        for fast, side in zip((False, True), sides, strict=True):
            assert fitting_tile(Blur(), source, fast=fast) == side


def test_statistics_survive_in_a_file(tmp_path: Path) -> None:
    model, source = ThiefCloud.from_config(with_random_residual().config), scene(40, 56)
    statistics = measure_scene(model, ArraySource(source.numpy()))
    statistics.save(tmp_path / "statistics.safetensors")
    loaded = SceneStatistics.load(tmp_path / "statistics.safetensors")
    assert (loaded.size, loaded.borders, loaded.halo) == ((40, 56), statistics.borders, 128)
    assert not loaded.fast
    torch.testing.assert_close(vars(loaded), vars(statistics), rtol=0, atol=0)


@pytest.mark.parametrize("content", [b"", b"no statistics", b"\0" * 100])
def test_other_files_hold_no_statistics(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "statistics.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"statistics\.safetensors holds no statistics"):
        SceneStatistics.load(path)


def test_statistics_of_tiles_are_those_of_the_whole() -> None:
    model, source = with_random_residual(), ArraySource(scene(90, 100).numpy())
    tiles, one = measure_scene(model, source, tile=64), measure_scene(model, source, tile=512)
    assert len(one.moments) == 43  # three maps of the attention, four gates in each of ten AFEs
    torch.testing.assert_close(tiles.moments, one.moments, rtol=1e-3, atol=1e-5)


def test_a_part_of_the_tiles_is_spread_evenly() -> None:
    windows = list(Window(0, 0, 640, 640).tiles(64))
    chosen = spread(windows, 10)
    assert chosen == spread(windows, 10)
    assert {window.top // 128 for window in chosen} == set(range(5))
    assert {window.left // 320 for window in chosen} == {0, 1}
    assert spread(windows, None) == windows


def test_mistakes_are_named() -> None:
    model, source = Blur(), ArraySource(scene(48, 48).numpy())
    target = empty_target(source)
    with pytest.raises(UserError, match="16 pixels are too small, expected at least 32"):
        restore_scene(model, source, target, tile=16)
    with pytest.raises(UserError, match="which this network lacks: leave out fast"):
        restore_scene(model, source, target, fast=True)
    with pytest.raises(UserError, match="which this network lacks: leave out fast"):
        measure_scene(model, source, fast=True)
    for tile in (0, 48):
        with pytest.raises(UserError, match=f"tile is {tile}, expected a multiple of 32"):
            measure_scene(model, source, tile=tile)
    with pytest.raises(UserError, match="most is 0, expected at least 1 tile, or None for all"):
        measure_scene(model, source, most=0)

    other = measure_scene(model, ArraySource(scene(48, 56).numpy()))
    with pytest.raises(UserError, match=r"48x48 pixels, but its statistics are for 3 of 48x56"):
        restore_scene(model, source, target, tile=32, statistics=other)

    inverting = with_random_residual()
    for fast in (False, True):
        measured = measure_scene(inverting, source, fast=fast)
        with pytest.raises(UserError, match=f"measured with fast={fast}, but fast is {not fast}"):
            restore_scene(inverting, source, target, statistics=measured, fast=not fast)

    without_gates = measure_scene(model, source)
    gated = with_random_residual().eval()
    gated.inversion = None
    with pytest.raises(UserError, match="measure them with the same network"):
        restore_scene(gated, source, target, tile=32, statistics=without_gates)
