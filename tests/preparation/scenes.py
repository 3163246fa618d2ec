"""Scenes made from noise, for tests that must tell places apart."""

import torch.nn.functional as F
from torch import Tensor

from tests.helpers import noise


def scene(seed: int, height: int, width: int) -> Tensor:
    """A place of its own: (3, H, W) in [0, 1] with structure of every size, and a little noise."""
    image = 0.03 * noise(seed, height=height, width=width)
    for octave, grain in enumerate((4, 9, 20, 45)):
        coarse = noise(
            100 * seed + octave + 1, height=height // grain + 3, width=width // grain + 3
        )
        image += (
            0.25
            * F.interpolate(coarse[None], (height, width), mode="bicubic", align_corners=False)[0]
        )
    return image.clamp(0, 1)


def cut(image: Tensor, top: int, left: int, size: int) -> Tensor:
    """A square crop."""
    return image[:, top : top + size, left : left + size].clone()
