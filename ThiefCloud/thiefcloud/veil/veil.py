"""Both estimators, one after the other, and what they say taken away."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thiefcloud.veil.even import EvenVeil
from thiefcloud.veil.seen import CELL, cells, filled, has_data, statistics
from thiefcloud.veil.uneven import UnevenVeil

_FARTHEST = 0.5  # beyond [0, 1]; what lies farther out is a mistake, and the network should not see it


class Veil(nn.Module):
    """Takes away what statistics tell of the haze of an image.

    `fit_veil` fits it before the network is trained; after that it stays as it is. Unfitted it changes nothing.

    Args:
        bands: of the images.

    Shape: (N, bands, H, W) in [0, 1], of any size, to the same in [-0.5, 1.5].
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        self.even, self.uneven = EvenVeil(bands), UnevenVeil(bands)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """The images k I + b, k and b bilinear between the centres of the cells; pixels that are 0 in all bands stay so."""
        with torch.autocast(images.device.type, enabled=False):  # half precision would show as a cast
            there = has_data(images)
            ground = filled(images, there)
            gain, offset = (_at_pixels(part, images) for part in self.gain_and_offset(cells(ground), statistics(ground)))
            cleared = torch.addcmul(offset, gain, images).clamp(-_FARTHEST, 1 + _FARTHEST)
            return torch.where(there, cleared, images)

    def gain_and_offset(self, of_cells: Tensor, of_images: Tensor) -> tuple[Tensor, Tensor]:
        """k and b of the cells, each (N, bands, h, w), from `cells` (N, bands, 4, h, w) and `statistics` (N, bands, 11)."""
        return self.uneven(of_cells, of_images, *self.even(of_images))


def _at_pixels(values: Tensor, images: Tensor) -> Tensor:
    """Values of cells (N, bands, h, w) at the pixels of images (N, bands, H, W)."""
    height, width = images.shape[-2:]
    return F.interpolate(values, scale_factor=CELL, mode="bilinear")[..., :height, :width]
