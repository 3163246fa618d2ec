"""Networks that are exported fast: the export of a whole one takes a minute."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scpm import DeformConv2d, Prior
from scpm.network.simam import SimAM
from thiefcloud import NoPrior, RemovalNetwork, Restoration
from thiefcloud.network.afe import AFE
from thiefcloud.network.inversion import Block, total_gain
from thiefcloud.network.overlay import Uncovered
from thiefcloud.network.pgff import PGFF
from thiefcloud.network.statistics import CELL, cell_statistics, has_data


class Even(RemovalNetwork):
    """A network that subtracts a quantile of the whole image."""

    kind = "even"

    def __init__(self, bands: int = 3) -> None:
        super().__init__(bands, residual=True, inversion=False)
        self.prior = NoPrior(bands)
        self.inversion = None

    @property
    def reads_statistics(self) -> bool:
        return True

    def invert(self, uncovered: Uncovered, prior: Prior) -> Tensor:
        assert uncovered.statistics is not None
        return uncovered.images - uncovered.statistics[:, : self.in_channels, 3, None, None]

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        return Restoration(image, None, None, prior.thickness)


class TinyPrior(NoPrior):
    """A prior with one deformable layer of each kind."""

    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.shallow = DeformConv2d(bands, 12)
        self.deform = DeformConv2d(12, 12)
        self.attention = SimAM()
        self.head = nn.Conv2d(12, 1, 1)

    def forward(self, images: Tensor) -> Prior:
        full = self.attention(self.deform(self.shallow(images).relu()))
        half = F.avg_pool2d(full, 2)
        return Prior(self.head(full).sigmoid(), full, half, F.avg_pool2d(half, 2))


class Tiny(Even):
    """A network with one layer of each kind."""

    kind = "tiny"

    def __init__(self, bands: int = 3) -> None:
        super().__init__(bands)
        self.prior = TinyPrior(bands)
        self.from_cells = nn.Conv2d(4 * bands, 12, 1)
        self.block = Block(12)
        self.enhance = AFE(12)
        self.fuse = PGFF(12)
        self.head = nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2), nn.Conv2d(12, bands, 1))

    @property
    def sees_thickness(self) -> bool:
        return True

    def invert(self, uncovered: Uncovered, prior: Prior) -> Tensor:
        cloudy, statistics, *_ = uncovered
        assert statistics is not None
        cells = self.block(self.from_cells(cell_statistics(cloudy)))
        cells = F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False)
        fused = self.fuse(prior.full, self.enhance(cells))

        darkest = statistics[:, : self.in_channels, 2, None, None]
        gain = total_gain(torch.zeros_like(cloudy), darkest, prior.thickness)
        restored = torch.lerp(darkest, cloudy, gain) + 0.1 * self.head(fused).tanh()
        return torch.where(has_data(cloudy), restored, 0)
