"""A plain U-Net of ThiefCloud's size, to see what ThiefCloud's design is worth beside it."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from scpm import check_input
from thiefcloud.model import NoPrior, Restoration, inversion_of, within_reach

_WIDTHS = (32, 64, 128, 280)  # of the levels; the last is what makes the size equal, and a multiple of 8, which processors like


class UNet(nn.Module):
    """Restores an image by a U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) without a prior; stands where ThiefCloud stands.

    Each level is twice a 3x3 convolution with ReLU, without normalisation; levels are joined by maximum pooling, by transposed
    convolutions and by skips, and a 1x1 convolution writes the image. Convolutions keep the size (the paper's cut off borders)
    and start as in the paper: normal, with the variance 2 / inputs. For three bands it has 2,081,427 parameters, ThiefCloud with
    its prior 2,064,319; it needs half the multiplications.

    Args:
        in_channels: bands of input and output.
        residual: learn what to add to the cloudy image rather than the clear image itself, beginning with nothing.
        inversion: solve the scattering model first, as in `ThiefCloud` but without a guide; needs `residual`.

    Shape: cloudy images (N, in_channels, H, W) in [0, 1] to a `Restoration`; H and W must be multiples of 8, `restore` takes any.
    """

    kind = "unet"  # what checkpoints call it

    def __init__(self, in_channels: int = 3, *, residual: bool = False, inversion: bool = False) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.residual = residual
        self.prior = NoPrior(in_channels)
        self.config: dict[str, Any] = {"in_channels": in_channels, "residual": residual, "inversion": inversion}
        inputs = (in_channels, *_WIDTHS[:-1])
        self.encoders = nn.ModuleList(_pair(*widths) for widths in zip(inputs, _WIDTHS, strict=True))
        self.pool = nn.MaxPool2d(2)
        steps = [(_WIDTHS[level + 1], _WIDTHS[level]) for level in reversed(range(len(_WIDTHS) - 1))]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(deeper, width, 2, stride=2) for deeper, width in steps)
        self.decoders = nn.ModuleList(_pair(2 * width, width) for _, width in steps)
        self.head = nn.Conv2d(_WIDTHS[0], in_channels, 1)
        self._initialise()
        self.inversion = inversion_of(in_channels, residual=residual, inversion=inversion)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if self.residual:
            nn.init.zeros_(self.head.weight)

    def forward(self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None) -> Restoration:
        """Restore cloudy images (N, in_channels, H, W) in [0, 1].

        Args:
            cloudy: the images; H and W multiples of 8, else ValueError.
            supervision: whether the one output also stands for those of levels 2 and 3, so that the loss has ThiefCloud's scale;
                default: while training.
            statistics: as in `ThiefCloud`.
        """
        check_input(cloudy, self.in_channels)
        skips: list[Tensor] = []
        prior = self.prior(cloudy)
        image = cloudy if self.inversion is None else within_reach(self.inversion(cloudy, prior, statistics))
        features = image
        for encoder in self.encoders:
            features = encoder(self.pool(features) if skips else features)
            skips.append(features)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips[:-1]), strict=True):
            features = decoder(torch.cat((skip, up(features)), dim=1))
        restored = self.head(features)
        if self.residual:
            restored = image + restored
        supervised = self.training if supervision is None else supervision
        other = restored if supervised else None
        return Restoration(restored=restored, half=other, quarter=other, thickness=prior.thickness)

    def freeze_prior(self) -> Self:
        """Nothing: there is no prior. Training has the same phases as ThiefCloud's."""
        return self

    def tune_prior(self) -> Self:
        """Nothing: there is no prior."""
        return self


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice a 3x3 convolution with ReLU: (N, in_channels, H, W) to (N, out_channels, H, W)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.ReLU(),
    )
