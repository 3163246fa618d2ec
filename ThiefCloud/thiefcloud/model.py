"""ThiefCloud, the thin cloud removal network: a three-level pyramid, guided by a cloud prior."""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from scpm import PRIOR_WIDTH, SCPM, Prior, check_input
from thiefcloud.afe import AFE
from thiefcloud.inversion import Inversion
from thiefcloud.pgff import PGFF


class Restoration(NamedTuple):
    """What ThiefCloud returns, all at full resolution and raw, so not clamped."""

    restored: Tensor
    """(N, C, H, W): the image without cloud, from level 1."""
    half: Tensor | None
    """(N, C, H, W): the same seen from level 2; only for supervision."""
    quarter: Tensor | None
    """(N, C, H, W): the same seen from level 3; only for supervision."""
    thickness: Tensor
    """(N, 1, H, W): the prior's thickness map, 0 clear, 1 opaque."""


class NoPrior(nn.Module):
    """Stands where SCPM stands, and sees nothing: a network built with it shows what a prior is worth.

    Shape: images (N, in_channels, H, W) to a `Prior` of zeros.
    """

    config = None  # what a network's config says of it

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels

    def forward(self, images: Tensor) -> Prior:
        """Zeros in the shapes of SCPM's outputs."""
        n, _, height, width = images.shape
        full, half, quarter = (images.new_zeros(n, PRIOR_WIDTH, height // s, width // s) for s in (1, 2, 4))
        return Prior(images.new_zeros(n, 1, height, width), full, half, quarter)


class ThiefCloud(nn.Module):
    """Removes thin cloud (paper, figure 1).

    Args:
        prior: the cloud prior whose three feature maps guide the levels; it belongs to the network and is saved with it.
        in_channels: bands of input and output; the prior must take as many.
        residual: learn what to add to the cloudy image rather than the clear image itself, beginning with nothing. The paper's
            network has no such path; with it short trainings keep texture, and clear images stay as they are.
        inversion: solve the scattering model first (`Inversion`, which the prior guides) and learn what to add to that; needs
            `residual`.

    Shape: cloudy images (N, in_channels, H, W) in [0, 1] to a `Restoration`; H and W must be multiples of 8, `restore` takes any.
    """

    kind = "thiefcloud"  # what checkpoints call it

    def __init__(self, prior: SCPM | NoPrior, in_channels: int = 3, *, residual: bool = False, inversion: bool = False) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.residual = residual
        self.inversion = inversion_of(in_channels, residual=residual, inversion=inversion)
        self.config = {"in_channels": in_channels, "prior": prior.config, "residual": residual, "inversion": inversion}
        self.replace_prior(prior)
        self.prior_frozen = False
        self.shallow = nn.Conv2d(in_channels, 24, 3, padding=1)
        self.down_half = _down_sampling(24)
        self.down_quarter = _down_sampling(48)
        self.up_half = _up_sampling(96)
        self.up_full = _up_sampling(48)
        self.level_full = Level(24, depth=3, scale=1, bands=in_channels, joins_deeper=True)
        self.level_half = Level(48, depth=2, scale=2, bands=in_channels, joins_deeper=True)
        self.level_quarter = Level(96, depth=2, scale=4, bands=in_channels, joins_deeper=False)
        if residual:
            for level in (self.level_full, self.level_half, self.level_quarter):
                level.begin_with_nothing()

    def forward(self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None) -> Restoration:
        """Restore cloudy images (N, in_channels, H, W) in [0, 1].

        Args:
            cloudy: the images; H and W multiples of 8, else ValueError.
            supervision: whether to compute the outputs of levels 2 and 3, which only the loss needs; default: while training.
            statistics: for the inversion, (N, in_channels, 11): those of the whole scene where the images are parts of one.
        """
        check_input(cloudy, self.in_channels)
        prior = self.prior(cloudy)
        image = cloudy if self.inversion is None else within_reach(self.inversion(cloudy, prior, statistics))
        full = self.shallow(image)
        half = self.down_half(full)
        quarter = self.down_quarter(half)

        fused_quarter = self.level_quarter.fuse(quarter, prior.quarter)
        fused_half = self.level_half.fuse(half, prior.half, self.up_half(fused_quarter))
        fused_full = self.level_full.fuse(full, prior.full, self.up_full(fused_half))

        supervised = self.training if supervision is None else supervision
        base = image if self.residual else None
        return Restoration(
            restored=self.level_full.restore(full, fused_full, base),
            half=self.level_half.restore(half, fused_half, base) if supervised else None,
            quarter=self.level_quarter.restore(quarter, fused_quarter, base) if supervised else None,
            thickness=prior.thickness,
        )

    def replace_prior(self, prior: SCPM | NoPrior) -> Self:
        """Take another prior, for example one that was trained longer. Raises ValueError if it takes other bands."""
        if prior.in_channels != self.in_channels:
            raise ValueError(f"the prior takes {prior.in_channels} bands, expected in_channels = {self.in_channels}.")
        self.prior = prior
        self.config["prior"] = prior.config
        return self

    def freeze_prior(self) -> Self:
        """Leave the prior as it is: no gradients, and BatchNorm in eval mode so that its statistics stay too."""
        self.prior_frozen = True
        self.prior.requires_grad_(False).eval()
        return self

    def tune_prior(self) -> Self:
        """Let the prior learn from the removal, but for its thickness head, which no term of the loss sees."""
        self.prior_frozen = False
        self.prior.requires_grad_(True).train(self.training)
        if isinstance(self.prior, SCPM):
            self.prior.head.requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training or eval mode; a frozen prior stays in eval mode."""
        super().train(mode)
        if self.prior_frozen:
            self.prior.eval()
        return self


class Level(nn.Module):
    """One level of the pyramid: AFEs on its shallow features and on the prior, their fusion, PGFF and a head.

    Args:
        width: channels of this level.
        depth: number of AFEs on the shallow features.
        scale: how many times smaller than the image this level is.
        bands: channels of the image that the head writes.
        joins_deeper: whether the next deeper level's fused map, upsampled to `width` channels, joins the fusion.
    """

    def __init__(self, width: int, *, depth: int, scale: int, bands: int, joins_deeper: bool) -> None:
        super().__init__()
        self.enhance = nn.Sequential(*(AFE(width) for _ in range(depth)))
        self.enhance_prior = AFE(PRIOR_WIDTH)
        joined = width + PRIOR_WIDTH + (width if joins_deeper else 0)
        self.fusion = nn.Sequential(nn.Conv2d(joined, width, 3, padding=1), nn.ReLU(inplace=True))
        self.pgff = PGFF(width)
        self.head = nn.Sequential(nn.PixelShuffle(scale), nn.Conv2d(width // scale**2, bands, 3, padding=1, bias=False))

    def begin_with_nothing(self) -> None:
        """Let the head write zeros until it has learnt."""
        for weight in self.head.parameters():
            nn.init.zeros_(weight)

    def fuse(self, shallow: Tensor, prior: Tensor, deeper: Tensor | None = None) -> Tensor:
        """Fused map (N, width, h, w) of shallow (N, width, h, w), prior (N, 12, h, w) and deeper (N, width, h, w)."""
        enhanced = shallow + self.enhance(shallow)
        prior = self.enhance_prior(prior)
        parts = (enhanced, prior) if deeper is None else (deeper, prior, enhanced)
        return self.fusion(torch.cat(parts, dim=1))

    def restore(self, shallow: Tensor, fused: Tensor, base: Tensor | None = None) -> Tensor:
        """Image (N, bands, scale * h, scale * w) from this level's shallow features, cleared by its fused map, added to base."""
        image = self.head(self.pgff(shallow, fused))
        return image if base is None else base + image


def inversion_of(bands: int, *, residual: bool, inversion: bool) -> Inversion | None:
    """The inversion of a network that has one. Raises ValueError unless it is residual."""
    if inversion and not residual:
        raise ValueError("inversion = True needs residual = True: what the inversion leaves is what the network adds to.")
    return Inversion(bands) if inversion else None


def within_reach(inverted: Tensor) -> Tensor:
    """An inverted image clamped to [-0.5, 1.5]: what lies farther out is a mistake, and the network should not see it."""
    return inverted.clamp(-0.5, 1.5)


def _down_sampling(channels: int) -> nn.Sequential:
    """(N, channels, H, W) to (N, 2 channels, H/2, W/2)."""
    return nn.Sequential(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))


def _up_sampling(channels: int) -> nn.Sequential:
    """(N, channels, H, W) to (N, channels / 2, 2 H, 2 W)."""
    return nn.Sequential(nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False), nn.PixelShuffle(2))
