"""The even veil: what one look at the histogram of an image says of its haze.

Haze that is even over the image is two numbers a band, k = 1 / t and b = A (1 - k), which convolutions see badly, since they look
at a neighbourhood, but which the histogram nearly tells: real ground has dark places and a usual contrast.
"""

import torch
from torch import Tensor, nn

from thiefcloud.veil.seen import STATISTICS

OF_BANDS = 0.1  # how freely bands may differ, beside what they share: haze is nearly gray


class EvenVeil(nn.Module):
    """Estimates gain and offset of a whole image. Unfitted it changes nothing.

    Args:
        bands: of the images.

    Shape: `statistics` (N, bands, 11) to k and b, each (N, bands).
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        self.bands = bands
        layers = (nn.Linear(bands * STATISTICS, 64), nn.Linear(64, 64), nn.Linear(64, 2 + 2 * bands))
        self.estimate = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        nn.init.zeros_(layers[2].weight)
        nn.init.zeros_(layers[2].bias)

    def forward(self, of_images: Tensor) -> tuple[Tensor, Tensor]:
        """k and b of images from their statistics."""
        return gain_and_offset(self.estimate(scaled(of_images).flatten(1)), self.bands)


def scaled(statistics: Tensor) -> Tensor:
    """Values from about 0 to 1 as networks like them, about 0 and as large as 1."""
    return 4 * (statistics - 0.4)


def gain_and_offset(estimated: Tensor, bands: int) -> tuple[Tensor, Tensor]:
    """k and b, each (N, bands, ...), from what an estimator writes: (N, 2 + 2 bands, ...); of zeros 1 and 0."""
    shared_gain, shared_offset, gains, offsets = estimated.split((1, 1, bands, bands), dim=1)
    return torch.exp(shared_gain + OF_BANDS * gains), (shared_offset + OF_BANDS * offsets) / 2
