"""Windows of a scene, and what they are read from and written to."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.padding import MARGIN, check_unit_images, lines_with_margin
from scpm import FACTOR
from thiefcloud.inference.gaps import REACH, without_gaps
from thiefcloud.inference.impulses import without_impulses


class Window(NamedTuple):
    """Rectangle of a scene in pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def between(cls, top: int, left: int, bottom: int, right: int) -> Self:
        """Return the window between its edges; it is empty if they lie the wrong way round."""
        return cls(top, left, max(bottom - top, 0), max(right - left, 0))

    @property
    def bottom(self) -> int:
        """The first row behind it."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.left + self.width

    def of(self, pixels: Any, scale: int = 1, origin: tuple[int, int] = (0, 0)) -> Any:
        """Return the part of an array (..., h, w) that the window shows.

        Args:
            pixels: the array.
            scale: side of a pixel of the array; it must divide the edges of the window.
            origin: row and column of the first pixel of the array.
        """
        top, left = (self.top - origin[0]) // scale, (self.left - origin[1]) // scale
        return pixels[..., top : top + self.height // scale, left : left + self.width // scale]

    def common(self, other: "Window") -> "Window":
        """Return the part that two windows share."""
        return Window.between(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def reduced(self, scale: int) -> "Window":
        """Return the window in pixels of a scale, which must divide its edges."""
        return Window(*(edge // scale for edge in self))

    def shifted(self, rows: int, columns: int) -> "Window":
        """Move the window."""
        return self._replace(top=self.top + rows, left=self.left + columns)

    def grown(self, halo: int, multiple: int, size: tuple[int, int]) -> "Window":
        """Add a halo, and further pixels to edges at multiples, within a scene of a size."""
        return Window.between(
            max((self.top - halo) // multiple * multiple, 0),
            max((self.left - halo) // multiple * multiple, 0),
            min(-(-(self.bottom + halo) // multiple) * multiple, size[0]),
            min(-(-(self.right + halo) // multiple) * multiple, size[1]),
        )

    def tiles(self, side: int) -> Iterator["Window"]:
        """Divide the window into squares of a side, smaller at the bottom and the right."""
        for top in range(self.top, self.bottom, side):
            for left in range(self.left, self.right, side):
                yield self.common(Window(top, left, side, side))


class Source(Protocol):
    """Scene to read, a window at a time."""

    @property
    def bands(self) -> int:
        """Number of bands."""

    @property
    def height(self) -> int:
        """Number of rows."""

    @property
    def width(self) -> int:
        """Number of columns."""

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Read a window.

        Returns:
            The pixels, (bands, h, w) in [0, 1], float32, and the valid ones among them, (h, w),
            bool. Those that are 0 in all bands count as invalid, too.
        """


class Target(Protocol):
    """Scene to write, each pixel once."""

    def write(self, window: Window, pixels: Tensor, thickness: Tensor) -> None:
        """Write the restored pixels (bands, h, w) and the thickness (1, h, w) of a window.

        Invalid pixels come as they were read, with the thickness 0.
        """


@runtime_checkable
class GainTarget(Target, Protocol):
    """Scene to write with the gain of the inversion."""

    def write_gain(self, window: Window, gain: Tensor) -> None:
        """Take the gain (bands, h, w) of a window, before `write` takes its pixels."""


class ArraySource:
    """Scene in an array, or a part of one.

    Args:
        array: (bands, H, W), of NumPy, maybe mapped from a file, of Zarr or of Dask.
        peak: the value that means 1.
        at: row and column of the scene at which the array begins.
        size: height and width of the scene. Default: those of the array.
    """

    def __init__(
        self,
        array: Any,
        peak: float = 1.0,
        *,
        at: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> None:
        self.array, self.peak = array, peak
        self.bands: int = array.shape[0]
        self.height: int = (size or array.shape[1:])[0]
        self.width: int = (size or array.shape[1:])[1]
        self.part = Window(*at, *array.shape[1:])

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Read a window; see `Source`.

        Raises:
            ValueError: the array does not hold the whole window.
        """
        if window.common(self.part) != window:
            raise ValueError(f"the array holds {self.part}, expected one that holds {window}.")
        values = np.asarray(window.of(self.array, origin=self.part[:2]))
        pixels = torch.from_numpy(values.astype(np.float32)) / self.peak
        return pixels, pixels.any(0)


class ArrayTarget:
    """Arrays of NumPy to write, which may be mapped to files.

    Args:
        pixels: (bands, H, W), floating.
        thickness: (1, H, W), floating, if it is wanted.

    Raises:
        UserError: an array of integers, which would hold 0 in place of fractions.
    """

    def __init__(self, pixels: np.ndarray, thickness: np.ndarray | None = None) -> None:
        for array in (pixels, thickness):
            if array is not None and array.dtype.kind != "f":
                raise UserError(
                    f"the array to write holds {array.dtype}, expected floats, because restored "
                    "values are in [0, 1]; convert them afterwards."
                )
        self.pixels, self.thickness = pixels, thickness

    def write(self, window: Window, pixels: Tensor, thickness: Tensor) -> None:
        """Write a window; see `Target`."""
        window.of(self.pixels)[:] = pixels.numpy()
        if self.thickness is not None:
            window.of(self.thickness)[:] = thickness.numpy()


def whole(source: Source) -> Window:
    """Return the window of a whole scene."""
    return Window(0, 0, source.height, source.width)


def read_valid(source: Source, window: Window) -> tuple[Tensor, Tensor]:
    """Read a window with 0 in all invalid pixels, and the valid ones.

    Raises:
        ValueError: valid pixels are not in [0, 1].
    """
    pixels, valid = source.read(window)
    pixels = torch.where(valid, pixels, 0)
    check_unit_images(pixels)
    return pixels, pixels.any(0)


class PaddedScene:
    """Ground of a scene within the margin that a single pass over it would have.

    Args:
        source: the scene.
        ground: what the borders enclose.
        filters: replace single odd pixels, as `without_impulses` does in the whole ground.
        mean: (1, bands, 1, 1), that of the pixels with data, to fill the others. Default: that of
            the window that is read.
        multiple: number that divides height and width with the margin.
    """

    def __init__(
        self,
        source: Source,
        ground: Window,
        *,
        filters: bool,
        mean: Tensor | None = None,
        multiple: int = FACTOR,
    ) -> None:
        self.mean = mean
        self.source, self.ground, self.filters = source, ground, filters
        self.rows = lines_with_margin(ground.height, multiple)
        self.columns = lines_with_margin(ground.width, multiple)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width with the margin."""
        return len(self.rows), len(self.columns)

    def place(self, window: Window) -> Window:
        """Return the place of a window of the source."""
        return window.shifted(MARGIN - self.ground.top, MARGIN - self.ground.left)

    def read_ground(self, window: Window) -> Tensor:
        """Read a window of the ground, (bands, h, w), with 0 in invalid pixels.

        Raises:
            ValueError: valid pixels are not in [0, 1].
        """
        near = window
        if self.filters:
            near = window.grown(1, 1, (self.ground.height, self.ground.width))
        pixels, _ = read_valid(self.source, near.shifted(self.ground.top, self.ground.left))
        if self.filters:
            filtered = without_impulses(pixels[None])[0]
            pixels = window.of(filtered, origin=near[:2])
        return pixels

    def read(self, window: Window) -> Tensor:
        """Read a window of the padded scene, (1, bands, h, w), as `without_gaps` fills it."""
        rows = self.rows[window.top : window.bottom]
        columns = self.columns[window.left : window.right]
        top, left = int(rows.min()), int(columns.min())
        shown = Window.between(top, left, int(rows.max()) + 1, int(columns.max()) + 1)

        near = shown.grown(REACH, 1, (self.ground.height, self.ground.width))
        filled = without_gaps(self.read_ground(near)[None], self.mean)
        pixels = shown.of(filled, origin=near[:2])
        return pixels[:, :, rows - top][:, :, :, columns - left]
