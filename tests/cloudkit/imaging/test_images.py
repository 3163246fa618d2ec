import math
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from cloudkit.imaging.finding import find_images
from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import (
    decode,
    read_image,
    read_unit,
    to_unit,
    write_image,
)
from tests.helpers import noise, random_pixels

DTYPES = {8: np.uint8, 16: np.uint16}


@pytest.mark.parametrize(
    ("name", "bits", "bands"),
    [
        *(("a.png", 8, bands) for bands in (1, 2, 3, 4)),
        *(("a.png", 16, bands) for bands in (1, 2, 3, 4)),
        ("a.bmp", 8, 3),
        *(("a.tif", bits, bands) for bits in (8, 16) for bands in (1, 2, 3, 4, 13)),
        ("a.TIFF", 16, 3),
    ],
)
def test_written_images_are_read(tmp_path: Path, name: str, bits: int, bands: int) -> None:
    pixels = random_pixels(DTYPES[bits], 9, 14, bands)
    stored = torch.from_numpy(pixels.transpose(2, 0, 1))
    image = stored.float() / (2**bits - 1)
    write_image(tmp_path / name, image, bits=bits)
    assert [path.name for path in tmp_path.iterdir()] == [name]

    decoded, has_alpha = decode(tmp_path / name)
    assert decoded.dtype == pixels.dtype
    assert has_alpha == (bands in (2, 4))
    np.testing.assert_array_equal(decoded, pixels)

    colours = bands - has_alpha
    assert torch.equal(read_image(tmp_path / name, bands=colours), stored[:colours])
    values = read_unit(tmp_path / name, bands=colours)
    torch.testing.assert_close(values, image[:colours], rtol=0, atol=1e-7)


@pytest.mark.parametrize("bands", [1, 3])
def test_jpeg_is_close(tmp_path: Path, bands: int) -> None:
    ramp = torch.linspace(0.1, 0.9, 64).expand(bands, 48, 64)
    write_image(tmp_path / "a.jpg", ramp)
    written = read_unit(tmp_path / "a.jpg", bands=bands)
    torch.testing.assert_close(written, ramp, rtol=0, atol=2.5 / 255)


def test_values_outside_0_to_1_are_clamped_and_rounded(tmp_path: Path) -> None:
    image = torch.tensor([-0.5, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 7.0]).view(1, 1, -1)
    write_image(tmp_path / "a.png", image)
    assert read_image(tmp_path / "a.png", bands=1).flatten().tolist() == [0, 0, 0, 1, 255, 255]


def test_gray_is_repeated_over_the_bands(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise(bands=1))
    gray = read_image(tmp_path / "a.png", bands=1)
    assert torch.equal(read_image(tmp_path / "a.png"), gray.expand(3, -1, -1))


def test_a_gray_map_saved_as_colour_has_one_band(tmp_path: Path) -> None:
    gray = noise(bands=1)
    write_image(tmp_path / "gray.png", gray.expand(3, -1, -1))
    written = read_unit(tmp_path / "gray.png", bands=1)
    torch.testing.assert_close(written, gray, rtol=0, atol=0.51 / 255)

    write_image(tmp_path / "colour.png", noise(bands=3))
    with pytest.raises(ImageError, match=r"has 3 bands that differ, expected one.*--bidx 1 "):
        read_unit(tmp_path / "colour.png", bands=1)


@pytest.mark.parametrize(
    ("name", "bits", "bands"),
    [("a.png", 32, 3), ("a.png", 8, 5), ("a.png", 16, 6), ("a.jpg", 16, 3)],
)
def test_images_that_a_format_cannot_hold(tmp_path: Path, name: str, bits: int, bands: int) -> None:
    with pytest.raises(ValueError, match=r"need TIFF"):
        write_image(tmp_path / name, noise(bands=bands), bits=bits)
    assert not list(tmp_path.iterdir())


def test_batches_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(bands, H, W\).*\(1, 3, 16, 16\)"):
        write_image(tmp_path / "a.png", noise()[None])


def test_peak_is_the_value_of_white() -> None:
    stored = torch.tensor([0, 5000, 10000, 20000], dtype=torch.int32).to(torch.uint16)
    assert to_unit(stored, peak=10000).tolist() == [0, 0.5, 1, 1]
    assert to_unit(torch.tensor([0.0, 50.0, 200.0]), peak=100).tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match="not a number"):
        to_unit(torch.tensor([0.0, float("nan")]), peak=100)


def truncate(path: Path, fraction: float) -> None:
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9])
def test_damaged_files_are_named(tmp_path: Path, name: str, fraction: float) -> None:
    write_image(tmp_path / name, noise(height=64, width=64))
    truncate(tmp_path / name, fraction)
    with pytest.raises(ImageError, match=rf"{name} cannot be read .*damaged"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_empty_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ImageError, match=f"{name} is empty, expected an image: get a new copy"):
        read_image(tmp_path / name)


def test_damaged_uncompressed_tiff_is_named(tmp_path: Path) -> None:
    pixels = random_pixels(np.uint8, 64, 64, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    truncate(tmp_path / "a.tif", 0.5)
    with pytest.raises(ImageError, match=r"a\.tif claims 64 x 64 pixels.*damaged"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_text_is_no_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello")
    with pytest.raises(ImageError, match=name):
        read_image(tmp_path / name)


@pytest.mark.parametrize("bands", [3, 5])
def test_wrong_number_of_bands(tmp_path: Path, bands: int) -> None:
    write_image(tmp_path / "a.tif", noise(bands=13))
    with pytest.raises(ImageError, match=rf"a\.tif has 13 bands, expected {bands}"):
        read_image(tmp_path / "a.tif", bands=bands)


def test_other_pixel_types_are_rejected(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 14), np.int32))
    with pytest.raises(ImageError, match=r"a\.tif has pixels of type int32"):
        read_image(tmp_path / "a.tif")


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "a.png", tmp_path):
        with pytest.raises(FileNotFoundError, match=str(path)):
            read_image(path)


def test_permissions_of_written_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_image(tmp_path / "deep" / "down" / "a.png", noise())
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "down" / "a.png").stat().st_mode & 0o777 == 0o640


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "1.png", noise())

    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("cloudkit.imaging.raster.read_header", denied)
    with pytest.raises(ImageError, match=r"1\.png may not be read \(permission denied\)"):
        read_image(tmp_path / "1.png")


@pytest.mark.skipif(
    "THIEFCLOUD_DATA" not in os.environ, reason="THIEFCLOUD_DATA names no folder of real images"
)
@pytest.mark.parametrize(
    ("folder", "bands"),
    [("thin_cloud_tiff_384", 3), ("sentinel2_13band_geotiff", 13), ("SateHaze1k_thin_512_jpeg", 3)],
)
def test_real_files_are_read(folder: str, bands: int) -> None:
    for path in find_images(Path(os.environ["THIEFCLOUD_DATA"]) / folder):
        image = read_unit(path, bands=bands)
        assert min(image.shape[1:]) >= 256
        assert image.std() > 0.001


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ((0.0, 254.0), "give --peak 255"),
        ((0.0, 4000.0), "give --peak 4095"),
        ((3.0, 9000.0), "give --peak 10000"),
        ((0.0, 65535.0), "give --peak 65535"),
        ((0.0, 1.2), "name the value of white by --peak"),
        ((-1.0, 0.5), "scale them to it"),
        ((0.0, math.inf), "infinite or not a number"),
        ((0.0, math.nan), "infinite or not a number"),
    ],
)
def test_floats_outside_the_range_get_fitting_advice(
    values: tuple[float, float], advice: str
) -> None:
    pixels = torch.tensor(values)
    with pytest.raises(ValueError, match=advice):
        to_unit(pixels)
    if not pixels.isfinite().all():
        with pytest.raises(ValueError, match=advice):
            to_unit(pixels, peak=255)
