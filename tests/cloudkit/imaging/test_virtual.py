"""Virtual rasters that correct an image by a gain and an offset."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudkit.imaging.virtual import write_corrected
from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "uint8": ("uint8", {}),
    "uint16": ("uint16", PLACED | {"nodata": 7, "descriptions": ("red", "b", "c", "d")}),
    "int16": ("int16", PLACED | {"nodata": -9999}),
    "float32": ("float32", PLACED | {"nodata": float("nan")}),
    "float64": ("float64", {}),
    "GCPs": ("uint16", {"gcps": (geotiffs.GCPS, rasterio.crs.CRS.from_epsg(4326))}),
    "RPCs": ("uint16", {"rpcs": geotiffs.RPC}),
    "scaled": ("uint16", PLACED | {"scales": (0.1,) * 4, "offsets": (-1.0,) * 4}),
    "mask": ("uint8", {"mask": np.tri(20, 30, dtype=bool)}),
}


@pytest.mark.parametrize("case", CASES)
def test_gdal_shows_gain_times_value_plus_offset(tmp_path: Path, case: str) -> None:
    dtype, options = CASES[case]
    (tmp_path / "in").mkdir()
    high = 0.9 if dtype.startswith("float") else 240
    pixels = geotiffs.ramp(dtype, 4, high / 9, high)
    geotiffs.write(tmp_path / "in" / "a b.tif", pixels, photometric="minisblack", **options)
    gain = geotiffs.ramp("float32", 3, 0.5, 12)
    offset = geotiffs.ramp("float32", 3, -9 * high, high)
    bands = (4, 1, 2)
    places = [band - 1 for band in bands]
    geotiffs.write(tmp_path / "gain.tif", gain)
    geotiffs.write(tmp_path / "offset.tif", offset)
    write_corrected(
        tmp_path / "a.vrt",
        tmp_path / "in" / "a b.tif",
        "TIFF",
        tmp_path / "gain.tif",
        tmp_path / "offset.tif",
        bands,
        {"MINE": {"made": "<by> & 'me'"}},
    )

    exact = pixels[..., places] * gain.astype(np.float64) + offset
    expected = pixels.copy()
    if dtype.startswith("float"):
        expected[..., places] = exact
    else:
        limits = np.iinfo(dtype)
        expected[..., places] = np.rint(exact).clip(limits.min, limits.max)
    moved = shutil.move(tmp_path, tmp_path.with_name("moved"))  # with all that it names
    result = Path(moved) / "a.vrt"
    np.testing.assert_allclose(geotiffs.stored(result), expected, rtol=1e-6, atol=0)

    source = Path(moved) / "in" / "a b.tif"
    np.testing.assert_array_equal(geotiffs.mask_of(source), geotiffs.mask_of(result))
    before, after = geotiffs.properties(source), geotiffs.properties(result)
    for name in ("crs", "transform", "gcps", "dtypes", "nodatavals", "descriptions", "scales"):
        assert before[name] == after[name]
    assert before.get("tags 0 RPC") == after.get("tags 0 RPC")
    assert after["tags 0 MINE"] == str({"made": "<by> & 'me'"})


def test_statistics_of_other_values_are_left_out(tmp_path: Path) -> None:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint8", 1, 0, 99))
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.update_tags(1, STATISTICS_MEAN="9", name="x")
    flat = geotiffs.write(tmp_path / "gain.tif", np.ones((20, 30, 1), np.float32))
    geotiffs.write(tmp_path / "offset.tif", flat)
    files = tmp_path / "gain.tif", tmp_path / "offset.tif"
    write_corrected(tmp_path / "a.vrt", tmp_path / "a.tif", "TIFF", *files, (1,), {})
    with rasterio.open(tmp_path / "a.vrt") as dataset:
        assert dataset.tags(1) == {"name": "x"}
