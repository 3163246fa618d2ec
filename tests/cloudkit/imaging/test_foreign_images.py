"""Images that other programs wrote, in all the forms that their formats have."""

import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import decode, read_image, read_unit
from tests.cloudkit.imaging import geotiffs
from tests.helpers import noise, random_pixels

Pixels = np.ndarray
# Writes a file, and returns its pixels (H, W, bands), and True if the last band is alpha.
Writer = Callable[[Path], tuple[Pixels, bool]]
H, W = 9, 14
GRAY = "minisblack"


def pixels_of(dtype: type, bands: int) -> Pixels:
    return random_pixels(dtype, H, W, bands)


def deep_png(path: Path, bands: int) -> tuple[Pixels, bool]:
    """Write a PNG with 16 bits a sample, which no library here can write in colour."""
    pixels = pixels_of(np.uint16, bands)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 16, colour_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    data = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    return pixels, bands in (2, 4)


def palette_png(path: Path, **options: Any) -> tuple[Pixels, bool]:
    colours, index = random_pixels(np.uint8, 4, 3), random_pixels(np.uint8, H, W) % 4
    image = Image.fromarray(index)
    image.putpalette(colours.flatten().tolist())
    image.save(path, **options)
    if "transparency" not in options:
        return colours[index], False
    alpha = np.where(index == options["transparency"], 0, 255).astype(np.uint8)
    return np.concatenate((colours[index], alpha[..., None]), -1), True


def one_bit(path: Path) -> tuple[Pixels, bool]:
    pixels = (random_pixels(np.uint8, H, W) > 127).astype(np.uint8) * 255
    Image.fromarray(pixels).convert("1").save(path)
    return pixels[..., None], False


def pillow(mode: str, **options: Any) -> Writer:
    def write(path: Path) -> tuple[Pixels, bool]:
        pixels = pixels_of(np.uint16, 1) if mode == "I;16" else pixels_of(np.uint8, len(mode))
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        assert image.mode == mode
        image.save(path, **options)
        return pixels, mode.endswith("A")

    return write


def tiff(dtype: type, bands: int, photometric: str, **options: Any) -> Writer:
    def write(path: Path) -> tuple[Pixels, bool]:
        pixels = pixels_of(dtype, bands)
        data = pixels if bands > 1 else pixels[..., 0]
        if options.get("planarconfig") == "separate":
            data = pixels.transpose(2, 0, 1)
        tifffile.imwrite(path, data, photometric=photometric, **options)
        return pixels, False

    return write


def white_is_zero(path: Path) -> tuple[Pixels, bool]:
    pixels = pixels_of(np.uint8, 1)
    tifffile.imwrite(path, 255 - pixels[..., 0], photometric="miniswhite")
    return pixels, False


def rotated_by_camera(path: Path) -> tuple[Pixels, bool]:
    pixels, exif = pixels_of(np.uint8, 3), Image.Exif()
    exif[0x0112] = 6  # show it rotated by 90 degrees, clockwise
    Image.fromarray(pixels).save(path, exif=exif)
    return np.rot90(pixels, -1), False


def through_pillow(mode: str, **options: Any) -> Writer:
    """Write a kind of TIFF whose colours Pillow turns into RGB as they should be."""

    def write(path: Path) -> tuple[Pixels, bool]:
        picture = Image.fromarray(pixels_of(np.uint8, 3)).convert(mode)
        picture.save(path, format="TIFF", **options)
        with Image.open(path) as opened:
            back = np.asarray(opened.convert("L" if mode in ("1", "L") else "RGB"))
        return back.reshape(H, W, -1), False

    return write


def by_gdal(dtype: type, bands: int, **options: Any) -> Writer:
    def write(path: Path) -> tuple[Pixels, bool]:
        return geotiffs.write(path, pixels_of(dtype, bands), **options), False

    return write


def four_bits(path: Path) -> tuple[Pixels, bool]:
    pixels = pixels_of(np.uint8, 1) % 16
    geotiffs.write(path, pixels, nbits=4)
    return pixels * 17, False


FOREIGN: dict[str, tuple[str, Writer]] = {
    "16-bit PNG, 1 band": (".png", partial(deep_png, bands=1)),
    "16-bit PNG, 2 bands": (".png", partial(deep_png, bands=2)),
    "16-bit PNG, 3 bands": (".png", partial(deep_png, bands=3)),
    "16-bit PNG, 4 bands": (".png", partial(deep_png, bands=4)),
    "palette": (".png", palette_png),
    "palette with a transparent colour": (".png", partial(palette_png, transparency=2)),
    "1 bit": (".png", one_bit),
    "1 bit TIFF": (".tif", one_bit),
    "LA": (".png", pillow("LA")),
    "rotated by the camera": (".png", rotated_by_camera),
    "LZW, RGB": (".tif", pillow("RGB", compression="tiff_lzw")),
    "LZW, RGBA": (".tif", pillow("RGBA", compression="tiff_lzw")),
    "LZW, gray": (".tif", pillow("L", compression="tiff_lzw")),
    "LZW, 16 bits gray": (".tif", pillow("I;16", compression="tiff_lzw")),
    "planar RGB": (".tif", tiff(np.uint8, 3, "rgb", planarconfig="separate")),
    "planar, 13 bands": (".tif", tiff(np.uint16, 13, GRAY, planarconfig="separate")),
    "4 bands, none alpha": (".tif", tiff(np.uint16, 4, GRAY, planarconfig="contig")),
    "tiled": (".tif", tiff(np.uint8, 3, "rgb", tile=(16, 16), compression="zlib")),
    "big-endian": (".tif", tiff(np.uint16, 3, "rgb", byteorder=">")),
    "big-endian, zlib": (".tif", tiff(np.uint16, 1, GRAY, byteorder=">", compression="zlib")),
    "white is zero": (".tif", white_is_zero),
    "CMYK": (".tif", through_pillow("CMYK")),
    "palette TIFF": (".tif", through_pillow("P")),
    "JPEG in TIFF": (".tif", through_pillow("RGB", compression="jpeg")),
    "fax": (".tif", through_pillow("1", compression="group4")),
    "BigTIFF": (".tif", through_pillow("RGB", big_tiff=True)),
    "4 bits": (".tif", four_bits),
    "ZSTD": (".tif", by_gdal(np.uint16, 3, compress="zstd", predictor=2)),
    "LERC": (".tif", by_gdal(np.uint16, 3, compress="lerc")),
    "WEBP": (".tif", by_gdal(np.uint8, 3, compress="webp", webp_lossless=True)),
    "16-bit LZW of QGIS": (".tif", by_gdal(np.uint16, 3, compress="lzw", predictor=2, tiled=True)),
    "16-bit TIFF named .png": (".png", by_gdal(np.uint16, 3)),
    "16-bit TIFF named .jpg": (".jpg", by_gdal(np.uint16, 1)),
    "signed": (".tif", by_gdal(np.int16, 3)),
    "16-bit JPEG 2000 named .png": (
        ".png",
        by_gdal(np.uint16, 3, driver="JP2OpenJPEG", quality=100, reversible="yes"),
    ),
}


@pytest.mark.parametrize(("suffix", "write"), FOREIGN.values(), ids=FOREIGN.keys())
def test_files_of_other_programs(tmp_path: Path, suffix: str, write: Writer) -> None:
    path = tmp_path / f"a{suffix}"
    pixels, alpha = write(path)
    decoded, has_alpha = decode(path)
    np.testing.assert_array_equal(decoded, pixels)
    assert has_alpha == alpha

    bands = pixels.shape[-1] - alpha
    image = read_image(path, bands=bands).numpy()
    np.testing.assert_array_equal(image, pixels[..., :bands].transpose(2, 0, 1))


def test_12_bits_fill_the_range(tmp_path: Path) -> None:
    pixels = np.array([0, 2048, 4095], np.uint16).reshape(1, 3, 1)
    geotiffs.write(tmp_path / "a.tif", pixels, nbits=12)
    unit = read_unit(tmp_path / "a.tif", bands=1).flatten().tolist()
    assert unit == pytest.approx([0, 2048 / 4095, 1])
    assert read_image(tmp_path / "a.tif", bands=1).flatten().tolist() == [0, 32776, 65535]


@pytest.mark.parametrize("compress", ["none", "lzw", "deflate", "zstd", "packbits", "webp"])
def test_a_fourth_band_is_no_alpha_and_never_lost(tmp_path: Path, compress: str) -> None:
    options = {"photometric": "rgb", "alpha": "unspecified", "compress": compress}
    geotiffs.write(tmp_path / "a.tif", pixels_of(np.uint8, 4), **options)
    with pytest.raises(ImageError, match=r"a\.tif has 4 bands, expected 3"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("dtype", "photometric", "bands", "reason"),
    [
        (np.uint8, "cielab", 3, "would not be kept"),
        (np.uint16, "separated", 4, "would not be kept"),
        (np.int8, "rgb", 3, "pixels of type int8"),
        (np.uint32, "rgb", 3, "pixels of type uint32"),
        (np.int32, "minisblack", 1, "pixels of type int32"),
        (np.complex64, "minisblack", 1, "pixels of type complex64"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(
    tmp_path: Path, dtype: type, photometric: str, bands: int, reason: str
) -> None:
    pixels: Pixels = pixels_of(np.uint8, bands).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(tmp_path / "a.tif")
    assert "damaged" not in str(caught.value)


def test_cmyk_jpeg_is_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (W, H), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red = torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, H, W)
    torch.testing.assert_close(read_unit(tmp_path / "a.jpg"), red, rtol=0, atol=0.02)


@pytest.mark.parametrize(("byteorder", "dtype"), [("<", "f4"), (">", "f4"), ("<", "f8")])
def test_floats_in_range(tmp_path: Path, byteorder: Literal["<", ">"], dtype: str) -> None:
    image = noise(height=H, width=W)
    data = image.permute(1, 2, 0).numpy().astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, byteorder=byteorder, photometric="rgb")
    torch.testing.assert_close(read_unit(tmp_path / "a.tif"), image, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bad", [1.5, -0.1, float("inf"), -float("inf")])
def test_floats_out_of_range(tmp_path: Path, bad: float) -> None:
    data = noise(height=H, width=W).permute(1, 2, 0).numpy().copy()
    data[3, 4, 1] = bad
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb")
    expected = r"\[0, 1\]" if np.isfinite(bad) else "finite values"
    with pytest.raises(ImageError, match=rf"a\.tif.*expected {expected}"):
        read_unit(tmp_path / "a.tif")
