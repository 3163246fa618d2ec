"""Images that no reader takes, and what scripts say of them."""

import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile

from cloudkit.imaging.images import write_image
from tests.helpers import noise

HOSTILE = [
    "broken link.png",
    "claims to be huge.png",
    "cut off.png",
    "empty.jpg",
    "folder.png",
    "infinite.tif",
    "link to itself.tif",
    "lost folder",
    "thirteen bands.tif",
    "words.png",
]


def write_hostile(folder: Path) -> None:
    """Write an image of each kind in `HOSTILE`, which no reader takes."""
    for name in ("broken link.png", "lost folder"):
        (folder / name).symlink_to(folder / "absent")
    (folder / "link to itself.tif").symlink_to(folder / "link to itself.tif")
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "notes.txt").write_text("no image")
    (folder / "empty.jpg").touch()
    (folder / "words.png").write_text("no image")

    write_image(folder / "cut off.png", noise())
    content = (folder / "cut off.png").read_bytes()
    (folder / "cut off.png").write_bytes(content[: len(content) // 2])
    header = b"IHDR" + struct.pack(">2I5B", 2**30, 2**30, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "claims to be huge.png").write_bytes(content[:8] + chunk + content[33:])

    write_image(folder / "thirteen bands.tif", noise(bands=13))
    pixels = np.full((16, 16, 3), 0.5, np.float32)
    pixels[3, 4] = np.inf
    tifffile.imwrite(folder / "infinite.tif", pixels, photometric="rgb")


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_named(shown: str, names: list[str]) -> None:
    """Assert that the error ends with one sentence for each image, and holds no traceback."""
    assert "Traceback" not in shown
    lines = shown[shown.index("error: ") :].splitlines()[1:]
    assert len(lines) == len(names)
    for line, name in zip(lines, names, strict=True):
        assert name in line
