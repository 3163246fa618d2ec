"""Single odd pixels: dead or hot ones, dust of a scan, errors of transmission.

A network takes them for texture or for cloud, and a hundredth of them can mislead it everywhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_STEP = 0.15  # from the neighbours, in any band; smaller ones mislead nobody
_TIMES = 2  # the same in ranges of the neighbours, because texture has steps too


def without_impulses(images: Tensor) -> Tensor:
    """Replace single odd pixels by the median of their neighbours.

    A pixel is odd if it lies far outside the range of its eight neighbours, of which the largest
    and the smallest value may be odd too.

    Args:
        images: (N, C, H, W), floating, in [0, 1].

    Returns:
        The same shape, type and range.
    """
    neighbours = torch.stack(_around(images)).sort(dim=0).values
    low, high = neighbours[1], neighbours[-2]
    median = (neighbours[3] + neighbours[4]) / 2

    outside = torch.maximum(low - images, images - high)
    odd = (outside > (_TIMES * (high - low)).clamp_min(_STEP)).any(1, keepdim=True)
    return torch.where(odd, median, images)


def _around(images: Tensor) -> list[Tensor]:
    """Return the eight neighbours of each pixel, eight times (N, C, H, W)."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    neighbours = []
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                neighbours.append(padded[..., row : row + height, column : column + width])
    return neighbours
