"""Clouds of real shape: opacity maps that `SCPM/src/extract_clouds.py` took from real pairs, to be laid over other ground."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cloudkit.datasets import named_images
from cloudkit.images import read_unit

_ENTROPY = 0xC10D  # so that shapes share no randomness with what else a seed draws
_ZOOM = (0.6, 1.8)  # how much larger a cloud may become
_STRENGTH = (0.5, 1.5)  # factor of the optical depth
_MOST = 0.98  # opacity; beyond it a map says nothing about the depth


class CloudFields:
    """Opacity maps of real clouds, of which seeds draw parts.

    Args:
        maps: opacity maps (1, H, W) in [0, 1].
        fraction: fraction of the seeds that draw a part of a map; the others draw nothing.
    """

    def __init__(self, maps: Sequence[Tensor], fraction: float) -> None:
        if not maps or not 0 < fraction <= 1:
            raise ValueError(
                f"there are {len(maps)} maps and the fraction is {fraction}, expected some, and more than 0 up to 1."
            )
        self.maps, self.fraction = [map_.half() for map_ in maps], fraction

    @classmethod
    def read(cls, folder: Path, fraction: float) -> "CloudFields":
        """Read all maps of a folder. Raises DataError where it holds none, ImageError where one is damaged."""
        files = named_images(folder).values()
        return cls([read_unit(path, bands=1) for path in tqdm(files, desc="reading clouds", unit="map", leave=False)], fraction)

    def draw(self, height: int, width: int, seed: int) -> Tensor | None:
        """Optical depth (1, height, width), float32 on the CPU, of a part of a map: flipped, rotated and resized; or nothing."""
        random = np.random.default_rng((_ENTROPY, seed))
        if random.random() >= self.fraction:
            return None
        opacity = self.maps[int(random.integers(len(self.maps)))].float()
        opacity = torch.rot90(opacity, int(random.integers(4)), (1, 2))
        opacity = opacity.flip(2) if random.integers(2) else opacity

        zoom = max(_between(_ZOOM, random), height / opacity.shape[1], width / opacity.shape[2])
        rows, columns = (
            min(max(round(side / zoom), 1), most) for side, most in zip((height, width), opacity.shape[1:], strict=True)
        )
        top = int(random.integers(opacity.shape[1] - rows + 1))
        left = int(random.integers(opacity.shape[2] - columns + 1))
        part = opacity[None, :, top : top + rows, left : left + columns]
        resized = F.interpolate(part, size=(height, width), mode="bicubic", antialias=True)[0]
        return -torch.log1p(-resized.clamp(0, _MOST)) * _between(_STRENGTH, random)


def _between(limits: tuple[float, float], random: np.random.Generator) -> float:
    return limits[0] * (limits[1] / limits[0]) ** random.random()
