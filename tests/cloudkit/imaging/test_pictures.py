from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cloudkit.imaging.images import ImageError, decode, write_image
from cloudkit.imaging.pictures import read_picture, write_picture
from tests.helpers import noise, random_pixels


@pytest.mark.parametrize(
    ("name", "bits", "bands", "written"),
    [
        ("a.png", 8, 1, "b.png"),
        ("a.png", 8, 2, "b.png"),
        ("a.png", 8, 3, "b.png"),
        ("a.png", 8, 4, "b.png"),
        ("a.png", 16, 1, "b.png"),
        ("a.tif", 16, 2, "b.tif"),  # PNG cannot hold 16 bits with alpha here
        ("a.tif", 16, 3, "b.tif"),
        ("a.tif", 16, 4, "b.tif"),
        ("a.tif", 8, 4, "b.png"),
        ("a.tif", 8, 1, "b.tif"),
    ],
)
def test_an_image_is_written_as_it_was(
    tmp_path: Path, name: str, bits: int, bands: int, written: str
) -> None:
    write_image(tmp_path / name, noise(bands=bands), bits=bits)
    picture = read_picture(tmp_path / name)
    assert picture.image.shape == (3, 16, 16)
    assert write_picture(tmp_path / written, picture, picture.image) == tmp_path / written

    before, had_alpha = decode(tmp_path / name)
    after, has_alpha = decode(tmp_path / written)
    assert has_alpha == had_alpha == (bands in (2, 4))
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_16_bits_of_colour_become_tiff(tmp_path: Path, bands: int) -> None:
    write_image(tmp_path / "a.tif", noise(bands=bands), bits=16)
    picture = read_picture(tmp_path / "a.tif")
    assert write_picture(tmp_path / "b.png", picture, picture.image) == tmp_path / "b.tif"
    np.testing.assert_array_equal(decode(tmp_path / "b.tif")[0], decode(tmp_path / "a.tif")[0])
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_stay_floats(tmp_path: Path, dtype: str) -> None:
    stored = noise().permute(1, 2, 0).numpy().astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif")
    assert write_picture(tmp_path / "b.png", picture, picture.image) == tmp_path / "b.tif"

    written = tifffile.imread(tmp_path / "b.tif")
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, stored)


@pytest.mark.parametrize(("dtype", "tolerance"), [("uint16", 0.51), ("float32", 2e-3)])
def test_peak_applies_to_reading_and_writing(tmp_path: Path, dtype: str, tolerance: float) -> None:
    """Reflectance times 10000 is written as reflectance times 10000."""
    stored = random_pixels(np.uint16, 8, 9, 3) % 10001
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(dtype), photometric="rgb")
    picture = read_picture(tmp_path / "a.tif", peak=10000)
    values = picture.image.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(values, stored / 10000, rtol=0, atol=1e-6)

    write_picture(tmp_path / "b.tif", picture, picture.image)
    written, _ = decode(tmp_path / "b.tif")
    assert written.dtype == dtype
    np.testing.assert_allclose(written, stored, rtol=0, atol=tolerance)


def test_a_geotiff_keeps_its_georeference(tmp_path: Path) -> None:
    values = {
        33550: (30.0, 30.0, 0.0),
        33922: (0.0, 0.0, 0.0, 5e5, 4e6, 0.0),
        34735: (1, 1, 0, 1, 3072, 0, 1, 32618),
        42113: "0",
    }
    kinds = {33550: ("d", 3), 33922: ("d", 6), 34735: ("H", 8), 42113: ("s", 0)}
    tags = [(code, *kinds[code], value, True) for code, value in values.items()]
    tags.append((305, "s", 0, "maker", True))
    pixels = random_pixels(np.uint16, 8, 9, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags)

    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        page = file.pages.first
        assert {code: page.tags[code].value for code in values} == values
        assert (page.geotiff_tags or {})["ProjectedCSTypeGeoKey"] == 32618
        assert page.tags.valueof("Software") != "maker"


def test_a_png_has_no_georeference(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise())
    assert read_picture(tmp_path / "a.png").tags == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_tiff_is_made_upright(tmp_path: Path, orientation: int) -> None:
    stored = random_pixels(np.uint8, 8, 9, 3)
    tags = [(274, "H", 1, orientation, True), (33550, "d", 3, (1.0, 1.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extratags=tags)
    with Image.open(tmp_path / "a.tif") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))

    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        written_tags = file.pages.first.tags
        np.testing.assert_array_equal(file.asarray(), expected)
        assert written_tags.valueof(274, 1) == 1
        # The georeference of a rotated image would be wrong for the upright one.
        assert (33550 in written_tags) == (orientation == 1)


def test_a_peak_above_the_largest_value_of_the_type(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise())
    message = (
        r"a\.png holds uint8, whose largest value is below the peak of 10000; leave --peak out"
    )
    with pytest.raises(ImageError, match=message):
        read_picture(tmp_path / "a.png", peak=10000)


def test_transparent_palette_keeps_its_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(random_pixels(np.uint8, 8, 9) % 2)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=1)

    picture = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", picture, picture.image)
    pixels, has_alpha = decode(tmp_path / "b.png")
    colours = {tuple(pixel) for pixel in pixels.reshape(-1, 4).tolist()}
    assert has_alpha
    assert colours == {(255, 0, 0, 255), (0, 0, 255, 0)}
