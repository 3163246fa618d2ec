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

from cloudkit.imaging.images import ImageError, decode, read_image, read_unit
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


def write_lzw(path: Path, pixels: Pixels) -> None:
    """Write a TIFF with LZW, for which tifffile needs another package.

    Codes stay at 9 bits, because the table is cleared every 200 bytes.
    """
    data = pixels.tobytes()
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in (*codes, 257))
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")

    options: dict[str, Any] = {"shape": pixels.shape, "dtype": pixels.dtype}
    options |= {"compression": "zlib", "rowsperstrip": pixels.shape[0]}
    photometric = "rgb" if pixels.ndim == 3 else GRAY
    tifffile.imwrite(path, iter([packed]), photometric=photometric, **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(5)


@pytest.mark.parametrize(
    "pixels",
    [
        pixels_of(np.uint16, 3),
        pixels_of(np.uint16, 4),
        pixels_of(np.uint8, 1)[..., 0].astype(np.float32) / 255,
    ],
    ids=["RGB", "RGBA", "float"],
)
def test_lzw_that_pillow_reads_wrongly(tmp_path: Path, pixels: Pixels) -> None:
    """Pillow keeps 8 of 16 bits and takes floats for bytes. Only imagecodecs is right."""
    write_lzw(tmp_path / "a.tif", pixels)
    try:
        decoded, _ = decode(tmp_path / "a.tif")
    except ImageError as error:
        assert "imagecodecs" in str(error)  # noqa: PT017  # either outcome is right
    else:
        np.testing.assert_array_equal(decoded, pixels.reshape(H, W, -1))


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


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan"), float("inf")])
def test_floats_out_of_range(tmp_path: Path, bad: float) -> None:
    data = noise(height=H, width=W).permute(1, 2, 0).numpy().copy()
    data[3, 4, 1] = bad
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb")
    with pytest.raises(ImageError, match=r"a\.tif.*expected \[0, 1\]"):
        read_unit(tmp_path / "a.tif")
