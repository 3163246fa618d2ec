"""ThiefCloud, the thin cloud removal network: a pyramid of three levels, guided by a prior."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from scpm import PRIOR_WIDTH, SCPM, Prior
from thiefcloud.network.afe import AFE
from thiefcloud.network.base import NoPrior, RemovalNetwork, Restoration, switches_of
from thiefcloud.network.inversion import Inversion
from thiefcloud.network.pgff import PGFF


class ThiefCloud(RemovalNetwork):
    """Thin cloud removal network (paper, figure 1).

    The paper's network writes the clear image itself. With `residual` it writes what to add to the
    cloudy image, at first nothing: short trainings then keep texture, and clear images stay as they
    are.

    Args:
        prior: the cloud prior, whose three feature maps guide the levels. It is saved with the
            network.
        in_channels: bands of input and output, as many as the prior takes.
        residual: learn what to add to the image instead of the clear image itself.
        inversion: solve the scattering model first (`Inversion`, guided by the prior), and learn
            what to add to that; needs `residual`.

    Shape: cloudy images (N, in_channels, H, W) in [0, 1] to a `Restoration`. H and W must be
    multiples of 8; `restore` takes any size.
    """

    kind = "thiefcloud"
    takes_prior = True

    def __init__(
        self,
        prior: SCPM | NoPrior,
        in_channels: int = 3,
        *,
        residual: bool = False,
        inversion: bool = False,
    ) -> None:
        super().__init__(in_channels, residual=residual, inversion=inversion)
        self.inversion = Inversion(in_channels) if inversion else None
        self.replace_prior(prior)

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
                level.zero_head()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prior: SCPM | NoPrior | None = None) -> Self:
        """Build a network; see `RemovalNetwork`."""
        if prior is None and config["prior"] is None:
            prior = NoPrior(config["in_channels"])
        elif prior is None:
            prior = SCPM(**config["prior"])
        return cls(prior, config["in_channels"], **switches_of(config))

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        """Remove what cloud the inversion has left; see `RemovalNetwork`."""
        # Features of the image at three scales.
        full = self.shallow(image)
        half = self.down_half(full)
        quarter = self.down_quarter(half)

        # Fuse them with those of the prior, from coarse to fine.
        fused_quarter = self.level_quarter.fuse(quarter, prior.quarter)
        fused_half = self.level_half.fuse(half, prior.half, self.up_half(fused_quarter))
        fused_full = self.level_full.fuse(full, prior.full, self.up_full(fused_half))

        # Write the restored image, and those of the other levels for the loss.
        base = image if self.residual else None
        restored = self.level_full.restore(full, fused_full, base)
        if not supervision:
            return Restoration(restored, None, None, prior.thickness)
        return Restoration(
            restored=restored,
            half=self.level_half.restore(half, fused_half, base),
            quarter=self.level_quarter.restore(quarter, fused_quarter, base),
            thickness=prior.thickness,
            inverted=image if self.inversion is not None else None,
        )

    def gated_parts(self, image: Tensor, prior: Prior) -> Iterator[tuple[nn.Module, Tensor]]:
        """Yield the parts with gates; see `RemovalNetwork`."""
        full = self.shallow(image)
        half = self.down_half(full)
        yield self.level_quarter.enhance, self.down_quarter(half)
        yield self.level_quarter.enhance_prior, prior.quarter
        yield self.level_half.enhance, half
        yield self.level_half.enhance_prior, prior.half
        yield self.level_full.enhance, full
        yield self.level_full.enhance_prior, prior.full

    def replace_prior(self, prior: SCPM | NoPrior) -> Self:
        """Take another prior, for example one that was trained longer.

        Raises:
            ValueError: it takes another number of bands.
        """
        if prior.in_channels != self.in_channels:
            raise ValueError(
                f"the prior takes {prior.in_channels} bands, expected in_channels = "
                f"{self.in_channels}."
            )
        self.prior = prior
        self.config["prior"] = prior.config
        return self


class Level(nn.Module):
    """One level of the pyramid.

    AFEs enhance its shallow features and those of the prior. Both are fused, PGFF clears the
    shallow features, and a head writes the image.

    Args:
        width: channels of this level.
        depth: number of AFEs on the shallow features.
        scale: side of the image divided by that of this level's maps.
        bands: channels of the image that the head writes.
        joins_deeper: fuse the next deeper level's map too, upsampled to `width` channels.
    """

    def __init__(
        self, width: int, *, depth: int, scale: int, bands: int, joins_deeper: bool
    ) -> None:
        super().__init__()
        self.enhance = nn.Sequential(*(AFE(width) for _ in range(depth)))
        self.enhance_prior = AFE(PRIOR_WIDTH)

        joined = width + PRIOR_WIDTH
        if joins_deeper:
            joined += width
        self.fusion = nn.Sequential(nn.Conv2d(joined, width, 3, padding=1), nn.ReLU(inplace=True))
        self.pgff = PGFF(width)
        self.head = nn.Sequential(
            nn.PixelShuffle(scale), nn.Conv2d(width // scale**2, bands, 3, padding=1, bias=False)
        )

    def zero_head(self) -> None:
        """Let the head write zeros until it has learnt."""
        for weight in self.head.parameters():
            nn.init.zeros_(weight)

    def fuse(self, shallow: Tensor, prior: Tensor, deeper: Tensor | None = None) -> Tensor:
        """Fuse the features of a level.

        Args:
            shallow: (N, width, h, w), features of the image.
            prior: (N, 12, h, w), features of the prior.
            deeper: (N, width, h, w), the upsampled map of the next deeper level, if any.

        Returns:
            The fused map (N, width, h, w).
        """
        enhanced = shallow + self.enhance(shallow)
        prior = self.enhance_prior(prior)
        parts = (enhanced, prior) if deeper is None else (deeper, prior, enhanced)
        return self.fusion(torch.cat(parts, dim=1))

    def restore(self, shallow: Tensor, fused: Tensor, base: Tensor | None = None) -> Tensor:
        """Write the image of a level.

        Args:
            shallow: (N, width, h, w), features of the image.
            fused: (N, width, h, w), the map that clears them.
            base: (N, bands, scale * h, scale * w), added to the image, if any.

        Returns:
            The image (N, bands, scale * h, scale * w).
        """
        image = self.head(self.pgff(shallow, fused))
        return image if base is None else base + image


def _down_sampling(channels: int) -> nn.Sequential:
    """Build layers that take (N, channels, H, W) to (N, 2 channels, H/2, W/2)."""
    return nn.Sequential(
        nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2)
    )


def _up_sampling(channels: int) -> nn.Sequential:
    """Build layers that take (N, channels, H, W) to (N, channels / 2, 2 H, 2 W)."""
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False), nn.PixelShuffle(2)
    )
