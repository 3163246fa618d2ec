from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cloudkit.images import ImageError, decode, write_image
from cloudkit.pictures import read_picture, write_picture
from tests.helpers import noise, random_pixels


@pytest.mark.parametrize(
    ("name", "bits", "bands", "written"),
    [
        ("a.png", 8, 1, "b.png"),
        ("a.png", 8, 2, "b.png"),
        ("a.png", 8, 3, "b.png"),
        ("a.png", 8, 4, "b.png"),
        ("a.png", 16, 1, "b.png"),
        ("a.tif", 16, 2, "b.tif"),  # gray of 16 bits with alpha is too much for PNG
        ("a.tif", 16, 3, "b.tif"),
        ("a.tif", 16, 4, "b.tif"),
        ("a.tif", 8, 4, "b.png"),
        ("a.tif", 8, 1, "b.tif"),
    ],
)
def test_an_image_comes_back_as_it_was(tmp_path: Path, name: str, bits: int, bands: int, written: str) -> None:
    write_image(tmp_path / name, noise(bands=bands), bits=bits)
    picture = read_picture(tmp_path / name)
    assert picture.image.shape == (3, 16, 16)
    assert write_picture(tmp_path / written, picture, picture.image) == tmp_path / written
    before, after = decode(tmp_path / name), decode(tmp_path / written)
    assert after[1] == before[1] == (bands in (2, 4))
    assert after[0].dtype == before[0].dtype
    assert int(np.abs(after[0].astype(int) - before[0].astype(int)).max()) == 0


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_16_bits_of_colour_become_tiff(tmp_path: Path, bands: int) -> None:
    write_image(tmp_path / "a.tif", noise(bands=bands), bits=16)
    picture = read_picture(tmp_path / "a.tif")
    assert write_picture(tmp_path / "b.png", picture, picture.image) == tmp_path / "b.tif"
    np.testing.assert_array_equal(decode(tmp_path / "b.tif")[0], decode(tmp_path / "a.tif")[0])
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_floats_stay_floats(tmp_path: Path, kind: str) -> None:
    stored = noise().permute(1, 2, 0).numpy().astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    picture = read_picture(tmp_path / "a.tif")
    assert write_picture(tmp_path / "b.png", picture, picture.image) == tmp_path / "b.tif"
    back = tifffile.imread(tmp_path / "b.tif")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, stored)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_peak_goes_in_and_out(tmp_path: Path, kind: str) -> None:
    """Reflectance times 10000 comes back as reflectance times 10000, where the file can hold it."""
    stored = random_pixels(np.uint16, 8, 9, 3) % 10001
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(kind), photometric="rgb")
    picture = read_picture(tmp_path / "a.tif", peak=10000)
    np.testing.assert_allclose(picture.image.permute(1, 2, 0).numpy(), stored / 10000, rtol=0, atol=1e-6)
    write_picture(tmp_path / "b.tif", picture, picture.image)
    back, _ = decode(tmp_path / "b.tif")
    assert back.dtype == kind
    np.testing.assert_allclose(back, stored, rtol=0, atol=0.51 if kind == "uint16" else 2e-3)


def test_a_geotiff_keeps_its_place(tmp_path: Path) -> None:
    scale, tie, keys = (30.0, 30.0, 0.0), (0.0, 0.0, 0.0, 5e5, 4e6, 0.0), (1, 1, 0, 1, 3072, 0, 1, 32618)
    tags = [(33550, "d", 3, scale, True), (33922, "d", 6, tie, True), (34735, "H", 8, keys, True), (42113, "s", 0, "0", True)]
    pixels = random_pixels(np.uint16, 8, 9, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[*tags, (305, "s", 0, "maker", True)])
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        page = file.pages.first
        assert {code: page.tags[code].value for code in (33550, 33922, 34735, 42113)} == {
            33550: scale,
            33922: tie,
            34735: keys,
            42113: "0",
        }
        assert (page.geotiff_tags or {})["ProjectedCSTypeGeoKey"] == 32618
        assert page.tags.valueof("Software") != "maker"
    write_image(tmp_path / "d.png", noise())
    assert read_picture(tmp_path / "d.png").tags == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_tiff_is_set_upright(tmp_path: Path, orientation: int) -> None:
    stored = random_pixels(np.uint8, 8, 9, 3)
    tags = [(274, "H", 1, orientation, True), (33550, "d", 3, (1.0, 1.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extratags=tags)
    with Image.open(tmp_path / "a.tif") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.image)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        np.testing.assert_array_equal(file.asarray(), expected)
        assert file.pages.first.tags.valueof(274, 1) == 1
        assert (33550 in file.pages.first.tags) == (orientation == 1)  # else it would place the image wrongly


def test_a_peak_above_what_the_type_holds(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise())
    with pytest.raises(ImageError, match=r"a\.png holds uint8, whose largest value is below the peak of 10000; leave --peak out"):
        read_picture(tmp_path / "a.png", peak=10000)


def test_transparent_palette_keeps_its_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(random_pixels(np.uint8, 8, 9) % 2)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png", transparency=1)
    read = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", read, read.image)
    pixels, has_alpha = decode(tmp_path / "b.png")
    assert has_alpha
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 4).tolist()} == {(255, 0, 0, 255), (0, 0, 255, 0)}
