"""Plain U-Net of ThiefCloud's size, which shows what ThiefCloud's design is worth."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from scpm import Prior
from thiefcloud.network.base import NoPrior, RemovalNetwork, Restoration
from thiefcloud.network.inversion import Inversion

# Widths of the levels. The last makes the size equal, and is a multiple of 8, which is fast.
_WIDTHS = (32, 64, 128, 280)


class UNet(RemovalNetwork):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) without a prior.

    Each level is twice a 3x3 convolution with ReLU, without normalisation. Maximum pooling,
    transposed convolutions and skips join the levels, and a 1x1 convolution writes the image.
    Convolutions keep the size, while the paper's cut off borders. They start as in the paper:
    normal, with the variance 2 / inputs.

    For three bands it has 2,081,427 parameters, ThiefCloud with its prior 2,064,319. It needs half
    the multiplications.

    Args:
        in_channels: bands of input and output.
        residual: learn what to add to the cloudy image, at first nothing.
        inversion: solve the scattering model first, without a guide; needs `residual`.

    Shape: cloudy images (N, in_channels, H, W) in [0, 1] to a `Restoration`. H and W must be
    multiples of 8; `restore` takes any size.
    """

    kind = "unet"

    def __init__(
        self, in_channels: int = 3, *, residual: bool = False, inversion: bool = False
    ) -> None:
        super().__init__(in_channels, residual=residual, inversion=inversion)
        self.prior = NoPrior(in_channels)

        self.encoders = nn.ModuleList()
        for inputs, width in pairwise((in_channels, *_WIDTHS)):
            self.encoders.append(_two_convs(inputs, width))
        self.pool = nn.MaxPool2d(2)

        steps = list(pairwise(reversed(_WIDTHS)))
        self.ups = nn.ModuleList()
        for deeper, width in steps:
            self.ups.append(nn.ConvTranspose2d(deeper, width, 2, stride=2))
        self.decoders = nn.ModuleList()
        for _, width in steps:
            self.decoders.append(_two_convs(2 * width, width))
        self.head = nn.Conv2d(_WIDTHS[0], in_channels, 1)

        # The inversion comes last, because it starts otherwise.
        self._initialise()
        self.inversion = Inversion(in_channels) if inversion else None

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

        if self.residual:
            nn.init.zeros_(self.head.weight)

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        """Remove what cloud the inversion has left; see `RemovalNetwork`.

        With supervision the one output also stands for those of levels 2 and 3, so the loss has
        the scale of ThiefCloud's.
        """
        skips: list[Tensor] = []
        features = image
        for encoder in self.encoders:
            if skips:
                features = self.pool(features)
            features = encoder(features)
            skips.append(features)

        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips[:-1]), strict=True):
            features = decoder(torch.cat((skip, up(features)), dim=1))

        restored = self.head(features)
        if self.residual:
            restored = image + restored
        other = restored if supervision else None
        return Restoration(
            restored=restored,
            half=other,
            quarter=other,
            thickness=prior.thickness,
            inverted=image if supervision and self.inversion is not None else None,
        )


def _two_convs(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build layers that take (N, in_channels, H, W) to (N, out_channels, H, W)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(),
    )
