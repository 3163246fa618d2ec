"""Scenes in arrays of integers, such as reflectance of 16 bits in Zarr."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloudkit.errors import UserError
from thiefcloud.inference.tiles import ArraySource, Window


class IntegerSource(ArraySource):
    """Scene in an array of integers, or a part of one. Pixels of 0 in all bands have no data.

    Args:
        array: as for `ArraySource`.
        peak: the value that means 1. Larger ones are clamped.
        at: as for `ArraySource`.
        size: as for `ArraySource`.

    Raises:
        UserError: the array holds no integers, or not the bands red, green and blue, or its type
            cannot hold the peak, or the peak is not positive.
    """

    def __init__(
        self,
        array: Any,
        peak: float,
        *,
        at: tuple[int, int] = (0, 0),
        size: tuple[int, int] | None = None,
    ) -> None:
        if len(array.shape) != 3 or array.shape[0] != 3 or array.dtype.kind not in "iu":
            raise UserError(
                f"the array holds {array.dtype} of shape {tuple(array.shape)}, expected integers "
                "of shape (3, rows, columns); choose red, green and blue, and scale floats."
            )
        if not peak > 0:
            raise UserError(
                f"the peak is {peak:g}, expected more than 0; name the value that means white."
            )
        largest = np.iinfo(array.dtype).max
        if peak > largest:
            raise UserError(
                f"the array holds {array.dtype}, whose largest value {largest} is below the "
                f"peak of {peak:g}; name the value that means white by --peak."
            )
        super().__init__(array, peak, at=at, size=size)

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Read a window; see `Source`. Raises as `ArraySource.read`."""
        pixels, valid = super().read(window)
        return pixels.clamp(0, 1), valid

    def stored(self, window: Window, restored: Tensor) -> np.ndarray:
        """Convert a restored window (3, h, w) to integers. Values that did not change keep theirs.

        Those that did are at least 1, because 0 would mean no data.
        """
        given, _ = self.read(window)
        before = np.asarray(window.of(self.array, origin=self.part[:2]))
        values = torch.round(restored * self.peak).clamp_min(1).numpy().astype(before.dtype)
        return np.where((restored != given).numpy(), values, before)
