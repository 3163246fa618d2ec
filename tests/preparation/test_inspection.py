from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cloudkit.imaging.images import write_image
from preparation.inspection import inspect, inspect_all
from tests.helpers import noise


@pytest.mark.parametrize(
    ("name", "bands", "bits", "mode", "kind"),
    [
        ("a.png", 3, 8, "8 bits x 3", "PNG"),
        ("a.png", 1, 8, "8 bits x 1", "PNG"),
        ("a.png", 4, 8, "8 bits x 4", "PNG"),
        ("a.png", 1, 16, "16 bits x 1", "PNG"),
        ("a.JPG", 3, 8, "8 bits x 3", "JPEG"),
        ("a.tif", 3, 16, "16 bits x 3", "TIFF"),
        ("a.tiff", 13, 16, "16 bits x 13", "TIFF"),
        ("a.bmp", 3, 8, "8 bits x 3", "BMP"),
    ],
)
def test_a_sound_image(
    tmp_path: Path, name: str, bands: int, bits: int, mode: str, kind: str
) -> None:
    path = tmp_path / name
    write_image(path, noise(bands=bands, height=12, width=20), bits=bits)
    found = inspect(path)
    assert found.path == path
    assert found.traits == {"pixels": "20 x 12", "mode": mode, "format": kind}
    assert (found.damage, found.misnamed) == ("", False)
    assert found.byte_count == path.stat().st_size


def test_floating_pixels_are_told_from_integers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.float32))
    assert inspect(tmp_path / "a.tif").traits["mode"] == "32 bits floating x 1"


def test_the_sum_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a" * 1_000_000)  # a test vector of FIPS 180
    assert (
        inspect(tmp_path / "a.png").checksum
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    )


def cut_by(count: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:-count]


def flipped_at(part: float) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        place = int(part * len(content))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    return damage


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("a.png", cut_by(1), "has lost its end (the PNG chunk IEND is missing)"),
        ("a.png", cut_by(12), "has lost its end"),
        ("a.png", cut_by(300), "is broken (image file is truncated"),
        ("a.png", flipped_at(0.5), ""),
        ("a.png", lambda content: content.replace(b"IDAT", b"IDAT\0", 1), ""),
        ("a.jpg", cut_by(2), "is broken (image file is truncated"),
        ("a.jpg", cut_by(300), "is broken (image file is truncated"),
        ("a.tif", cut_by(300), "is broken"),
        ("a.bmp", cut_by(300), "is broken"),
        ("a.png", lambda content: b"", "is empty: 0 bytes"),
        ("a.tif", lambda content: b"", "is empty: 0 bytes"),
        (
            "a.png",
            lambda content: b"404: Not Found",
            "is no image (it begins with b'404: Not Fou')",
        ),
        ("a.jpg", lambda content: b"<!DOCTYPE html>", "is no image"),
        ("a.tif", lambda content: bytes(1000), "is no image"),
        ("a.png", lambda content: content[:8], "is broken"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / name
    write_image(path, noise(height=24, width=24))
    path.write_bytes(damage(path.read_bytes()))
    found = inspect(path)
    assert found.damage
    assert found.damage.startswith(reason)
    assert "\n" not in found.damage
    assert found.traits == {}
    assert len(found.checksum) == 64


def test_a_wrong_checksum_that_the_decoder_passes_over(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, torch.zeros(3, 24, 24))
    content = bytearray(path.read_bytes())
    content[content.index(b"IEND") - 5] ^= 1  # the last byte of the checksum of the pixels
    path.write_bytes(content)
    with Image.open(path) as picture:
        picture.load()
    assert inspect(path).damage.startswith("has a wrong checksum (")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    found = inspect(tmp_path / "a.png")
    assert found.damage.startswith("cannot be read (")
    assert found.checksum == ""


@pytest.mark.parametrize(("real", "kind"), [("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.gif", "GIF")])
def test_a_name_that_says_another_format(tmp_path: Path, real: str, kind: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / real)
    (tmp_path / real).rename(tmp_path / "b.png")
    found = inspect(tmp_path / "b.png")
    assert (found.damage, found.traits["format"], found.misnamed) == ("", kind, True)


def test_the_order_is_that_given(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(30)]
    for index, path in enumerate(paths):
        write_image(path, noise(index, height=8, width=8 + index))
    assert [image.path for image in inspect_all(paths)] == paths
    sizes = [image.traits["pixels"] for image in inspect_all(paths[::-1])]
    assert sizes == [f"{8 + index} x 8" for index in reversed(range(30))]
