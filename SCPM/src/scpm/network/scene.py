"""Tiles of a scene: what networks must know of the whole scene to compute a part of it exactly.

Most layers see a neighbourhood. Some see the whole image: statistics of channels, and upsampling
whose phase depends on the size. These layers ask `current_tile`. Without a tile, each image is a
scene of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Moments(NamedTuple):
    """Mean and sample variance of each channel over a scene, both (1, C) and float32."""

    mean: Tensor
    variance: Tensor


class Tile(ABC):
    """Place of the images that a network is given, and the statistics of their scene.

    Args:
        at: row and column of the first pixel in the scene.
        size: height and width of the tile.
        scene: height and width of the scene.
    """

    def __init__(self, at: tuple[int, int], size: tuple[int, int], scene: tuple[int, int]) -> None:
        self.at = at
        self.size = size
        self.scene = scene

    @abstractmethod
    def moments(self, module: nn.Module, features: Tensor) -> Moments:
        """Return the moments of a map over the whole scene, on the device of the map.

        Args:
            module: the part of the network that asks. One that asks twice has maps of two scales.
            features: the map on this tile, (1, C, h, w).
        """

    def scale(self, features: Tensor) -> int:
        """Return the side of the tile divided by that of a map."""
        return self.size[0] // features.shape[-2]


_tile: ContextVar[Tile | None] = ContextVar("tile", default=None)


def current_tile() -> Tile | None:
    """Return the tile that the networks of this thread compute."""
    return _tile.get()


@contextmanager
def on_tile(tile: Tile) -> Iterator[None]:
    """Let the networks of this thread compute a tile."""
    token = _tile.set(tile)
    try:
        yield
    finally:
        _tile.reset(token)


def double_between_corners(features: Tensor) -> Tensor:
    """Upsample a map (N, C, h, w) twice, corner to corner of the scene.

    The distance of the samples depends on the size of the scene.
    """
    tile = current_tile()
    if tile is None:
        return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)

    scale = tile.scale(features)
    for axis, first, whole in zip((-2, -1), tile.at, tile.scene, strict=True):
        features = _double_axis(features, axis, first // scale, whole // scale)
    return features


def _double_axis(features: Tensor, axis: int, first: int, whole: int) -> Tensor:
    """Upsample an axis that begins at `first` of `whole` places.

    Coordinates are rounded as those of `F.interpolate`.
    """
    size = features.shape[axis]
    step = torch.tensor(whole - 1, dtype=torch.float32) / (2 * whole - 1)
    place = step * torch.arange(2 * first, 2 * (first + size), dtype=torch.float32)
    lower = place.floor()
    fraction = (place - lower).to(features).view(-1, *[1] * (-1 - axis))

    # At the edges of a tile a sample may need the place outside, which belongs to its neighbour.
    index = (lower.long() - first).clamp(0, size - 1).to(features.device)
    following = (lower.long() + 1 - first).clamp(0, size - 1).to(features.device)
    below, above = features.index_select(axis, index), features.index_select(axis, following)
    return below * (1 - fraction) + above * fraction
