import os
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
    find_images,
    natural_key,
    read_image,
    read_unit,
    to_unit,
    write_atomically,
    write_image,
)
from tests.helpers import noise, random_pixels, touch

Pixels = np.ndarray
H, W = 9, 14
GRAY = "minisblack"


def first(dtype: type, bands: int) -> Pixels:
    return random_pixels(dtype, H, W, bands)


def unit(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy((pixels / np.iinfo(pixels.dtype).max).astype(np.float32).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "bits", "bands"),
    [
        *(("a.png", 8, bands) for bands in (1, 2, 3, 4)),
        ("a.png", 16, 1),
        ("a.bmp", 8, 3),
        *(("a.tif", bits, bands) for bits in (8, 16) for bands in (1, 2, 3, 4, 13)),
        ("a.TIFF", 16, 3),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, name: str, bits: int, bands: int) -> None:
    pixels = first({8: np.uint8, 16: np.uint16}[bits], bands)
    write_image(tmp_path / name, unit(pixels), bits=bits)
    found, has_alpha = decode(tmp_path / name)
    assert found.dtype == pixels.dtype
    assert has_alpha == (bands in (2, 4))
    np.testing.assert_array_equal(found, pixels)
    colours = bands - has_alpha
    stored = read_image(tmp_path / name, bands=colours)
    np.testing.assert_array_equal(stored.numpy(), pixels[..., :colours].transpose(2, 0, 1))
    torch.testing.assert_close(read_unit(tmp_path / name, bands=colours), unit(pixels)[:colours], rtol=0, atol=1e-7)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("bands", [1, 3])
def test_jpeg_is_close(tmp_path: Path, bands: int) -> None:
    ramp = torch.linspace(0.1, 0.9, 64).expand(bands, 48, 64)
    write_image(tmp_path / "a.jpg", ramp)
    torch.testing.assert_close(read_unit(tmp_path / "a.jpg", bands=bands), ramp, rtol=0, atol=2.5 / 255)


def test_values_outside_0_to_1_are_clamped_and_rounded(tmp_path: Path) -> None:
    image = torch.tensor([-0.5, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 7.0]).view(1, 1, -1)
    write_image(tmp_path / "a.png", image)
    assert read_image(tmp_path / "a.png", bands=1).flatten().tolist() == [0, 0, 0, 1, 255, 255]


def test_gray_serves_any_number_of_bands(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", noise(bands=1))
    gray = read_image(tmp_path / "a.png", bands=1)
    assert torch.equal(read_image(tmp_path / "a.png"), gray.expand(3, -1, -1))


@pytest.mark.parametrize(("name", "bits", "bands"), [("a.png", 16, 3), ("a.png", 8, 5), ("a.jpg", 16, 3)])
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, name: str, bits: int, bands: int) -> None:
    with pytest.raises(ValueError, match=r"need TIFF"):
        write_image(tmp_path / name, noise(bands=bands), bits=bits)
    assert not list(tmp_path.iterdir())


def test_only_images_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(bands, H, W\).*\(1, 3, 16, 16\)"):
        write_image(tmp_path / "a.png", noise()[None])


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


def test_peak_says_what_is_white() -> None:
    stored = torch.tensor([0, 5000, 10000, 20000], dtype=torch.int32).to(torch.uint16)
    assert to_unit(stored, peak=10000).tolist() == [0, 0.5, 1, 1]
    assert to_unit(torch.tensor([0.0, 50.0, 200.0]), peak=100).tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match="not a number"):
        to_unit(torch.tensor([0.0, float("nan")]), peak=100)


def png_bytes(path: Path, keep: float) -> None:
    write_image(path, noise(height=64, width=64))
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def uncompressed_tiff(path: Path, keep: float) -> None:
    tifffile.imwrite(path, random_pixels(np.uint8, 64, 64, 3), photometric="rgb")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.9])
def test_damaged_files_are_named(tmp_path: Path, name: str, keep: float) -> None:
    png_bytes(tmp_path / name, keep)
    with pytest.raises(ImageError, match=rf"{name} cannot be read .*damaged"):
        read_image(tmp_path / name)


def test_damaged_uncompressed_tiff_is_named(tmp_path: Path) -> None:
    uncompressed_tiff(tmp_path / "a.tif", 0.5)
    with pytest.raises(ImageError, match=r"a\.tif cannot be read"):
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


def test_other_pixel_types_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((H, W), np.int32))
    with pytest.raises(ImageError, match=r"a\.tif has pixels of type int32"):
        read_image(tmp_path / "a.tif")


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "a.png", tmp_path):
        with pytest.raises(FileNotFoundError, match=str(path)):
            read_image(path)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_image(path, noise())
    before = path.read_bytes()

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, half)
    with pytest.raises(OSError, match="RGBA"):
        write_image(path, noise(bands=4))
    assert [file.name for file in tmp_path.iterdir()] == ["a.jpg"]
    assert path.read_bytes() == before


def test_written_files_are_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_image(tmp_path / "deep" / "down" / "a.png", noise())
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "down" / "a.png").stat().st_mode & 0o777 == 0o640


def test_natural_order() -> None:
    names = ["10", "9b", "a10", "a9", "9", "a", "", "a9z2", "a9z10"]
    assert sorted(names, key=natural_key) == ["", "9", "9b", "10", "a", "a9", "a9z2", "a9z10", "a10"]


def test_images_are_found_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, ["10.png", "9.JPG", "notes.txt", ".hidden.png", "b.tiff"])
    touch(tmp_path / "sub", ["1.bmp"])
    touch(tmp_path / ".cache", ["2.png"])
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == ["9.JPG", "10.png", "b.tiff", "sub/1.bmp"]
    assert [path.name for path in find_images(tmp_path, recursive=False)] == ["9.JPG", "10.png", "b.tiff"]


def test_images_are_found_below_a_hidden_folder(tmp_path: Path) -> None:
    touch(tmp_path / ".data", ["1.png"])
    assert len(find_images(tmp_path / ".data")) == 1


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["notes.txt"])
    for folder, what in ((tmp_path, "holds no image"), (tmp_path / "x", "does not exist"), (tmp_path / "notes.txt", "is a file")):
        with pytest.raises(FileNotFoundError, match=what):
            find_images(folder)


@pytest.mark.skipif("THIEFCLOUD_DATA" not in os.environ, reason="THIEFCLOUD_DATA names no folder of real images")
@pytest.mark.parametrize(
    ("folder", "bands"), [("thin_cloud_tiff_384", 3), ("sentinel2_13band_geotiff", 13), ("SateHaze1k_thin_512_jpeg", 3)]
)
def test_real_files_are_read(folder: str, bands: int) -> None:
    for path in find_images(Path(os.environ["THIEFCLOUD_DATA"]) / folder):
        image = read_unit(path, bands=bands)
        assert min(image.shape[1:]) >= 256
        assert image.std() > 0.001


def test_a_gray_map_saved_as_colour_has_one_band(tmp_path: Path) -> None:
    gray = noise(bands=1)
    write_image(tmp_path / "gray.png", gray.expand(3, -1, -1))
    torch.testing.assert_close(read_unit(tmp_path / "gray.png", bands=1), gray, rtol=0, atol=0.51 / 255)
    write_image(tmp_path / "colour.png", noise(bands=3))
    with pytest.raises(ImageError, match="has 3 bands, expected 1"):
        read_unit(tmp_path / "colour.png", bands=1)
