"""Scenes in image files, tile by tile."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.raster import open_image
from cloudkit.imaging.selection import select
from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED
from tests.cloudkit.imaging.test_streaming import differences
from tests.helpers import write_images
from thiefcloud.inference.rasters import RasterSource, RasterTarget, unfinished
from thiefcloud.inference.tiles import Window, whole

HOLE = np.zeros((70, 30), bool)
HOLE[40:52, 2:20] = True
GAPS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "no-data": ("uint16", 7, {"nodata": 7}),
    "no-data below 0": ("int16", -9999, {"nodata": -9999}),
    "NaN": ("float32", float("nan"), {}),
    "mask": ("uint8", 99, {"mask": ~HOLE}),
    "alpha": ("uint8", 99, {"photometric": "rgb", "alpha": "yes"}),
    "scaled": ("uint16", 0, {"nodata": 0, "tags": {"": {"QUANTIFICATION_VALUE": "10000"}}}),
}


def halve(source: RasterSource, target: RasterTarget, window: Window) -> None:
    """Halve a tile, in two windows, as a restoration that runs out of memory would."""
    for part in window.tiles(max(window.height // 2, 1)):
        pixels, valid = source.read(part)
        target.write(part, torch.where(valid, pixels / 2, pixels), pixels[:1])
    target.finish(window)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("count", [3, 5])
def test_a_scene_is_written_tile_by_tile(tmp_path: Path, gap: str, count: int) -> None:
    dtype, value, options = GAPS[gap]
    high = {"uint8": 250, "float32": 0.9}.get(dtype, 9000)
    pixels = geotiffs.ramp(dtype, count, high / 9, high, height=70)
    if gap == "alpha":
        pixels[..., 3:] = np.where(HOLE, 0, 255)[..., None]
        pixels = pixels[..., :4] if count == 5 else np.dstack((pixels, np.where(HOLE, 0, 255)))
        pixels = pixels.astype(dtype)
    else:
        pixels[HOLE] = value
    geotiffs.write(tmp_path / "a.tif", pixels, **PLACED, **options)

    bands = (3, 1, 2) if count == 5 else ()
    with open_image(tmp_path / "a.tif") as file:
        source = RasterSource(file, select(file.properties, tmp_path / "a.tif", bands=bands))
        target = RasterTarget(tmp_path / "b.tif", source, tmp_path / "t.tif")
        target.begin({})
        tiles = list(whole(source).tiles(32))
        for tile in tiles[::-1]:
            halve(source, target, tile)
        target.join(tiles)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "t.tif"]
    assert differences(tmp_path / "a.tif", tmp_path / "b.tif") == []
    written, colours = geotiffs.stored(tmp_path / "b.tif"), 3
    np.testing.assert_array_equal(written[HOLE], pixels[HOLE])
    np.testing.assert_array_equal(written[..., colours:], pixels[..., colours:])
    expected = pixels[~HOLE][:, :colours].astype(float) / 2
    atol = 1e-6 if dtype == "float32" else 0.5
    np.testing.assert_allclose(written[~HOLE][:, :colours], expected, rtol=0, atol=atol)

    marks = geotiffs.mask_of(tmp_path / "t.tif") > 0
    np.testing.assert_array_equal(marks, ~HOLE)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("cog", [False, True])
def test_a_killed_run_goes_on_to_equal_bytes(tmp_path: Path, interleave: str, cog: bool) -> None:
    pixels = geotiffs.ramp("uint16", 4, 1, 65535, height=1200)
    geotiffs.write(tmp_path / "a.tif", pixels, interleave=interleave, **PLACED)
    results = []
    for kills in ([], [3], [0, 1, 1, 20]):
        out = tmp_path / f"{len(kills)}.tif"
        for most in [*kills, 10**6]:
            with open_image(tmp_path / "a.tif") as file:
                selection = select(file.properties, tmp_path / "a.tif", bands=(3, 2, 1))
                source = RasterSource(file, selection)
                target = RasterTarget(out, source, out.with_name(f"{out.stem}_t.tif"))
                target.begin({"tile": 32})
                tiles = list(whole(source).tiles(32))
                missing = [tile for tile in tiles if not target.is_finished(tile)]
                for tile in missing[:most]:
                    halve(source, target, tile)
                if most >= len(missing):
                    target.join(tiles, cog=cog)
        results.append(out.read_bytes() + out.with_name(f"{out.stem}_t.tif").read_bytes())
    assert results[0] == results[1] == results[2]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_tiles_of_another_run_are_not_used(tmp_path: Path) -> None:
    write_images(tmp_path, ["a.png"])
    with open_image(tmp_path / "a.png") as file:
        source = RasterSource(file, select(file.properties, tmp_path / "a.png"))
        target = RasterTarget(tmp_path / "b.png", source)
        target.begin({"weights": "x"})
        halve(source, target, whole(source))
        target.begin({"weights": "x"})
        assert target.is_finished(whole(source))
        target.begin({"weights": "y"})
        assert not target.is_finished(whole(source))


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint8", 3, 0, 255, height=2000)
    geotiffs.write(tmp_path / "a.tif", pixels, compress="deflate", blockysize=16)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    (tmp_path / "a.tif").write_bytes(content)
    with open_image(tmp_path / "a.tif") as file:
        source = RasterSource(file, select(file.properties, tmp_path / "a.tif"))
        source.read(Window(0, 0, 16, 30))
        with pytest.raises(ImageError, match=r"a\.tif cannot be read"):
            source.read(whole(source))


def test_long_names_have_folders_for_their_tiles(tmp_path: Path) -> None:
    folders = set()
    for name in ("a.tif", f"{'long' * 60}.tif", f"{'long' * 60}.png", f"{'ü' * 120}.tif"):
        folder = unfinished(tmp_path / name)
        folder.mkdir()  # systems refuse names over 255 bytes
        folders.add(folder)
        assert folder.name.startswith(".")
    assert len(folders) == 4
