"""EXIF data of TIFF files, which GDAL does not carry."""

import struct
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from cloudkit.imaging.tiff import EXIF, GPS, Directories, Page

_MAKER, _MODEL = 271, 272  # tags of the camera in the main directory, which GDAL drops
_PARTS = (EXIF, GPS)


def is_in(page: Page) -> bool:
    """Return True if a TIFF has EXIF data or a position of its camera."""
    return any(part in page.tags for part in _PARTS)


def read_exif(path: Path) -> bytes:
    """Read the EXIF data of a TIFF, as a block of its own."""
    kept = Image.Exif()
    with path.open("rb") as file:
        directories = Directories(file, path.stat().st_size)
        main = _load(directories, file, directories.first)
        for tag in (_MAKER, _MODEL):
            if tag in main:
                kept[tag] = main[tag]
        for part in _PARTS:
            if part in main:
                kept[part] = dict(_load(directories, file, int(main[part]), group=part))
    return kept.tobytes()


def add_exif(path: Path, exif: bytes) -> None:
    """Add EXIF data to a TIFF: write its main directory anew at the end of the file."""
    block = Image.Exif()
    block.load(exif)
    with path.open("rb+") as file:
        directories = Directories(file, path.stat().st_size)
        added = ImageFileDirectory_v2(directories.head)
        for tag in (_MAKER, _MODEL):
            if tag in block:
                added[tag] = block[tag]
        for part in _PARTS:
            if block.get_ifd(part):
                added[part] = block.get_ifd(part)

        # Pointers are counted from the start of the file, so the new entries can be moved.
        place = file.seek(0, 2)
        file.write(added.tobytes(place))
        size = file.seek(0, 2)
        directories = Directories(_rewound(file), size)
        new, _ = directories.entries(place)
        old, after = directories.entries(directories.first)
        file.seek(after)
        following = file.read(directories.pointer.itemsize)

        rows = sorted([*old, *new], key=lambda entry: int(entry["code"]))
        count = struct.pack("<Q" if directories.is_big else "<H", len(rows))
        start = file.seek(size + size % 2)
        file.write(count + b"".join(row.tobytes() for row in rows) + following)
        file.seek(8 if directories.is_big else 4)
        file.write(struct.pack("<Q" if directories.is_big else "<I", start))


def _rewound(file: Any) -> Any:
    file.seek(0)
    return file


def _load(
    directories: Directories, file: Any, place: int, group: int | None = None
) -> ImageFileDirectory_v2:
    directories.entries(place)  # checks the bounds
    directory = ImageFileDirectory_v2(directories.head, group=group)
    file.seek(place)
    directory.load(file)
    return directory
