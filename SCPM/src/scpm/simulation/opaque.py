"""Clouds with opaque cores and soft edges, of which thin clouds alone show nothing."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scpm.simulation.clouds import SimulatedClouds, simulate_clouds
from scpm.simulation.options import CloudOptions

_LAYERS = 2  # of different brightness, which gives the shades of real clouds
_CLOUDS = CloudOptions(
    opacity=(0.8, 0.999),
    opacity_skew=0.7,
    even_fraction=0.03,
    patchy_floor=(0.0, 0.1),
    coverage=(0.03, 0.35),
    softness=(0.15, 1.0),
    texture=(0.0, 0.8),
    scale=(24.0, 512.0),
    smoothing=(1.0, 4.0),
    angstrom=(0.0, 0.2),
    even_brightness=(0.75, 1.0),
    patchy_brightness=(0.7, 1.0),
    tint=0.08,
)


def lay_opaque_clouds(images: Tensor, seeds: Sequence[int]) -> SimulatedClouds:
    """Lay random clouds with opaque parts over images.

    Args:
        images: (N, 3, H, W), floating, in [0, 1].
        seeds: N integers, one for each image.

    Returns:
        The images below the clouds, and the thickness of these clouds together.
    """
    light = torch.ones_like(images[:, :1])  # fraction that passes
    for layer in range(_LAYERS):
        of_layer = [seed + layer for seed in seeds]
        images, thickness = simulate_clouds(images, of_layer, _CLOUDS)
        light = light * (1 - thickness)
    return SimulatedClouds(images, 1 - light)
