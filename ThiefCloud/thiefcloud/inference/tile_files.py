"""Tiles of a scene in files, each complete or absent."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cloudkit.files import write_atomically
from thiefcloud.inference.tiles import Window


class TileFiles:
    """Array (H, W, bands) of a scene, a file a tile.

    Args:
        folder: folder of the files.
        name: beginning of their names.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._parts: list[tuple[Window, np.ndarray]] = []

    def add(self, window: Window, part: np.ndarray) -> None:
        """Keep a part (h, w, bands) of the next tile in memory."""
        self._parts.append((window, part))

    def finish(self, tile: Window) -> None:
        """Write a tile all of whose parts were added.

        Raises:
            OSError: the disk is full.
        """
        first = self._parts[0][1]
        array = np.empty((tile.height, tile.width, first.shape[2]), first.dtype)
        for window, part in self._parts:
            _part_of(array, tile, window)[:] = part
        self._parts = []
        write_atomically(self._path(tile), partial(np.save, arr=array, allow_pickle=False))

    def has(self, tile: Window) -> bool:
        """Return True for a tile that is written, unless its file is damaged."""
        try:
            stored = np.load(self._path(tile), mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        return stored.ndim == 3 and stored.shape[:2] == (tile.height, tile.width)

    def read(self, window: Window, tiles: Sequence[Window]) -> np.ndarray:
        """Read a window (h, w, bands) from the tiles of the scene."""
        array: np.ndarray | None = None
        for tile in tiles:
            common = window.common(tile)
            if not common.height or not common.width:
                continue
            stored = np.load(self._path(tile), mmap_mode="r")
            if array is None:
                shape = (window.height, window.width, stored.shape[2])
                array = np.empty(shape, stored.dtype)
            _part_of(array, window, common)[:] = _part_of(stored, tile, common)
        assert array is not None
        return array

    def limits(self, tiles: Sequence[Window]) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        low, high = np.inf, -np.inf
        for tile in tiles:
            stored = np.load(self._path(tile), mmap_mode="r")
            low, high = min(low, stored.min()), max(high, stored.max())
        return float(low), float(high)

    def _path(self, tile: Window) -> Path:
        numbers = "_".join(map(str, tile))
        return self.folder / f"{self.name}_{numbers}.npy"


def _part_of(array: np.ndarray, whole: Window, window: Window) -> np.ndarray:
    """Return the part (h, w, bands) that a window shows of the array of another."""
    top, left = window.top - whole.top, window.left - whole.left
    return array[top : top + window.height, left : left + window.width]
