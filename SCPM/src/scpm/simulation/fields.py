"""Shapes of real clouds, to be laid over other ground.

`SCPM/src/extract_clouds.py` takes their opacity maps from real pairs.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_SALT = 0xC10D  # makes the random numbers independent of others that the same seed draws
_ZOOM = (0.6, 1.8)  # factor by which a cloud is enlarged
_DEPTH_FACTOR = (0.5, 1.5)
_MAX_OPACITY = 0.98  # a greater opacity in a map says nothing about the optical depth


class CloudFields:
    """Opacity maps of real clouds, from which seeds draw random parts.

    Args:
        maps: opacity maps (1, H, W) in [0, 1].
        fraction: fraction of the seeds that draw a part of a map. The others draw nothing.
    """

    def __init__(self, maps: Sequence[Tensor], fraction: float) -> None:
        if not maps or not 0 < fraction <= 1:
            raise ValueError(
                f"there are {len(maps)} maps and the fraction is {fraction}; expected at least one "
                "map, and a fraction above 0 and up to 1."
            )
        self.maps = [opacity.half() for opacity in maps]
        self.fraction = fraction

    def draw(self, height: int, width: int, seed: int) -> Tensor | None:
        """Draw a part of a map: flipped, rotated, resized, and made thinner or thicker.

        Returns:
            Optical depth (1, height, width), float32 on the CPU; None if the seed draws nothing.
        """
        random = np.random.default_rng((_SALT, seed))
        if random.random() >= self.fraction:
            return None

        opacity = self.maps[int(random.integers(len(self.maps)))].float()
        opacity = torch.rot90(opacity, int(random.integers(4)), (1, 2))
        if random.integers(2):
            opacity = opacity.flip(2)

        map_height, map_width = opacity.shape[1:]
        zoom = max(_draw_between(_ZOOM, random), height / map_height, width / map_width)
        rows = min(max(round(height / zoom), 1), map_height)
        columns = min(max(round(width / zoom), 1), map_width)
        top = int(random.integers(map_height - rows + 1))
        left = int(random.integers(map_width - columns + 1))

        part = opacity[None, :, top : top + rows, left : left + columns]
        resized = F.interpolate(part, size=(height, width), mode="bicubic", antialias=True)[0]
        depth = -torch.log1p(-resized.clamp(0, _MAX_OPACITY))
        return depth * _draw_between(_DEPTH_FACTOR, random)


def _draw_between(limits: tuple[float, float], random: np.random.Generator) -> float:
    return limits[0] * (limits[1] / limits[0]) ** random.random()
