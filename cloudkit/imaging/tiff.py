"""Directories of TIFF files, read before a decoder sees them.

GDAL believes the sizes in a header, and passes over further pages and the orientation. So these few
tags are read here, and the claimed sizes are compared with the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.limits import check_claim

KIND, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, EXTRA_SAMPLES = 274, 277, 284, 338
EXIF, GPS, NODATA = 34665, 34853, 42113
_STRIP_OFFSETS, _STRIP_ROWS = 273, 278
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 322, 323, 324
_WANTED = {KIND, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR}
_WANTED |= {EXTRA_SAMPLES, EXIF, GPS, NODATA, _STRIP_OFFSETS, _STRIP_ROWS}
_WANTED |= {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS}

_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    13: "u4",
    16: "u8",
    18: "u8",
}  # that hold whole numbers or text
_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST_ENTRIES, _MOST_PAGES = 4096, 1000
_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType
_SUBSAMPLED = 6  # PhotometricInterpretation of YCbCr


@dataclass(frozen=True)
class Page:
    """One image of a TIFF file: the tags that are wanted here."""

    tags: dict[int, np.ndarray]
    """Values of the wanted tags by their code."""

    def first(self, code: int, default: int) -> int:
        """Return the first value of a tag."""
        values = self.tags.get(code)
        return default if values is None or not len(values) else int(values[0])

    @property
    def nodata(self) -> float | None:
        """The value that means no data, even one that the pixels cannot hold."""
        text = self.tags.get(NODATA, np.array([], np.uint8)).tobytes()
        try:
            return float(text.strip(b"\0 "))
        except ValueError:
            return None

    @property
    def is_overview(self) -> bool:
        """Flag for a smaller copy of another page."""
        return bool(self.first(KIND, 0) & _REDUCED)

    @property
    def is_mask(self) -> bool:
        """Flag for the mask of another page."""
        return bool(self.first(KIND, 0) & _MASK)


def read_pages(path: Path) -> list[Page]:
    """Read the directories of a TIFF or BigTIFF.

    Raises:
        ImageError: a directory is damaged, or claims more pixels than the file can hold.
    """
    with path.open("rb") as file:
        pages = list(Directories(file, path.stat().st_size).pages())
    if not pages:
        raise ValueError("the TIFF has no image")
    for page in pages:
        _check_size(path, page)

    others = [page for page in pages[1:] if not (page.is_overview or page.is_mask)]
    if others:
        raise ImageError(
            f"{path} holds {len(others) + 1} images, expected one. Write each into a file of its "
            "own, or all as bands of one image."
        )
    return pages


def overviews(pages: list[Page]) -> tuple[int, ...]:
    """Return the factors by which the overviews are smaller than the image."""
    factors: set[int] = set()
    for page in pages[1:]:
        if page.is_overview and not page.is_mask:
            factors.add(round(pages[0].first(WIDTH, 1) / max(1, page.first(WIDTH, 1))))
    return tuple(sorted(factors - {1}))


class Directories:
    """The directories of an open TIFF or BigTIFF, with bounds on all that is read.

    Args:
        file: the file.
        size: its size in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        head = file.read(16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.is_big = head[2:4] in (b"+\0", b"\0+")
        self.head = head if self.is_big else head[:8]
        self.pointer = np.dtype(f"{self.order}u8" if self.is_big else f"{self.order}u4")
        self._count = np.dtype(f"{self.order}u8" if self.is_big else f"{self.order}u2")
        fields = [("code", f"{self.order}u2"), ("type", f"{self.order}u2")]
        self._entry = np.dtype([*fields, ("count", self.pointer), ("value", self.pointer)])

    @property
    def first(self) -> int:
        """Place of the first directory."""
        return int(np.frombuffer(self.head[-self.pointer.itemsize :], self.pointer)[0])

    def pages(self) -> Iterator[Page]:
        """Read the chain of directories."""
        place, seen = self.first, set[int]()
        while place:
            if place in seen or len(seen) >= _MOST_PAGES:
                raise ValueError("the directories of the TIFF form a loop")
            seen.add(place)
            entries, after = self.entries(place)
            yield Page(self._tags(entries, after))
            place = int(self._read(after, self.pointer, 1)[0])

    def entries(self, place: int) -> tuple[np.ndarray, int]:
        """Read the entries of a directory, and the place behind them."""
        count = int(self._read(place, self._count, 1)[0])
        if not 0 < count <= _MOST_ENTRIES:
            raise ValueError(f"a directory of the TIFF has {count} entries")
        start = place + self._count.itemsize
        entries = self._read(start, self._entry, count)

        # Values may lie in one place, so that few bytes would be read thousands of times.
        widths = np.array([_BYTES.get(int(kind), 1) for kind in entries["type"]], np.float64)
        if (widths * entries["count"]).sum() > self._size:
            raise ValueError("the values of a directory of the TIFF are larger than the file")
        return entries, start + entries.nbytes

    def _tags(self, entries: np.ndarray, after: int) -> dict[int, np.ndarray]:
        tags: dict[int, np.ndarray] = {}
        for index, entry in enumerate(entries):
            code, kind = int(entry["code"]), _TYPES.get(int(entry["type"]))
            if code not in _WANTED or kind is None:
                continue
            dtype, count = np.dtype(f"{self.order}{kind}"), int(entry["count"])
            place = after - (len(entries) - index - 1) * self._entry.itemsize
            place -= self.pointer.itemsize
            if count * dtype.itemsize > self.pointer.itemsize:
                place = int(entry["value"])
            tags[code] = self._read(place, dtype, count)
        return tags

    def _read(self, place: int, dtype: np.dtype, count: int) -> np.ndarray:
        length = count * dtype.itemsize
        if place + length > self._size:
            raise ValueError(f"the TIFF ends at byte {self._size}, before its directory does")
        self._file.seek(place)
        return np.frombuffer(self._file.read(length), dtype)


def _check_size(path: Path, page: Page) -> None:
    height, width = page.first(HEIGHT, 0), page.first(WIDTH, 0)
    if not (height and width):
        raise ImageError(f"{path} is empty: it claims {width} x {height} pixels.")

    samples, bits = page.first(SAMPLES, 1), page.first(BITS, 1)
    planes = samples if page.first(PLANAR, 1) == 2 else 1
    tiled = _TILE_WIDTH in page.tags
    wide = max(1, page.first(_TILE_WIDTH, width))
    high = page.first(_TILE_HEIGHT, 1) if tiled else min(page.first(_STRIP_ROWS, height), height)
    high = max(1, high)
    across, down = -(-width // wide), -(-height // high)

    row = -(-wide * bits * (samples // planes) // 8)
    blocks = across * down * planes
    offsets = page.tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS)
    plain = page.first(COMPRESSION, 1) == 1 and page.first(PHOTOMETRIC, 1) != _SUBSAMPLED
    if plain and offsets is not None:
        # Blocks at 0 are left out of a sparse file. Of strips, the last may be lower.
        stored = int(np.count_nonzero(offsets[:blocks]))
        missing = 0 if tiled else (down * high - height) * row * planes
        needed = max(0, stored * row * high - missing)
        if needed > path.stat().st_size or len(offsets) < blocks:
            raise ImageError(
                f"{path} claims {width} x {height} pixels, {blocks * row * high:,} bytes without "
                f"compression, but has {path.stat().st_size:,} bytes. It is damaged: get a new "
                "copy."
            )
    check_claim(path, height, width, blocks * row * high)
