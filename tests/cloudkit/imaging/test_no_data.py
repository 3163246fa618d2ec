"""Pixels without data take no part, and come out as they went in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from cloudkit.imaging.images import read_unit
from cloudkit.imaging.pictures import read_picture, write_picture, write_thickness
from tests.cloudkit.imaging import geotiffs

NAN = float("nan")
LOWEST = float(np.finfo(np.float32).min)
HOLE = np.zeros((20, 30), bool)
HOLE[4:11, 22:] = True

CASES: dict[str, tuple[str, int, float, dict[str, Any]]] = {
    "float -9999": ("float32", 3, -9999, {"nodata": -9999}),
    "the lowest float": ("float32", 3, LOWEST, {"nodata": LOWEST}),
    "float64 -9999": ("float64", 1, -9999, {"nodata": -9999}),
    "NaN": ("float32", 3, NAN, {"nodata": NAN}),
    "NaN without a tag": ("float32", 3, NAN, {}),
    "NaN beside another tag": ("float32", 3, NAN, {"nodata": -1}),
    "uint16 65535": ("uint16", 3, 65535, {"nodata": 65535}),
    "uint16 0": ("uint16", 3, 0, {"nodata": 0}),
    "int16 -32768": ("int16", 3, -32768, {"nodata": -32768}),
    "int16 -9999": ("int16", 1, -9999, {"nodata": -9999}),
    "uint8 255": ("uint8", 3, 255, {"nodata": 255, "compress": "lzw"}),
    "uint8 255, gray": ("uint8", 1, 255, {"nodata": 255}),
    "inverted gray": ("uint8", 1, 0, {"nodata": 0, "photometric": "miniswhite"}),
    "12 bits": ("uint16", 3, 4095, {"nodata": 4095, "nbits": 12}),
    "a mask": ("uint8", 3, 99, {"mask": ~HOLE}),
    "a mask of 16 bits": (
        "uint16",
        3,
        99,
        {"mask": ~HOLE, "tiled": True, "blockxsize": 16, "blockysize": 16},
    ),
    "a mask with overviews": ("uint8", 1, 99, {"mask": ~HOLE, "overviews": [2]}),
}


@pytest.mark.parametrize("case", CASES)
def test_pixels_without_data_are_neither_used_nor_changed(tmp_path: Path, case: str) -> None:
    dtype, bands, value, options = CASES[case]
    high = {"uint8": 200, "uint16": 4000, "int16": 9000}.get(dtype, 0.9)
    pixels = geotiffs.ramp(dtype, bands, high / 10, high)
    pixels[HOLE] = value
    geotiffs.write(tmp_path / "a.tif", pixels, **options)

    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.valid, ~HOLE)
    assert not picture.image[:, torch.from_numpy(HOLE)].any()

    write_picture(tmp_path / "b.tif", picture, picture.image * 0.5)
    before, after = geotiffs.stored(tmp_path / "a.tif"), geotiffs.stored(tmp_path / "b.tif")
    np.testing.assert_array_equal(after[HOLE], before[HOLE])
    assert (after[~HOLE] != before[~HOLE]).mean() > 0.9
    np.testing.assert_array_equal(
        geotiffs.mask_of(tmp_path / "a.tif"), geotiffs.mask_of(tmp_path / "b.tif")
    )
    assert geotiffs.differences(tmp_path / "a.tif", tmp_path / "b.tif") == []


def test_no_data_of_one_band_is_enough(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("float32", 3, 0.1, 0.9)
    pixels[3, 4, 1] = -9999
    geotiffs.write(tmp_path / "a.tif", pixels, nodata=-9999)
    picture = read_picture(tmp_path / "a.tif")
    assert (~picture.valid).nonzero().tolist() == [[3, 4]]
    write_picture(tmp_path / "b.tif", picture, picture.image * 0.5)
    np.testing.assert_array_equal(geotiffs.stored(tmp_path / "b.tif")[3, 4], pixels[3, 4])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "deep.png"])
def test_transparent_pixels(tmp_path: Path, name: str) -> None:
    dtype = "uint16" if name == "deep.png" else "uint8"
    pixels = geotiffs.ramp(dtype, 4, 50, 200)
    pixels[HOLE] = (255, 0, 255, 0)
    options = {"driver": "PNG"} if name.endswith("png") else {"photometric": "rgb", "alpha": "yes"}
    geotiffs.write(tmp_path / name, pixels, **options)

    picture = read_picture(tmp_path / name)
    np.testing.assert_array_equal(picture.valid, ~HOLE)
    assert picture.image.max() <= 200 / np.iinfo(dtype).max + 1e-6
    written = write_picture(tmp_path / "out" / name, picture, picture.image * 0.5)
    after = geotiffs.stored(written)
    np.testing.assert_array_equal(after[HOLE], pixels[HOLE])
    np.testing.assert_array_equal(after[..., 3], pixels[..., 3])
    assert (after[~HOLE][:, :3] < pixels[~HOLE][:, :3]).all()


def test_the_transparent_colour_of_a_deep_gray_png(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint16", 1, 50, 200)
    pixels[HOLE] = 7
    geotiffs.write(tmp_path / "a.png", pixels, driver="PNG", nodata=7)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.valid, ~HOLE)
    write_picture(tmp_path / "b.png", picture, picture.image * 0.5)
    np.testing.assert_array_equal(geotiffs.mask_of(tmp_path / "b.png") == 0, HOLE)


def test_the_transparent_colour_of_a_deep_png(tmp_path: Path) -> None:
    """All bands must have its values: a pixel that shares one of them has data."""
    pixels = geotiffs.ramp("uint16", 3, 50, 60000)
    pixels[HOLE] = (7, 8, 9)
    pixels[0, 0] = (7, 80, 90)
    tags = {"tags": {"": {"NODATA_VALUES": "7 8 9"}}}
    geotiffs.write(tmp_path / "a.png", pixels, driver="PNG", **tags)
    assert b"tRNS" in (tmp_path / "a.png").read_bytes()
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.valid, ~HOLE)
    written = write_picture(tmp_path / "b.png", picture, picture.image)
    np.testing.assert_array_equal(geotiffs.stored(written), pixels)
    np.testing.assert_array_equal(read_picture(written).valid, ~HOLE)


def test_a_colour_of_a_palette_that_means_no_data(tmp_path: Path) -> None:
    image = Image.fromarray(np.where(HOLE, 5, 9).astype(np.uint8))
    image.putpalette([value for index in range(256) for value in (index, 2 * index % 256, 30)])
    image.save(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.nodata = 5
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.valid, ~HOLE)
    write_picture(tmp_path / "b.tif", picture, picture.image)
    np.testing.assert_array_equal(geotiffs.mask_of(tmp_path / "b.tif") == 0, HOLE)
    after = geotiffs.stored(tmp_path / "b.tif")
    assert after[HOLE][0].tolist() == [5, 10, 30]
    assert after[~HOLE][0].tolist() == [9, 18, 30]


def test_an_image_without_any_data_comes_out_as_it_went_in(tmp_path: Path) -> None:
    pixels = np.full((20, 30, 3), -9999, np.float32)
    geotiffs.write(tmp_path / "a.tif", pixels, nodata=-9999)
    picture = read_picture(tmp_path / "a.tif")
    assert not picture.image.any()
    write_picture(tmp_path / "b.tif", picture, picture.image + 0.5)
    np.testing.assert_array_equal(geotiffs.stored(tmp_path / "b.tif"), pixels)


def test_an_image_in_training_is_black_without_data(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("float32", 3, 0.1, 0.9)
    pixels[HOLE] = NAN
    geotiffs.write(tmp_path / "a.tif", pixels)
    image = read_unit(tmp_path / "a.tif").numpy()
    np.testing.assert_array_equal((image == 0).all(0), HOLE)


def test_a_thickness_map_has_the_holes_of_its_image(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint16", 3, 50, 200)
    pixels[HOLE] = 0
    geotiffs.write(
        tmp_path / "a.tif", pixels, nodata=0, crs=geotiffs.CRS, transform=geotiffs.TRANSFORM
    )
    picture = read_picture(tmp_path / "a.tif")
    write_thickness(tmp_path / "t.tif", picture, picture.image[:1])
    np.testing.assert_array_equal(geotiffs.mask_of(tmp_path / "t.tif") == 0, HOLE)
