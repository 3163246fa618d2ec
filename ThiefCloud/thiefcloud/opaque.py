"""Opaque cloud in both halves of a pair: what no light passed is to be left as it is, not painted over."""

from collections.abc import Sequence

import torch
from torch import Tensor

from scpm import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.opacity import estimate_opacity, smoothed

_SEEN_THROUGH, _OPAQUE = 0.93, 0.99  # thickness up to which the ground is the truth, and from which the cloud is
_ESTIMATED = 0.25, 0.45  # the same of estimates: over small clouds and bright ground they read low, and what is kept does no harm
_KEPT_WINDOW, _KEPT_EDGE = 5, 5  # pixels: over which a real cloud's opacity is found, and its edge smoothed
_LAYERS = 2  # of unlike brightness, which gives the shades of real ones
_CLOUDS = CloudOptions(
    opacity=(0.8, 0.999),
    opacity_skew=0.7,
    even_share=0.03,
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
    """Lay random clouds over pairs: over all of the cloudy image, and over the clear one where they are opaque.

    Between the thicknesses of 0.93 and 0.99 the truth passes smoothly from the ground to the cloud.

    Args:
        cloudy, clear: each (N, 3, H, W), floating, in [0, 1].
        seeds: N integers, one for each pair.

    Returns:
        Both again, of the same shape, type and range.
    """
    left = torch.ones_like(clear[:, :1])  # share of the light
    for layer in range(_LAYERS):
        cloudy, thickness = simulate_clouds(cloudy, [seed + layer for seed in seeds], _CLOUDS)
        left = left * (1 - thickness)
    return cloudy, torch.lerp(clear, cloudy, _kept(1 - left, _SEEN_THROUGH, _OPAQUE))


def keep_simulated_opaque(clouds: SimulatedClouds, clear: Tensor) -> Tensor:
    """Put simulated clouds into the clear images where they are opaque, as `lay_opaque_clouds` does.

    Args:
        clouds: N of them.
        clear: what lies below, (N, 3, H, W) in [0, 1].
    """
    return torch.lerp(clear, clouds.cloudy, _kept(clouds.thickness, _SEEN_THROUGH, _OPAQUE))


def keep_opaque_clouds(cloudy: Tensor, clear: Tensor) -> Tensor:
    """Put the opaque clouds of a real pair into its clear image.

    Their opacity is estimated (`estimate_opacity`). In RICE2 what hides all reads as low as 0.4, so the truth passes to the
    cloud between 0.25 and 0.45: rather is a thin cloud left than a ground learnt that nobody could see.

    Args:
        cloudy, clear: each (3, H, W), floating, in [0, 1].

    Returns:
        The clear image again, of the same shape, type and range.
    """
    opacity = estimate_opacity(cloudy, clear, window=_KEPT_WINDOW)
    return torch.lerp(clear, cloudy, smoothed(_kept(opacity, *_ESTIMATED), _KEPT_EDGE))


def _kept(opacity: Tensor, seen_through: float, opaque: float) -> Tensor:
    """Share of the cloud in the truth."""
    share = ((opacity - seen_through) / (opaque - seen_through)).clamp(0, 1)
    return share.square() * (3 - 2 * share)
