"""Fast restoration: the inversion alone, guided by a prior that sees the image at half its scale.

The network behind the inversion takes three quarters of the work, and the prior nearly all of the
rest. Cloud is smooth, so the prior loses little at half the scale, and takes a quarter of its time.
Gain and offset are upsampled and applied to the pixels themselves, so texture stays as it is.
"""

from typing import TypeGuard

import torch.nn.functional as F
from torch import Tensor, nn

from cloudkit.errors import UserError
from scpm import Prior
from thiefcloud.network.base import RemovalNetwork, Restorer

SCALE = 2  # side in pixels of what the prior sees as a pixel


def require_inversion(model: Restorer) -> None:
    """Check that a network can restore fast.

    Raises:
        UserError: it has no inversion, or it is an exported one.
    """
    if not has_inversion(model):
        raise UserError(
            "fast restoration is that of the inversion, which this network lacks: leave out fast, "
            "or take weights with an inversion, such as general."
        )


def has_inversion(model: Restorer) -> TypeGuard[RemovalNetwork]:
    """Return True for a network with an inversion that can be computed by itself."""
    return isinstance(model, RemovalNetwork) and model.inversion is not None


def reduce(images: Tensor) -> Tensor:
    """Average images (N, bands, H, W) over the pixels of `SCALE`."""
    return F.avg_pool2d(images, SCALE)


def prior_of_reduced(prior: nn.Module, images: Tensor) -> Prior:
    """Let a prior see images at half their scale, and upsample what it finds.

    Args:
        prior: the prior.
        images: (N, bands, H, W), H and W multiples of 8 `SCALE`.

    Returns:
        Maps of the shapes that `prior` has for the images themselves.
    """
    maps = []
    for part in prior(reduce(images)):
        maps.append(F.interpolate(part, scale_factor=SCALE, mode="bilinear", align_corners=False))
    return Prior(*maps)
