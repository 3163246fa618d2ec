"""EXIF data, colour profiles and texts of photos come out again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cloudkit.imaging.pictures import read_picture, write_picture
from tests.cloudkit.imaging import geotiffs
from tests.helpers import random_pixels


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model 7"
    exif[0x8769] = {0x829A: 0.004, 0x9003: "2020:01:02 03:04:05", 0x8827: 200}
    exif[0x8825] = {1: "N", 2: (45.0, 30.0, 15.5)}
    return exif


def exif_of(path: Path) -> dict[Any, Any]:
    with Image.open(path) as image:
        exif = image.getexif()
        found = {tag: exif.get(tag) for tag in (0x010F, 0x0110, 0x0112)}
        for part in (0x8769, 0x8825):
            found |= {(part, tag): value for tag, value in exif.get_ifd(part).items()}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize("orientation", [None, 1, 6])
@pytest.mark.parametrize("kind", ["a.jpg", "a.png", "deep.png", "a.tif", "big.tif"])
def test_exif_is_kept(tmp_path: Path, kind: str, orientation: int | None) -> None:
    made, exif = camera_exif(), Image.Exif()
    if orientation is not None:
        made[0x0112] = orientation
    exif.load(made.tobytes())  # Pillow writes into TIFF what it has read
    source = tmp_path / kind
    pixels = random_pixels(np.uint8, 10, 14, 3)
    if kind == "deep.png":
        Image.fromarray(pixels).save(tmp_path / "exif.png", exif=exif)
        write_deep_png_with_chunks_of(tmp_path / "exif.png", source)
        (tmp_path / "exif.png").unlink()
    else:
        Image.fromarray(pixels).save(source, exif=exif, big_tiff=kind == "big.tif")

    picture = read_picture(source)
    assert picture.image.shape[1:] == ((14, 10) if orientation == 6 else (10, 14))
    written = write_picture(tmp_path / "out" / source.name, picture, picture.image)
    before, after = exif_of(source), exif_of(written)
    assert before.pop(0x0112, 1) == (orientation or 1)
    assert after.pop(0x0112, 1) == 1
    assert before == after
    assert len(after) == 7
    assert read_picture(written).image.shape == picture.image.shape


def write_deep_png_with_chunks_of(shallow: Path, path: Path) -> None:
    deep = geotiffs.ramp("uint16", 3, 0, 65535)[:10, :14]
    geotiffs.write(path, deep, driver="PNG")
    chunks = shallow.read_bytes()[33:]
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunks[: chunks.index(b"IDAT") - 4] + content[33:])


@pytest.mark.parametrize("kind", ["8 bits", "16 bits"])
def test_what_a_png_carries(tmp_path: Path, kind: str) -> None:
    texts = PngInfo()
    texts.add_text("Author", "somebody")
    texts.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    options: dict[str, Any] = {"pnginfo": texts, "dpi": (300, 300), "icc_profile": b"profile"}
    picture = Image.fromarray(random_pixels(np.uint8, 10, 14, 3))
    picture.save(tmp_path / "a.png", **options)
    if kind == "16 bits":
        write_deep_png_with_chunks_of(tmp_path / "a.png", tmp_path / "b.png")
        (tmp_path / "b.png").replace(tmp_path / "a.png")

    read = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "c.png", read, read.image)
    with Image.open(tmp_path / "c.png") as image:
        assert image.info["icc_profile"] == b"profile"
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.info["Author"] == "somebody"
        assert image.info["XML:com.adobe.xmp"] == "<x:xmpmeta/>"
    np.testing.assert_array_equal(
        geotiffs.stored(tmp_path / "c.png"), geotiffs.stored(tmp_path / "a.png")
    )
    assert geotiffs.stored(tmp_path / "c.png").dtype == ("uint8" if kind == "8 bits" else "uint16")
