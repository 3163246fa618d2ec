"""The uneven veil: gain and offset from place to place, estimated on a grid of cells of 16 pixels.

Cloud changes slowly from place to place, so a grid shows it, and a network over a grid costs next to nothing beside one over
pixels: it can look far and be fitted long.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thiefcloud.veil.even import gain_and_offset, scaled
from thiefcloud.veil.seen import CELL_STATISTICS, STATISTICS, shifted

_WIDTH = 48
_DILATIONS = (1, 2, 4, 8, 4, 2, 1)  # each place sees 22 cells (352 pixels) around


class UnevenVeil(nn.Module):
    """Estimates gain and offset of every cell, beginning with those of the whole image. Unfitted it leaves these as they are.

    Args:
        bands: of the images.

    Shape: `cells` (N, bands, 4, h, w), `statistics` (N, bands, 11), k and b (N, bands) to k and b, each (N, bands, h, w).
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        self.bands = bands
        self.of_cells = nn.Conv2d(bands * (2 * CELL_STATISTICS + 2), _WIDTH, 1)
        self.of_image = nn.Sequential(nn.Linear(bands * STATISTICS, 64), nn.ReLU(), nn.Linear(64, _WIDTH))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(_WIDTH, _WIDTH, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
                nn.Conv2d(_WIDTH, _WIDTH, 1),
            )
            for dilation in _DILATIONS
        )
        self.estimate = nn.Conv2d(_WIDTH, 2 + 2 * bands, 1)
        nn.init.zeros_(self.estimate.weight)
        assert self.estimate.bias is not None
        nn.init.zeros_(self.estimate.bias)

    def forward(self, of_cells: Tensor, of_images: Tensor, gain: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """k and b of every cell, the even veil's, `gain` and `offset`, included."""
        gain, offset = gain[..., None, None], offset[..., None, None]
        left = shifted(of_cells, gain, offset)
        even = torch.cat((gain - 1, offset), dim=1).expand(-1, -1, *of_cells.shape[-2:])
        features = self.of_cells(torch.cat((scaled(of_cells).flatten(1, 2), scaled(left).flatten(1, 2), even), dim=1))
        features = features + self.of_image(scaled(of_images).flatten(1))[..., None, None]
        for block in self.blocks:
            features = features + block(features)
        more_gain, more_offset = gain_and_offset(self.estimate(F.relu(features)), self.bands)
        return more_gain * gain, more_gain * offset + more_offset
