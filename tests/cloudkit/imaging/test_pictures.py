from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import decode, write_image
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
        *(("a.png", 16, bands, "b.png") for bands in (2, 3, 4)),
        ("a.tif", 16, 2, "b.tif"),
        ("a.tif", 16, 3, "b.tif"),
        ("a.tif", 16, 4, "b.tif"),
        ("a.tif", 8, 4, "b.tif"),
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


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_the_content_decides_the_format_and_not_the_name(tmp_path: Path, bits: int) -> None:
    """A TIFF named .png may carry what PNG cannot, and a PNG named .tif does not become one."""
    write_image(tmp_path / "a.tif", noise(), bits=bits)
    (tmp_path / "a.tif").replace(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert write_picture(tmp_path / "b.png", picture, picture.image) == tmp_path / "b.tif"
    np.testing.assert_array_equal(decode(tmp_path / "b.tif")[0], decode(tmp_path / "a.png")[0])
    assert not (tmp_path / "b.png").exists()

    write_image(tmp_path / "c.png", noise())
    (tmp_path / "c.png").replace(tmp_path / "c.tif")
    picture = read_picture(tmp_path / "c.tif")
    assert write_picture(tmp_path / "d.tif", picture, picture.image) == tmp_path / "d.png"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_stay_floats(tmp_path: Path, dtype: str) -> None:
    stored = noise().permute(1, 2, 0).numpy().astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif")
    assert write_picture(tmp_path / "b.png", picture, picture.image) == tmp_path / "b.tif"

    written = tifffile.imread(tmp_path / "b.tif")
    assert written.dtype == dtype
    np.testing.assert_allclose(written, stored, rtol=0, atol=1e-7)


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


def test_a_peak_above_the_largest_value_of_the_type(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise())
    message = (
        r"a\.png: it holds uint8, whose largest value is below the peak of 10000; leave --peak out"
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
