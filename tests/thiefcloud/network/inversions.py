"""Inversions to test, and priors that see nothing."""

import torch
from torch import Tensor

from scpm import Prior
from thiefcloud import NoPrior
from thiefcloud.network.inversion import Inversion


def nothing(images: Tensor) -> Prior:
    return NoPrior(images.shape[1])(images)


def randomised(bands: int = 3) -> Inversion:
    """An inversion that changes images, each place otherwise."""
    torch.manual_seed(1)
    inversion = Inversion(bands)
    for layer in (*inversion.heads, inversion.even, inversion.from_guide):
        torch.nn.init.normal_(layer.weight, std=0.2)
    return inversion.eval()
