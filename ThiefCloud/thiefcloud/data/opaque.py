"""Opaque cloud in both images of a pair.

A network with opaque cloud in its truth learns to leave it, and not to invent the ground below.
"""

import torch
from torch import Tensor

from scpm import SimulatedClouds
from scpm.simulation.opacity import estimate_opacity, smoothed

_GROUND, _CLOUD = 0.93, 0.99  # thickness up to which the ground is the truth, then the cloud
_WHITE_FROM, _WHITE_TO = 0.97, 1.0  # the same in brightness of the darkest band, which saturates
_THICK_FROM, _THICK_TO = 0.5, 0.7  # thickness below which white is bright ground, not cloud

# The same for estimates, which are low over small clouds and bright ground. Cloud that is kept
# needlessly does no harm.
_GROUND_ESTIMATED, _CLOUD_ESTIMATED = 0.25, 0.45

_WINDOW = 5  # pixels, over which the opacity of a real cloud is estimated
_EDGE = 5  # pixels, over which its edge is smoothed


def keep_simulated_opaque(clouds: SimulatedClouds, clear: Tensor) -> Tensor:
    """Put the opaque parts of simulated clouds into the clear images.

    Between the thicknesses of 0.93 and 0.99 the truth changes smoothly from the ground to the
    cloud. Thick cloud that saturates hides the ground too, whatever its thickness.

    Args:
        clouds: simulated clouds over N images.
        clear: the images below, (N, 3, H, W) in [0, 1].

    Returns:
        The clear images again, of the same shape, type and range.
    """
    opaque = _fraction_of_cloud(clouds.thickness, _GROUND, _CLOUD)
    thick = _fraction_of_cloud(clouds.thickness, _THICK_FROM, _THICK_TO)
    darkest = clouds.cloudy.amin(1, keepdim=True)
    saturated = thick * _fraction_of_cloud(darkest, _WHITE_FROM, _WHITE_TO)
    return torch.lerp(clear, clouds.cloudy, torch.maximum(opaque, saturated))


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


def _fraction_of_cloud(values: Tensor, ground: float, cloud: float) -> Tensor:
    """Return the fraction of the cloud in the truth.

    It rises smoothly from 0 where the values are `ground` to 1 where they are `cloud`.
    """
    fraction = ((values - ground) / (cloud - ground)).clamp(0, 1)
    return fraction.square() * (3 - 2 * fraction)
