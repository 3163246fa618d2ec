"""Single odd pixels: dead or hot ones, dust of a scan, errors of transmission.

A network takes them for texture or for cloud, and a hundredth of them can mislead it everywhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_STEP = 0.15  # from the neighbours, in any band; smaller ones mislead nobody
_TIMES = 2  # the same in ranges of the neighbours, because texture has steps too
_AROUND = tuple((row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1))


def without_impulses(images: Tensor) -> Tensor:
    """Replace single odd pixels by the median of their neighbours.

    A pixel is odd if it lies far outside the range of its eight neighbours, of which the largest
    and the smallest value may be odd too.

    Args:
        images: (N, C, H, W), floating, in [0, 1].

    Returns:
        The same shape, type and range.
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    batch, row, column = _candidates(images, padded).nonzero(as_tuple=True)
    given = images[batch, :, row, column]

    around = []
    for rows, columns in _AROUND:
        around.append(padded[batch, :, row + rows, column + columns])
    neighbours = torch.stack(around).sort(dim=0).values
    low, high = neighbours[1], neighbours[-2]
    median = (neighbours[3] + neighbours[4]) / 2

    outside = torch.maximum(low - given, given - high)
    odd = (outside > (_TIMES * (high - low)).clamp_min(_STEP)).any(1, keepdim=True)
    filtered = images.clone()
    filtered[batch, :, row, column] = torch.where(odd, median, given)
    return filtered


def _candidates(images: Tensor, padded: Tensor) -> Tensor:
    """Find the few pixels (N, H, W) that may be odd; sorting all neighbours takes ten times longer.

    The second largest of the eight neighbours is at least the smaller one of any two of them.

    Args:
        images: (N, C, H, W).
        padded: the same with a border of a pixel.
    """
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    high = torch.maximum(torch.minimum(left, right), torch.minimum(above, below))
    low = torch.minimum(torch.maximum(left, right), torch.maximum(above, below))
    return (torch.maximum(low - images, images - high) > _STEP).any(1)
