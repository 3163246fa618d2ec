"""TIFF files that are written window by window."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.raster import Raster, open_raster, read_raster, reading
from cloudkit.imaging.streaming import write_scene
from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import CASES, HIGH
from tests.helpers import ROOT

CHANGED = ("block_shapes", "structure")  # tiles, compression and predictor


def copy(source: Path, target: Path, *, cog: bool = False) -> None:
    with open_raster(source) as file:

        def read(window: rasterio.windows.Window) -> Raster:
            with reading(source):
                return file.read(window)

        write_scene(target, file.properties, file.size, read, cog=cog)


def differences(first: Path, second: Path) -> list[str]:
    found = geotiffs.differences(first, second)
    return [line for line in found if not line.startswith(CHANGED)]


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_scene_comes_out_as_it_went_in(tmp_path: Path, case: str, cog: bool) -> None:
    dtype, bands, options = CASES[case]
    pixels = geotiffs.ramp(dtype, bands, 0, HIGH[dtype], height=600)
    if case == "compressed by webp":
        options = options | {"webp_lossless": True}
    geotiffs.write(tmp_path / "a.tif", pixels, **options)
    copy(tmp_path / "a.tif", tmp_path / "b.tif", cog=cog)

    np.testing.assert_array_equal(
        geotiffs.stored(tmp_path / "a.tif"), geotiffs.stored(tmp_path / "b.tif")
    )
    found = differences(tmp_path / "a.tif", tmp_path / "b.tif")
    if cog:  # it has overviews, and says how they were made
        found = [line for line in found if not line.startswith(("overviews", "tags 0 None"))]
    assert found == []
    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert set(dataset.block_shapes) == {(512, 512)}
        assert (dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG") == cog
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_a_mask_is_kept(tmp_path: Path) -> None:
    mask = np.ones((600, 30), bool)
    mask[100:520, 3:9] = False
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint16", 4, 0, 9, height=600), mask=mask)
    for cog in (False, True):
        copy(tmp_path / "a.tif", tmp_path / "b.tif", cog=cog)
        np.testing.assert_array_equal(geotiffs.mask_of(tmp_path / "b.tif") > 0, mask)


def test_a_rotated_image_is_read_upright_by_windows(tmp_path: Path) -> None:
    pixels = np.arange(1, 49, dtype=np.uint8).reshape(6, 8, 1).repeat(3, 2)
    for orientation in range(1, 9):
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags)
        expected = read_raster(tmp_path / "a.tif").pixels
        with open_raster(tmp_path / "a.tif") as file:
            assert file.size == expected.shape[:2]
            part = file.read(rasterio.windows.Window(1, 2, 3, 4)).pixels
        np.testing.assert_array_equal(part, expected[2:6, 1:4])


def test_an_unreadable_block_leaves_no_file(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint8", 3, 0, 255, height=2000)
    geotiffs.write(tmp_path / "a.tif", pixels, compress="deflate", blockysize=16)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.tif cannot be read"):
        copy(tmp_path / "a.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("cog", [False, True])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.98])
def test_a_full_disk_leaves_no_file(tmp_path: Path, cog: bool, fraction: float) -> None:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint8", 3, 0, 255, height=4000))
    copy(tmp_path / "a.tif", tmp_path / "b.tif", cog=cog)
    limit = int((tmp_path / "b.tif").stat().st_size * fraction)
    (tmp_path / "b.tif").unlink()

    program = (
        "import sys; from pathlib import Path\n"
        "from tests.cloudkit.imaging.test_streaming import copy\n"
        f"copy(Path(sys.argv[1]), Path(sys.argv[2]), cog={cog})"
    )
    done = subprocess.run(
        # -B: Python would cut the bytecode that it writes, too, and keep it for the next program.
        [sys.executable, "-B", "-c", program, tmp_path / "a.tif", tmp_path / "b.tif"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "OSError" in done.stderr.splitlines()[-1], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
