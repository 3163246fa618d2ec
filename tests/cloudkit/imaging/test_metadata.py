"""All that a file carries comes out again."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.enums import ColorInterp

from cloudkit.imaging.finding import find_images
from cloudkit.imaging.pictures import read_picture, write_picture, write_thickness
from cloudkit.imaging.raster import open_raster
from cloudkit.imaging.tiff import read_pages
from tests.cloudkit.imaging import geotiffs
from tests.helpers import random_pixels

RGB = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
PLACED = {"crs": geotiffs.CRS, "transform": geotiffs.TRANSFORM}
LOSSLESS = (
    "lzw",
    "deflate",
    "zstd",
    "packbits",
    "lzma",
    "webp",
    "lerc",
    "lerc_zstd",
    "lerc_deflate",
)

CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "nothing": ("uint8", 3, {}),
    "place": ("uint8", 3, PLACED),
    "points, not areas": ("uint16", 3, PLACED | {"tags": {"": {"AREA_OR_POINT": "Point"}}}),
    "CRS alone": ("uint8", 3, {"crs": "EPSG:4326"}),
    "GCPs": ("uint16", 3, {"gcps": (geotiffs.GCPS, rasterio.crs.CRS.from_epsg(4326))}),
    "GCPs without CRS": ("uint8", 3, {"gcps": (geotiffs.GCPS, rasterio.crs.CRS())}),
    "RPCs": ("uint16", 3, {"rpcs": geotiffs.RPC}),
    "no-data": ("uint16", 3, PLACED | {"nodata": 7}),
    "no-data of floats": ("float32", 3, {"nodata": -9999}),
    "no-data is NaN": ("float32", 1, {"nodata": float("nan")}),
    "scale and offset": ("uint16", 3, {"scales": (0.1, 0.2, 0.3), "offsets": (-1, 0, 2.5)}),
    "units": ("int16", 3, {"units": ("m", "K", "W/m2")}),
    "band names": ("uint16", 3, {"descriptions": ("red", "Grün", "B02")}),
    "tags": (
        "uint8",
        3,
        {
            "tags": {
                "": {
                    "TIFFTAG_SOFTWARE": "a",
                    "key": "x=y",
                    "TIFFTAG_DATETIME": "2020:01:01 00:00:00",
                },
                "OWN": {"a": "b"},
            }
        },
    ),
    "XMP": ("uint8", 3, {"tags": {"xml:XMP": {"<x:xmpmeta a": '"1"/>'}}}),
    "resolution": (
        "uint8",
        3,
        {
            "tags": {
                "": {
                    "TIFFTAG_XRESOLUTION": "300",
                    "TIFFTAG_YRESOLUTION": "300",
                    "TIFFTAG_RESOLUTIONUNIT": "2",
                }
            }
        },
    ),
    "blue first": ("uint16", 3, {"colorinterp": RGB[::-1], "photometric": "minisblack"}),
    "no colours named": ("uint8", 3, {"photometric": "minisblack"}),
    "alpha": ("uint16", 4, {"photometric": "rgb", "alpha": "yes"}),
    "gray with alpha": ("uint8", 2, {"alpha": "yes"}),
    "overviews": ("uint8", 3, {"overviews": [2, 4]}),
    "tiles": ("uint8", 3, {"tiled": True, "blockxsize": 16, "blockysize": 32}),
    "bands apart": ("uint16", 3, {"interleave": "band", "compress": "lzw"}),
    "strips": ("uint8", 3, {"blockysize": 3}),
    "no-data that the type cannot hold": ("uint8", 3, {"nodata": -9999}),
    "a colour that means no data": ("uint8", 3, {"tags": {"": {"NODATA_VALUES": "1 2 3"}}}),
    "BigTIFF": ("uint16", 3, {"bigtiff": "yes"}),
    "predictor 2": ("uint16", 3, {"compress": "lzw", "predictor": 2}),
    "predictor 3": ("float32", 3, {"compress": "deflate", "predictor": 3}),
    "12 bits": ("uint16", 3, {"nbits": 12}),
    "floats of 16 bits": ("float32", 3, {"nbits": 16}),
    "float64": ("float64", 3, {}),
    "white is zero": ("uint8", 1, {"photometric": "miniswhite"}),
    "white is zero, 16 bits": ("uint16", 1, {"photometric": "miniswhite", "nodata": 9}),
    **{f"compressed by {name}": ("uint8", 3, {"compress": name}) for name in LOSSLESS},
}
HIGH = {"uint8": 255, "uint16": 4095, "int16": 32767, "float32": 1, "float64": 1}


@pytest.mark.parametrize("case", CASES)
def test_a_tiff_comes_out_as_it_went_in(tmp_path: Path, case: str) -> None:
    dtype, bands, options = CASES[case]
    height = 80 if "tiles" in case else 20
    pixels = geotiffs.ramp(dtype, bands, 0, HIGH[dtype], height=height)
    if case == "compressed by webp":
        options = options | {"webp_lossless": True}
    geotiffs.write(tmp_path / "a.tif", pixels, **options)

    picture = read_picture(tmp_path / "a.tif")
    assert write_picture(tmp_path / "b.tif", picture, picture.image) == tmp_path / "b.tif"
    assert geotiffs.differences(tmp_path / "a.tif", tmp_path / "b.tif") == []
    stored = geotiffs.stored(tmp_path / "a.tif").astype(float)
    tolerance = {"float32": 1e-7, "float64": 1e-7}.get(dtype, 0)
    np.testing.assert_allclose(geotiffs.stored(tmp_path / "b.tif"), stored, rtol=0, atol=tolerance)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]


def test_no_data_that_the_type_cannot_hold(tmp_path: Path) -> None:
    """GDAL does not report it, so the tag itself is compared."""
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint8", 3, 0, 255), nodata=-9999)
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    assert read_pages(tmp_path / "b.tif")[0].nodata == -9999


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_the_kind_of_alpha(tmp_path: Path, kind: str) -> None:
    pixels = random_pixels(np.uint8, 10, 14, 4)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind])
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        expected = [tifffile.EXTRASAMPLE[kind.upper()]]
        assert list(file.pages.first.extrasamples) == expected


def test_a_jpeg_2000_becomes_a_tiff_at_its_place(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint16", 3, 0, 65535)
    options = PLACED | {"driver": "JP2OpenJPEG", "quality": 100, "reversible": "yes"}
    geotiffs.write(tmp_path / "a.jp2", pixels, **options)
    picture = read_picture(tmp_path / "a.jp2")
    written = write_picture(tmp_path / "b.jp2", picture, picture.image)
    assert written == tmp_path / "b.tif"
    np.testing.assert_array_equal(geotiffs.stored(written), pixels)
    found, expected = geotiffs.properties(written), geotiffs.properties(tmp_path / "a.jp2")
    for name in ("crs", "transform", "dtypes"):
        assert found[name] == expected[name]


def test_the_bands_of_a_blue_first_image_are_found(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint8", 3, 0, 255)
    colours = {"colorinterp": RGB[::-1], "photometric": "minisblack"}
    geotiffs.write(tmp_path / "a.tif", pixels, **colours)
    image = read_picture(tmp_path / "a.tif").image.numpy()
    np.testing.assert_allclose(image.transpose(1, 2, 0), pixels[..., ::-1] / 255, atol=1e-6)


def test_statistics_of_old_pixels_go(tmp_path: Path) -> None:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint8", 3, 0, 255))
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.update_tags(1, STATISTICS_MEAN="7", kept="yes")
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with rasterio.open(tmp_path / "b.tif") as dataset:
        assert dataset.tags(1) == {"kept": "yes"}


def test_a_window_holds_the_pixels_of_the_whole(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint16", 4, 0, 65535)
    geotiffs.write(tmp_path / "a.tif", pixels, photometric="rgb", alpha="yes")
    with open_raster(tmp_path / "a.tif") as file:
        assert file.size == (20, 30)
        part = file.read(rasterio.windows.Window(4, 3, 10, 5))
    np.testing.assert_array_equal(part.pixels, pixels[3:8, 4:14, :3])
    np.testing.assert_array_equal(part.alpha, pixels[3:8, 4:14, 3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_tiff_keeps_its_place(tmp_path: Path, orientation: int) -> None:
    """Each pixel has the same coordinates before and after it was made upright."""
    pixels = np.arange(1, 49, dtype=np.uint8).reshape(6, 8, 1).repeat(3, 2)
    options: dict[str, Any] = {"crs": geotiffs.CRS, "transform": geotiffs.TRANSFORM}
    geotiffs.write(tmp_path / "a.tif", pixels, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        codes = [tag.code for tag in file.pages.first.tags]
    tags: list[tuple[Any, ...]] = [(274, "H", 1, orientation, True)]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        kept = [file.pages.first.tags[code] for code in codes if code > 33000]
    tags += [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in kept]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags, metadata=None)

    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(tmp_path / "b.tif") as after:
        old, new = before.read(1), after.read(1)
        assert new.shape == (old.shape if orientation < 5 else old.shape[::-1])
        for value in (1, 8, 20, 48):
            row, column = np.argwhere(old == value)[0]
            there = before.xy(row, column)
            row, column = np.argwhere(new == value)[0]
            assert after.xy(row, column) == pytest.approx(there)
        assert after.crs == before.crs


@pytest.mark.parametrize("case", ["place", "GCPs", "RPCs", "points, not areas"])
def test_the_thickness_of_a_geotiff_is_at_its_place(tmp_path: Path, case: str) -> None:
    dtype, bands, options = CASES[case]
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp(dtype, bands, 0, 255), **options)
    picture = read_picture(tmp_path / "a.tif")
    written = write_thickness(tmp_path / "t.tif", picture, picture.image[:1])
    assert written == tmp_path / "t.tif"
    with rasterio.open(tmp_path / "a.tif") as before, rasterio.open(written) as after:
        assert (after.crs, after.transform, after.rpcs) == (
            before.crs,
            before.transform,
            before.rpcs,
        )
        assert len(after.gcps[0]) == len(before.gcps[0])
        assert (after.count, after.dtypes[0]) == (1, "uint16")
        assert after.tags().get("AREA_OR_POINT") == before.tags().get("AREA_OR_POINT")
        np.testing.assert_allclose(after.read(1) / 65535, picture.image[0], atol=1e-5)


@pytest.mark.skipif("THIEFCLOUD_DATA" not in os.environ, reason="THIEFCLOUD_DATA is not set")
@pytest.mark.parametrize("folder", ["thin_cloud_scenes_geotiff", "thin_cloud_tiff_384"])
def test_real_files_come_out_as_they_went_in(tmp_path: Path, folder: str) -> None:
    for path in find_images(Path(os.environ["THIEFCLOUD_DATA"]) / folder):
        picture = read_picture(path)
        write_picture(tmp_path / "b.tif", picture, picture.image)
        assert geotiffs.differences(path, tmp_path / "b.tif") == []
        np.testing.assert_array_equal(geotiffs.stored(path), geotiffs.stored(tmp_path / "b.tif"))
