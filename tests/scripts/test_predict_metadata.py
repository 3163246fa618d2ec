"""The metadata of a file stays the same through predict.py, on real and generated files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED
from tests.scripts.predicting import differences, predict

DATA = Path(os.environ.get("THIEFCLOUD_DATA", ""))
# File, its options, and bands that come out as they went in. Landsat's and NAIP's are RGB and near
# infrared, Sentinel-2's from B01 to B12.
REAL: dict[str, tuple[str, tuple[object, ...], list[int]]] = {
    "veil 3": ("thin_cloud_scenes_geotiff/aoi3.tif", (), []),
    "veil 4": ("thin_cloud_scenes_geotiff/aoi4.tif", (), []),
    "Landsat": ("geotiff/landsat_4band_uint8.tif", ("--bands", 1, 2, 3), [3]),
    "NAIP": ("geotiff/naip_4band_uint8.tif", ("--bands", 1, 2, 3), [3]),
    "Sentinel-2": (
        "sentinel2_13band_geotiff/cloudy/ROIs1158_spring_s2_26_p500.tif",
        ("--bands", 4, 3, 2, "--peak", 10000),
        [0, *range(4, 13)],
    ),
    "no place": ("thin_cloud_tiff_384/cloudy/9.tif", (), []),
}
EVERYTHING: dict[str, Any] = {
    "descriptions": ("B04", "B03", "B02", "B08"),
    "units": ("1", "1", "1", "m"),
    "tags": {"": {"ACQUIRED": "2024-05-01"}, "MINE": {"a": "b"}},
    "photometric": "minisblack",
    "nodata": 0,
}
GENERATED: dict[str, dict[str, Any]] = {
    "place": PLACED,
    "scale and offset": PLACED | {"scales": (0.0001,) * 4, "offsets": (-0.1,) * 4},
    "GCPs": {"gcps": (geotiffs.GCPS, rasterio.crs.CRS.from_epsg(4326))},
    "RPCs": {"rpcs": geotiffs.RPC},
    "overviews": PLACED | {"overviews": [2]},
    "mask": {"mask": np.tri(150, 30, dtype=bool), "nodata": None},
    "compression": PLACED | {"compress": "zstd", "predictor": 2, "interleave": "band"},
    "blocks": PLACED | {"tiled": True, "blockxsize": 16, "blockysize": 32},
}


def compare(checkpoint: Path, source: Path, out: Path, *options: object, kept: list[int]) -> None:
    assert predict(checkpoint, source, *options, "--out", out) == 0
    result = out / source.name
    assert differences(source, result) == []

    before, after = geotiffs.stored(source), geotiffs.stored(result)
    np.testing.assert_array_equal(before[..., kept], after[..., kept])
    restored = np.delete(after, kept, 2) != np.delete(before, kept, 2)
    mask = geotiffs.mask_of(source)
    np.testing.assert_array_equal(mask, geotiffs.mask_of(result))
    np.testing.assert_array_equal(before[mask == 0], after[mask == 0])
    assert restored[mask > 0].mean() > 0.3


@pytest.mark.skipif(not DATA.name, reason="THIEFCLOUD_DATA names no folder of real images")
@pytest.mark.parametrize("case", REAL)
def test_real_files_keep_what_they_say(tmp_path: Path, checkpoint: Path, case: str) -> None:
    name, options, kept = REAL[case]
    compare(checkpoint, DATA / name, tmp_path, *options, kept=kept)


@pytest.mark.parametrize("case", GENERATED)
def test_generated_files_keep_what_they_say(tmp_path: Path, checkpoint: Path, case: str) -> None:
    pixels = geotiffs.ramp("uint16", 4, 1500, 9000, height=150)
    geotiffs.write(tmp_path / "a.tif", pixels, **EVERYTHING | GENERATED[case])
    compare(checkpoint, tmp_path / "a.tif", tmp_path / "out", "--bands", 1, 2, 3, kept=[3])
