"""Pixels that are no ground: dead and clipped pixels, lettering, thin frames.

Both images of a training pair get them, so a network learns to leave them and not to be misled.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_FEWEST, _MOST = 1e-4, 1e-2  # fraction of the image
_WIDEST_FRAME = 4  # pixels
_STROKE = 3  # pixels, the widest of lettering
_LETTER = 12  # pixels, the longest stroke of lettering
_NOISE = 0.01  # half the range of the values of a lossy frame or lettering

Mask = np.ndarray  # (H, W), True where a pixel is odd


def lay_odd_pixels(
    cloudy: Tensor, clear: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Lay odd pixels of one random kind over a pair.

    Args:
        cloudy: (bands, H, W), floating, in [0, 1].
        clear: the same.
        random: generator of the pixels.

    Returns:
        Both again, of the same shape, type and range.
    """
    bands, height, width = cloudy.shape
    kind = _KINDS[int(random.integers(len(_KINDS)))]
    odd = torch.from_numpy(kind(height, width, random)).to(cloudy.device)

    colour = random.choice([0.0, 1.0, random.random()]) * np.ones((bands, 1, 1))
    if random.random() < 0.5:
        colour = random.random((bands, 1, 1))
    values = colour + _NOISE * random.uniform(-1, 1, (bands, height, width))
    drawn = torch.from_numpy(values.clip(0, 1)).to(cloudy)
    return torch.where(odd, drawn, cloudy), torch.where(odd, drawn, clear)


def _scattered(height: int, width: int, random: np.random.Generator) -> Mask:
    """Return single pixels anywhere."""
    fraction = _FEWEST * (_MOST / _FEWEST) ** random.random()
    return random.random((height, width)) < fraction


def _lettering(height: int, width: int, random: np.random.Generator) -> Mask:
    """Return short horizontal and vertical strokes in a row."""
    odd = np.zeros((height, width), dtype=bool)
    top, left = int(random.integers(height)), int(random.integers(width))
    for _ in range(int(random.integers(3, 30))):
        size = [int(random.integers(1, _STROKE + 1)), int(random.integers(3, _LETTER + 1))]
        rows, columns = random.permutation(size)
        row = top + int(random.integers(_LETTER))
        odd[row : row + rows, left : left + columns] = True
        left += int(random.integers(_LETTER))
    return odd


def _frame(height: int, width: int, random: np.random.Generator) -> Mask:
    """Return a thin frame, on all sides or on some."""
    odd = np.zeros((height, width), dtype=bool)
    size = int(random.integers(1, _WIDEST_FRAME + 1))
    sides = random.random(4) < 0.75
    odd[:size] |= sides[0]
    odd[-size:] |= sides[1]
    odd[:, :size] |= sides[2]
    odd[:, -size:] |= sides[3]
    return odd


_KINDS: tuple[Callable[[int, int, np.random.Generator], Mask], ...] = (
    _scattered,
    _lettering,
    _frame,
)
