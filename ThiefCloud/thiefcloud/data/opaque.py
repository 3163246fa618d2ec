"""Opaque cloud in both images of a pair.

A network with opaque cloud in its truth learns to leave it, and not to invent the ground below.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from scpm import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.simulation.opacity import estimate_opacity, smoothed

_GROUND, _CLOUD = 0.93, 0.99  # thickness up to which the ground is the truth, then the cloud

# The same for estimates, which are low over small clouds and bright ground. Cloud that is kept
# needlessly does no harm.
_GROUND_ESTIMATED, _CLOUD_ESTIMATED = 0.25, 0.45

_WINDOW = 5  # pixels, over which the opacity of a real cloud is estimated
_EDGE = 5  # pixels, over which its edge is smoothed
_LAYERS = 2  # of different brightness, which gives the shades of real clouds
_OPAQUE_CLOUDS = CloudOptions(
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


def lay_opaque_clouds(cloudy: Tensor, clear: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Lay random clouds over pairs.

    The cloudy image gets all of them, the clear one only their opaque parts. Between the
    thicknesses of 0.93 and 0.99 the truth changes smoothly from the ground to the cloud.

    Args:
        cloudy: (N, 3, H, W), floating, in [0, 1].
        clear: the same.
        seeds: N integers, one for each pair.

    Returns:
        Both again, of the same shape, type and range.
    """
    light = torch.ones_like(clear[:, :1])  # fraction that passes
    for layer in range(_LAYERS):
        of_layer = [seed + layer for seed in seeds]
        cloudy, thickness = simulate_clouds(cloudy, of_layer, _OPAQUE_CLOUDS)
        light = light * (1 - thickness)

    return cloudy, torch.lerp(clear, cloudy, _fraction_of_cloud(1 - light, _GROUND, _CLOUD))


def keep_simulated_opaque(clouds: SimulatedClouds, clear: Tensor) -> Tensor:
    """Put the opaque parts of simulated clouds into the clear images, as `lay_opaque_clouds` does.

    Args:
        clouds: simulated clouds over N images.
        clear: the images below, (N, 3, H, W) in [0, 1].

    Returns:
        The clear images again, of the same shape, type and range.
    """
    fraction = _fraction_of_cloud(clouds.thickness, _GROUND, _CLOUD)
    return torch.lerp(clear, clouds.cloudy, fraction)


def keep_opaque_clouds(cloudy: Tensor, clear: Tensor) -> Tensor:
    """Put the opaque clouds of a real pair into its clear image.

    Their opacity is estimated (`estimate_opacity`). Estimates for opaque cloud of RICE2 are as low
    as 0.4, so the truth changes to the cloud between 0.25 and 0.45. A thin cloud that is left is a
    smaller mistake than ground that nobody could see.

    Args:
        cloudy: (3, H, W), floating, in [0, 1].
        clear: the same.

    Returns:
        The clear image again, of the same shape, type and range.
    """
    opacity = estimate_opacity(cloudy, clear, window=_WINDOW)
    fraction = _fraction_of_cloud(opacity, _GROUND_ESTIMATED, _CLOUD_ESTIMATED)
    return torch.lerp(clear, cloudy, smoothed(fraction, _EDGE))


def _fraction_of_cloud(opacity: Tensor, ground: float, cloud: float) -> Tensor:
    """Return the fraction of the cloud in the truth.

    It rises smoothly from 0 at the opacity `ground` to 1 at the opacity `cloud`.
    """
    fraction = ((opacity - ground) / (cloud - ground)).clamp(0, 1)
    return fraction.square() * (3 - 2 * fraction)
