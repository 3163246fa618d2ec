from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import write_image
from cloudkit.imaging.sizes import read_size
from tests.cloudkit.imaging import geotiffs
from tests.helpers import noise


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "deep.png"])
def test_the_size_of_each_format(tmp_path: Path, name: str) -> None:
    bits = 16 if name == "deep.png" else 8
    write_image(tmp_path / name, noise(height=20, width=30), bits=bits)
    assert read_size(tmp_path / name) == (20, 30)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "deep.png"])
def test_pixels_are_not_unpacked(tmp_path: Path, name: str) -> None:
    """A file whose pixels are cut off still tells its size."""
    path = tmp_path / name
    write_image(path, noise(height=200, width=300), bits=16 if name == "deep.png" else 8)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert read_size(path) == (200, 300)


def test_a_size_beyond_the_limit_of_pillow(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    assert read_size(tmp_path / "a.png") == (20_000, 20_000)


def test_more_bands_than_a_network_takes(tmp_path: Path) -> None:
    geotiffs.write(tmp_path / "a.tif", np.zeros((20, 30, 13), np.uint16))
    assert read_size(tmp_path / "a.tif") == (20, 30)


@pytest.mark.parametrize("content", [b"", b"<html>", b"II*\0" + bytes(99), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    message = "cannot be read as an image" if content else "is empty, expected an image"
    with pytest.raises(ImageError, match=rf"a\.tif {message}"):
        read_size(tmp_path / "a.tif")
