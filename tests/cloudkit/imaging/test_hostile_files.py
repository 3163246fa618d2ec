"""Files that crash, fill the memory or lead a decoder elsewhere are named, and nothing else."""

import resource
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import read_unit
from cloudkit.imaging.limits import ALWAYS_ALLOWED
from cloudkit.imaging.raster import read_raster
from tests.cloudkit.imaging import geotiffs
from tests.helpers import random_pixels

VRT = """<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""
FOREIGN = {
    "VRT": VRT,
    "WMS": '<GDAL_WMS><Service name="TMS"><ServerUrl>http://localhost/</ServerUrl></Service></GDAL_WMS>',
    "PostScript": "%!PS-Adobe-3.0 EPSF-3.0",
    "PDF": "%PDF-1.4",
    "JSON": '{{"type": "Feature"}}',
    "a path": "{}",
    "Git LFS": "version https://git-lfs.github.com/spec/v1",
}


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_files_that_lead_elsewhere_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    other = tmp_path / "other.tif"
    geotiffs.write(other, random_pixels(np.uint8, 20, 30, 1))
    (tmp_path / name).write_text(FOREIGN[kind].format(other))
    with pytest.raises(ImageError, match=rf"{name} cannot be read as an image: it begins with"):
        read_raster(tmp_path / name)


@pytest.mark.parametrize("suffix", [".aux.xml", ".ovr", ".msk"])
def test_files_beside_an_image_are_not_opened(tmp_path: Path, suffix: str) -> None:
    pixels = geotiffs.write(tmp_path / "a.tif", random_pixels(np.uint8, 20, 30, 3))
    geotiffs.write(tmp_path / "other.tif", np.zeros((20, 30, 1), np.uint8))
    (tmp_path / f"a.tif{suffix}").write_text(VRT.format(tmp_path / "other.tif"))
    raster = read_raster(tmp_path / "a.tif")
    np.testing.assert_array_equal(raster.pixels, pixels)
    assert raster.has_data.all()
    assert raster.properties.overviews == ()


def png(path: Path, width: int, height: int, bits: int, colour: int, data: bytes) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)


def claim(path: Path, width: int, height: int, *, strip: bool = True, **options: Any) -> None:
    """Write a TIFF of 20 x 30 pixels whose header claims another size."""
    tifffile.imwrite(path, random_pixels(np.uint8, 20, 30, 3), photometric="rgb", **options)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for code, value in ((256, width), (257, height), (278, height if strip else 1)):
            tag = file.pages.first.tags.get(code)
            if tag is not None:
                content[tag.offset + 2 : tag.offset + 4] = struct.pack("<H", 4)
                content[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<I", value)
    path.write_bytes(content)


SIZES = [(40_000, 40_000), (100_000, 100_000), (2**32 - 1, 2**32 - 1), (2**31, 7), (3, 2**31)]
STORED: dict[str, dict[str, Any]] = {
    "plain": {},
    "deflate": {"compression": "zlib"},
    "tiles": {"tile": (16, 16), "compression": "zlib"},
    "plain tiles": {"tile": (16, 16)},
    "lines": {"strip": False},
    "planar": {"planarconfig": "contig", "compression": "zlib", "predictor": True},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", STORED)
def test_sizes_that_a_file_cannot_hold(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    claim(tmp_path / "a.tif", *size, **STORED[kind])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ImageError, match=r"a\.tif claims \d+ x \d+ pixels"):
        read_raster(tmp_path / "a.tif")
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize(("bits", "colour"), [(8, 2), (8, 6), (8, 0), (16, 2), (16, 0), (16, 6)])
def test_sizes_that_a_png_cannot_hold(tmp_path: Path, bits: int, colour: int) -> None:
    png(tmp_path / "a.png", 100_000, 100_000, bits, colour, b"\0" * 5000)
    with pytest.raises(ImageError, match=r"a\.png claims 100000 x 100000 pixels"):
        read_raster(tmp_path / "a.png")


def test_the_message_says_how_to_go_on(tmp_path: Path) -> None:
    claim(tmp_path / "a.tif", 50_000, 50_000, compression="zlib")
    with pytest.raises(ImageError, match="cut it into parts or write it without compression"):
        read_raster(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "options", [{"compress": "zstd"}, {"compress": "lzw"}, {"sparse_ok": True}]
)
def test_constant_and_sparse_images_are_sound(tmp_path: Path, options: dict[str, Any]) -> None:
    """A file may be thousands of times smaller than its pixels, up to a limit."""
    side = 4096
    shape = {"width": side, "height": side, "count": 1, "dtype": "uint8", "tiled": True}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **shape, **options):
        pass
    assert side**2 < ALWAYS_ALLOWED
    assert side**2 > 1000 * (tmp_path / "a.tif").stat().st_size or "compress" in options
    assert not read_raster(tmp_path / "a.tif").pixels.any()


def test_pictures_above_the_limit_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    pixels = random_pixels(np.uint8, 40, 50, 3)
    for name in ("a.png", "a.bmp", "a.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
        assert read_raster(tmp_path / name).pixels.shape == pixels.shape


def test_several_images_in_one_tiff(tmp_path: Path) -> None:
    pages = random_pixels(np.uint8, 3, 20, 30, 3)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb")
    with pytest.raises(ImageError, match=r"a\.tif holds 3 images, expected one"):
        read_raster(tmp_path / "a.tif")


def test_directories_in_a_loop(tmp_path: Path) -> None:
    pixels = random_pixels(np.uint8, 20, 30, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (start,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[start : start + 2])
    content[start + 2 + 12 * count : start + 6 + 12 * count] = content[4:8]
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageError, match="loop"):
        read_raster(tmp_path / "a.tif")


def test_a_hint_at_the_option_for_a_small_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint16", 3, 0, 4000))
    for _ in range(2):
        read_unit(tmp_path / "a.tif")
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "--peak" in shown
    read_unit(tmp_path / "a.tif", peak=10000)
    (tmp_path / "full").mkdir()
    geotiffs.write(tmp_path / "full" / "a.tif", geotiffs.ramp("uint16", 3, 0, 65535))
    read_unit(tmp_path / "full" / "a.tif")
    assert capsys.readouterr().err == ""


def test_an_empty_file_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(ImageError, match=r"a\.tif is empty, expected an image"):
        read_raster(tmp_path / "a.tif")
