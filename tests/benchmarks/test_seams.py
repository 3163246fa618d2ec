"""benchmarks/seams.py on generated images with and without seams."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.seamkit.verdict import find_seams
from cloudkit.imaging.images import decode, write_image
from tests.helpers import ROOT, assert_one_error, noise, run_script, squeezed

SEAMS = ROOT / "benchmarks" / "seams.py"
SIDE = 512


def texture(seed: int, *, height: int = SIDE, width: int = SIDE, rough: float = 12) -> np.ndarray:
    """Return ground (H, W, 3) in levels of 8 bits, with roads and a calm lake."""
    return _texture(seed, height, width, rough).copy()


@cache
def _texture(seed: int, height: int, width: int, rough: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    ground = np.full((height, width, 3), 110.0)
    for size, strength in ((40, 25), (6, rough), (1.0, rough / 2)):
        layer = gaussian_filter(random.normal(size=(height, width, 3)), (size, size, 0))
        ground += strength * layer / layer.std()
    lake = ground[height * 3 // 10 : height * 9 // 20, width // 5 : width * 9 // 20]
    lake[:] = random.normal(60, 1, 3)
    for _ in range(4):  # roads and borders of fields follow rows and columns
        place = int(random.integers(20, min(height, width) - 20))
        length = int(random.integers(40, 200))
        ground[place : place + 3, 30 : 30 + length] += 30
        ground[30 : 30 + length, place : place + 3] -= 30
    return ground


def tiled(height: int, width: int, tile: int, step: float, *, seed: int = 0) -> np.ndarray:
    """Return an offset for each tile, so that neighbours differ by the step, up or down."""
    rows, columns = np.mgrid[: height // tile + 1, : width // tile + 1]
    offsets = step * ((rows + columns + seed) % 2)
    return np.kron(offsets, np.ones((tile, tile)))[:height, :width, None]


def restored_from(cloudy: np.ndarray) -> np.ndarray:
    """Return what a restoration may make of levels: more contrast, less of a smooth veil."""
    height, width, _ = cloudy.shape
    return 1.1 * cloudy - 15 - _veil(height, width)[..., None]


@cache
def _veil(height: int, width: int) -> np.ndarray:
    veil = gaussian_filter(np.random.default_rng(9).normal(size=(height, width)), 40)
    return 8 * veil / veil.std()


def levels(image: np.ndarray) -> np.ndarray:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def has_seams(image: np.ndarray, tile: int, original: np.ndarray | None = None) -> bool:
    findings = find_seams(image, tile, original)
    assert findings
    return any(each.is_seam for each in findings)


@pytest.mark.parametrize("tile", [64, 128, 200, 256])
@pytest.mark.parametrize("step", [0.5, 1, 4])
def test_small_seams_are_found_beside_the_original(tile: int, step: float) -> None:
    cloudy = levels(texture(1))
    seams = restored_from(cloudy) + tiled(SIDE, SIDE, tile, step)
    assert has_seams(levels(seams), tile, cloudy)


@pytest.mark.parametrize("tile", [64, 128, 200, 256])
def test_seams_are_found_without_the_original(tile: int) -> None:
    assert has_seams(levels(texture(1) + tiled(SIDE, SIDE, tile, 4)), tile)
    assert has_seams(levels(texture(2, rough=2) + tiled(SIDE, SIDE, tile, 1)), tile)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tile", [32, 64, 100, 128, 256])
def test_no_seams_no_alarm(seed: int, tile: int) -> None:
    cloudy = levels(texture(seed))
    assert not has_seams(cloudy, tile)
    assert not has_seams(levels(restored_from(cloudy)), tile, cloudy)


@pytest.mark.parametrize("given", [60, 96, 100, 200, 300])
def test_seams_of_other_tiles_are_no_seams_of_these(given: int) -> None:
    image = levels(texture(3) + tiled(SIDE, SIDE, 128, 4))
    assert has_seams(image, 128)
    assert not has_seams(image, given)


def test_a_multiple_and_a_part_of_the_true_size_find_seams() -> None:
    image = levels(texture(3) + tiled(SIDE, SIDE, 128, 4))
    assert has_seams(image, 64)
    assert has_seams(image, 256)


@pytest.mark.parametrize("direction", ["row", "column"])
def test_one_edge_of_many(direction: str) -> None:
    """A single tile went wrong."""
    image = texture(4)
    image[:, 384:] += 6
    image = image if direction == "column" else image.swapaxes(0, 1)
    found = [each for each in find_seams(levels(image), 64) if each.is_seam]
    assert {each.lines for each in found} == {direction}
    assert {each.at for each in found if each.measure == "step"} == {384}


def test_other_signs_of_tiles() -> None:
    """Dark rims of tiles, as padding with zeros leaves; and a texture of its own in each tile."""
    cloudy = texture(5)
    place = np.arange(SIDE)
    rim = np.isin(place % 128, (0, 127)) & (place > 0) & (place < SIDE - 1)
    image = cloudy - 4.0 * (rim[:, None] | rim)[..., None]
    found = {each.measure for each in find_seams(levels(image), 128) if each.is_seam}
    assert "dip" in found

    waves = gaussian_filter(np.random.default_rng(1).normal(size=(4, 4, 128, 128)), (0, 0, 4, 4))
    joined = (20 * waves / waves.std()).swapaxes(1, 2).reshape(SIDE, SIDE, 1)
    found = {each.measure for each in find_seams(levels(110 + joined), 128) if each.is_seam}
    assert "change" in found


def test_blocks_of_jpeg_are_no_tiles(tmp_path: Path) -> None:
    image = torch.from_numpy(texture(6)).permute(2, 0, 1) / 255
    write_image(tmp_path / "a.jpg", image)
    pixels, _ = decode(tmp_path / "a.jpg")
    assert not has_seams(pixels, 64)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types(dtype: type) -> None:
    """Reflectance up to 10000, and floats; differences far below a visible one are no seam."""
    peak = 10000 / 255 if dtype == np.uint16 else 1 / 255
    cloudy: np.ndarray = (texture(7) * peak).astype(dtype)
    restored = restored_from(texture(7)) * peak
    assert not has_seams(restored.astype(dtype), 128, cloudy)
    seams = tiled(SIDE, SIDE, 128, 0.5) * peak
    assert has_seams((restored + seams).astype(dtype), 128, cloudy)
    assert not has_seams((cloudy + 0.01 * seams).astype(dtype), 128, cloudy)


def test_no_data_is_no_seam() -> None:
    image = texture(8).astype(np.float32)
    image[:, :200] = np.nan
    image[400:] = 0
    assert not has_seams(image, 128)
    assert not has_seams(np.zeros((SIDE, SIDE, 1), np.uint8), 128)
    assert not has_seams(np.full((SIDE, SIDE, 1), np.nan, np.float32), 128)
    assert not has_seams(levels(texture(8)), 128, levels(texture(8)))  # nothing was changed


def test_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloudy = levels(texture(1, height=300, width=400))
    clean = restored_from(cloudy)
    for name, image in {
        "in": cloudy,
        "clean": clean,
        "seams": clean + tiled(300, 400, 128, 1),
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", levels(image), photometric="rgb")
    original = ("--original", tmp_path / "in.tif")

    assert run_script(SEAMS, tmp_path / "clean.tif", *original, "--tile", 128) == 0
    shown = capsys.readouterr().out
    assert "no seam at edges of tiles of 128 pixels" in shown
    assert "SEAM" not in shown
    assert run_script(SEAMS, tmp_path / "seams.tif", *original, "--tile", 128) == 1
    shown = capsys.readouterr().out
    assert "seams: columns and rows at edges of tiles of 128 pixels" in shown
    assert "columns, step" in shown
    assert run_script(SEAMS, tmp_path / "seams.tif", *original, "--tile", 110) == 0


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "a.png", noise(height=60, width=70))
    write_image(tmp_path / "b.tif", noise(height=60, width=70), bits=16)
    for arguments, message in (
        (["a.png"], "60x70 pixels in 3 bands of uint8, too few for edges of tiles of 512"),
        (["a.png", "--tile", 69], "name a smaller --tile"),
        (["a.png", "--original", tmp_path / "b.tif"], "bands of uint16 and"),
        (["none.png"], "there is no image file"),
    ):
        assert run_script(SEAMS, tmp_path / str(arguments[0]), *arguments[1:]) == 2
        assert_one_error(capsys.readouterr().err, message)
    assert run_script(SEAMS, tmp_path / "a.png", "--tile", 31) == 2
    assert "expected at least 32 pixels" in squeezed(capsys.readouterr().err)
