"""Images that other programs wrote, in all the forms their formats have."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cloudkit.images import (
    ImageError,
    decode,
    read_image,
    read_unit,
)
from tests.helpers import noise, random_pixels

Pixels = np.ndarray
H, W = 9, 14
GRAY = "minisblack"


def first(dtype: type, bands: int) -> Pixels:
    return random_pixels(dtype, H, W, bands)


# Files that others wrote: each case writes one and says which pixels (H, W, bands) to expect, and whether the last band is alpha.


def deep_png(path: Path, bands: int) -> tuple[Pixels, bool]:
    """16 bits a sample: none of the libraries here writes it in colour."""
    pixels = first(np.uint16, bands)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", W, H, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return pixels, bands in (2, 4)


def palette_png(path: Path, *, transparent: bool) -> tuple[Pixels, bool]:
    colours, index = random_pixels(np.uint8, 4, 3), random_pixels(np.uint8, H, W) % 4
    picture = Image.fromarray(index)
    picture.putpalette(colours.flatten().tolist())
    how: dict[str, Any] = {"transparency": 2} if transparent else {}
    picture.save(path, **how)
    alpha = np.where(index == 2, 0, 255).astype(np.uint8)[..., None]
    return np.concatenate((colours[index], alpha), -1) if transparent else colours[index], transparent


def one_bit(path: Path) -> tuple[Pixels, bool]:
    pixels = (random_pixels(np.uint8, H, W) > 127).astype(np.uint8) * 255
    Image.fromarray(pixels).convert("1").save(path)
    return pixels[..., None], False


def by_pillow(path: Path, mode: str, **how: Any) -> tuple[Pixels, bool]:
    pixels = first(np.uint16, 1) if mode == "I;16" else first(np.uint8, len(mode))
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    assert picture.mode == mode
    picture.save(path, **how)
    return pixels, mode.endswith("A")


def by_tifffile(path: Path, dtype: type, bands: int, **how: Any) -> tuple[Pixels, bool]:
    pixels = first(dtype, bands)
    data = pixels.transpose(2, 0, 1) if how.get("planarconfig") == "separate" else pixels
    tifffile.imwrite(path, data if bands > 1 else pixels[..., 0], **how)
    return pixels, False


def lzw(path: Path, pixels: Pixels) -> None:
    """LZW, which tifffile cannot write without another package; codes stay at 9 bits, for the table is cleared in time."""
    data = pixels.tobytes()
    codes = [code for start in range(0, len(data), 200) for code in (256, *data[start : start + 200])] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    packed = iter([int(bits, 2).to_bytes(len(bits) // 8, "big")])
    photometric = "rgb" if pixels.ndim == 3 else GRAY
    how = {"photometric": photometric, "compression": "zlib", "rowsperstrip": pixels.shape[0]}
    tifffile.imwrite(path, packed, shape=pixels.shape, dtype=pixels.dtype, **how)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(5)


def white_is_zero(path: Path) -> tuple[Pixels, bool]:
    pixels = first(np.uint8, 1)
    tifffile.imwrite(path, 255 - pixels[..., 0], photometric="miniswhite")
    return pixels, False


def turned_by_camera(path: Path) -> tuple[Pixels, bool]:
    pixels, exif = first(np.uint8, 3), Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter, clockwise
    Image.fromarray(pixels).save(path, exif=exif)
    return np.rot90(pixels, -1), False


FOREIGN: dict[str, tuple[str, Callable[[Path], tuple[Pixels, bool]]]] = {
    **{f"16-bit PNG, {bands} bands": (".png", lambda path, bands=bands: deep_png(path, bands)) for bands in (1, 2, 3, 4)},  # type: ignore[misc]
    "palette": (".png", lambda path: palette_png(path, transparent=False)),
    "palette with a transparent colour": (".png", lambda path: palette_png(path, transparent=True)),
    "1 bit": (".png", one_bit),
    "1 bit TIFF": (".tif", one_bit),
    "LA": (".png", lambda path: by_pillow(path, "LA")),
    "turned by the camera": (".png", turned_by_camera),
    "LZW, RGB": (".tif", lambda path: by_pillow(path, "RGB", compression="tiff_lzw")),
    "LZW, RGBA": (".tif", lambda path: by_pillow(path, "RGBA", compression="tiff_lzw")),
    "LZW, gray": (".tif", lambda path: by_pillow(path, "L", compression="tiff_lzw")),
    "LZW, 16 bits gray": (".tif", lambda path: by_pillow(path, "I;16", compression="tiff_lzw")),
    "planar RGB": (".tif", lambda path: by_tifffile(path, np.uint8, 3, planarconfig="separate", photometric="rgb")),
    "planar, 13 bands": (".tif", lambda path: by_tifffile(path, np.uint16, 13, planarconfig="separate", photometric=GRAY)),
    "4 bands, none alpha": (".tif", lambda path: by_tifffile(path, np.uint16, 4, planarconfig="contig", photometric=GRAY)),
    "tiled": (".tif", lambda path: by_tifffile(path, np.uint8, 3, tile=(16, 16), photometric="rgb", compression="zlib")),
    "big-endian": (".tif", lambda path: by_tifffile(path, np.uint16, 3, byteorder=">", photometric="rgb")),
    "big-endian, compressed": (
        ".tif",
        lambda path: by_tifffile(path, np.uint16, 1, byteorder=">", photometric=GRAY, compression="zlib"),
    ),
    "white is zero": (".tif", white_is_zero),
}  # fmt: skip


@pytest.mark.parametrize(("suffix", "write"), FOREIGN.values(), ids=FOREIGN.keys())
def test_files_of_others(tmp_path: Path, suffix: str, write: Callable[[Path], tuple[Pixels, bool]]) -> None:
    path = tmp_path / f"a{suffix}"
    pixels, alpha = write(path)
    found, has_alpha = decode(path)
    np.testing.assert_array_equal(found, pixels)
    assert has_alpha == alpha
    bands = pixels.shape[-1] - alpha
    np.testing.assert_array_equal(read_image(path, bands=bands).numpy(), pixels[..., :bands].transpose(2, 0, 1))


@pytest.mark.parametrize(
    "pixels",
    [first(np.uint16, 3), first(np.uint16, 4), first(np.uint8, 3)[..., 0].astype(np.float32) / 255],
    ids=["RGB", "RGBA", "float"],
)
def test_lzw_that_pillow_reads_wrongly(tmp_path: Path, pixels: Pixels) -> None:
    """Pillow keeps 8 of 16 bits and takes floats for bytes; only imagecodecs reads these, and it may not be there."""
    lzw(tmp_path / "a.tif", pixels)
    try:
        found, _ = decode(tmp_path / "a.tif")
    except ImageError as error:
        assert "imagecodecs" in str(error)  # noqa: PT017  # either outcome is right
    else:
        np.testing.assert_array_equal(found, pixels.reshape(H, W, -1))


def test_cmyk_jpeg_is_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (W, H), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red = read_unit(tmp_path / "a.jpg")
    torch.testing.assert_close(red, torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, H, W), rtol=0, atol=0.02)


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
