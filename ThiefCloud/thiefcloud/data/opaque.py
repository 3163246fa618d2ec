"""Opaque cloud in both images of a pair.

A network with opaque cloud in its truth learns to leave it, and not to invent the ground below.
"""

import torch
from torch import Tensor

from scpm import SimulatedClouds
from scpm.simulation.opacity import estimate_opacity, smoothed

_GROUND, _CLOUD = 0.93, 0.99  # thickness up to which the ground is the truth, then the cloud

# The same for estimates, which are low over small clouds and bright ground. Cloud that is kept
# needlessly does no harm.
_GROUND_ESTIMATED, _CLOUD_ESTIMATED = 0.25, 0.45

# The same for simulated cloud that is white in all bands. Thinner cloud is white over white ground.
_GROUND_SATURATED, _CLOUD_SATURATED = 0.5, 0.7
_NOT_WHITE, _WHITE = 0.97, 1.0  # darkest band: not white up to the first, white at the second

_WINDOW = 5  # pixels, over which the opacity of a real cloud is estimated
_EDGE = 5  # pixels, over which its edge is smoothed


def keep_simulated_opaque(clouds: SimulatedClouds, clear: Tensor) -> Tensor:
    """Put the opaque parts of simulated clouds into the clear images.

    Between the thicknesses of 0.93 and 0.99 the truth changes smoothly from the ground to the
    cloud. Where the cloud saturates, and so hides the ground, it does so between 0.5 and 0.7.

    Args:
        clouds: simulated clouds over N images.
        clear: the images below, (N, 3, H, W) in [0, 1].

    Returns:
        The clear images again, of the same shape, type and range.
    """
    opaque = _smooth_step(clouds.thickness, _GROUND, _CLOUD)
    thick = _smooth_step(clouds.thickness, _GROUND_SATURATED, _CLOUD_SATURATED)
    white = _smooth_step(clouds.cloudy.amin(1, keepdim=True), _NOT_WHITE, _WHITE)
    return torch.lerp(clear, clouds.cloudy, torch.maximum(opaque, thick * white))


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
    fraction = _smooth_step(opacity, _GROUND_ESTIMATED, _CLOUD_ESTIMATED)
    return torch.lerp(clear, cloudy, smoothed(fraction, _EDGE))


def _smooth_step(values: Tensor, low: float, high: float) -> Tensor:
    """Return 0 for values up to `low`, 1 from `high` on, and a smooth rise between them."""
    fraction = ((values - low) / (high - low)).clamp(0, 1)
    return fraction.square() * (3 - 2 * fraction)
