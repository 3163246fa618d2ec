"""Networks that are exported fast: the export of a whole one takes a minute."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scpm import DeformConv2d, Prior, check_input
from scpm.network.simam import SimAM
from thiefcloud import NoPrior, RemovalNetwork, Restoration
from thiefcloud.network.afe import AFE
from thiefcloud.network.inversion import Block, total_gain
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

    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        assert statistics is not None
        return Restoration(cloudy - statistics[:, :, 3, None, None], None, None, cloudy[:, :1])

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        raise NotImplementedError("forward does all")


class Tiny(Even):
    """A network with one layer of each kind."""

    kind = "tiny"

    def __init__(self, bands: int = 3) -> None:
        super().__init__(bands)
        self.shallow = DeformConv2d(bands, 12)
        self.deform = DeformConv2d(12, 12)
        self.attention = SimAM()
        self.from_cells = nn.Conv2d(4 * bands, 12, 1)
        self.block = Block(12)
        self.enhance = AFE(12)
        self.fuse = PGFF(12)
        self.head = nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2), nn.Conv2d(12, bands, 1))
        self.thickness = nn.Conv2d(12, 1, 1)

    @property
    def sees_thickness(self) -> bool:
        return True

    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        check_input(cloudy, self.in_channels)
        assert statistics is not None
        features = self.attention(self.deform(self.shallow(cloudy).relu()))
        thickness = self.thickness(features).sigmoid()

        cells = self.block(self.from_cells(cell_statistics(cloudy)))
        cells = F.interpolate(cells, scale_factor=CELL, mode="bilinear", align_corners=False)
        fused = self.fuse(features, self.enhance(cells))

        darkest = statistics[:, :, 2, None, None]
        gain = total_gain(torch.zeros_like(cloudy), darkest, thickness)
        restored = torch.lerp(darkest, cloudy, gain) + 0.1 * self.head(fused).tanh()
        return Restoration(torch.where(has_data(cloudy), restored, 0), None, None, thickness)
