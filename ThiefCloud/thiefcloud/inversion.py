"""The guided inversion: solve the scattering model for the clear image, place by place, before the network begins.

A cloud turns the clear image J into I = J t + A (1 - t), so J = k I + b with the gain k = 1 / t and
the offset b = A (1 - k). Both change slowly from place to place, so a network on a grid of cells of
4 pixels can estimate them: it sees far, costs little and can be trained long. It looks at three
things:

* cells: mean, deviation, least and largest value of each band within 4 x 4 pixels;
* the guide: the thickness and the features of the cloud prior SCPM, averaged over the same cells;
* statistics of the whole image, which tell an even haze that no neighbourhood shows.

A U-Net writes the estimate from coarse to fine: the statistics give one gain and offset for the
whole image, and each level of the decoder, from cells of 32 pixels to cells of 4, adds what it
knows better.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scpm import PRIOR_WIDTH, Prior

CELL = 4  # side of a cell in pixels
STATISTICS = 11  # numbers of `statistics` for each band

_CELL_STATISTICS = 4
_QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_SAMPLED = 2**16  # pixels from which statistics are computed; more change nothing
_WIDTHS = (48, 96, 144, 192)  # channels of the levels, cells of 4, 8, 16 and 32 pixels
_CONTEXT = 64  # hidden values of the whole image
_GUIDE = 1 + 3 * PRIOR_WIDTH  # the thickness, and the features of three levels
_SLOPE = 0.1  # of activations below 0
_STEP = 0.25  # of what the heads write: all of them sum up, and at full size the first steps of a training overshoot
_STEEPEST = 2.5  # logarithm of the largest gain: light that is less than a twelfth is not restored in full
_CLOUD = 0.9  # brightness of most clouds: what the estimate adds to b = A (1 - k) with this A is small


class Inversion(nn.Module):
    """Removes the cloud that gain and offset can describe. Untrained it changes nothing.

    Args:
        bands: number of bands of the images.

    Shape: images (N, bands, H, W) in [0, 1], H and W multiples of 8, and their `Prior`, to (N,
    bands, H, W), not clamped.
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        first, last = _WIDTHS[0], _WIDTHS[-1]
        self.from_cells = nn.Conv2d(bands * _CELL_STATISTICS, first, 1)
        self.from_guide = nn.Conv2d(_GUIDE, first, 1, bias=False)
        self.from_image = nn.Sequential(
            nn.Linear(bands * STATISTICS, _CONTEXT), nn.ReLU(), nn.Linear(_CONTEXT, _CONTEXT), nn.ReLU()
        )
        self.context_first, self.context_last = nn.Linear(_CONTEXT, first), nn.Linear(_CONTEXT, last)
        self.even = nn.Linear(_CONTEXT, 2 * bands)

        self.encoders = nn.ModuleList(Block(width) for width in _WIDTHS)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 1) for fine, coarse in pairwise(_WIDTHS))
        self.ups = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(_WIDTHS))
        self.decoders = nn.ModuleList(Block(width) for width in _WIDTHS)
        self.heads = nn.ModuleList(nn.Conv2d(width, 2 * bands, 1) for width in _WIDTHS)

        nn.init.zeros_(self.from_guide.weight)  # so that a prior can join weights that were trained without one
        for layer in (self.even, *self.heads):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, prior: Prior, statistics: Tensor | None = None) -> Tensor:
        """Invert images.

        Args:
            images: (N, bands, H, W). Pixels that are 0 in all bands hold no data: they are ignored,
                and stay 0.
            prior: what the cloud prior sees in them.
            statistics: (N, bands, 11), those of the whole scene where the images are parts of one.
                Default: `image_statistics`.
        """
        with torch.autocast(images.device.type, enabled=False):  # half precision would show as a cast
            images, prior = images.float(), Prior(*(part.float() for part in prior))
            valid = has_data(images)
            ground = fill(images, valid)
            statistics = image_statistics(ground) if statistics is None else statistics
            gain, offset = self.gain_and_offset(cell_statistics(ground), guide(prior), statistics)
            inverted = torch.addcmul(_to_pixels(offset), _to_pixels(gain), images)
            return torch.where(valid, inverted, images)

    def gain_and_offset(self, cells: Tensor, guide: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset of every cell, each (N, bands, h, w).

        Args:
            cells: `cell_statistics`, (N, 4 bands, h, w).
            guide: `guide`, (N, 37, h, w).
            statistics: `image_statistics`, (N, bands, 11).
        """
        context = self.from_image(_centred(statistics.flatten(1)))
        features = self.from_cells(_centred(cells)) + self.from_guide(guide) + _everywhere(self.context_first(context))

        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            if level > 0:
                features = self.downs[level - 1](F.avg_pool2d(features, 2, ceil_mode=True))
            features = encoder(features)
            skips.append(features)

        features = features + _everywhere(self.context_last(context))
        estimate = _everywhere(self.even(context))
        for level in reversed(range(len(_WIDTHS))):
            if level < len(_WIDTHS) - 1:
                features = skips[level] + self.ups[level](_double(features, skips[level]))
                estimate = _double(estimate, skips[level])
            features = self.decoders[level](features)
            estimate = estimate + self.heads[level](features)

        return _gain_and_offset(estimate)

    def even_gain_and_offset(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and offset of whole images, each (N, bands), from their statistics (N, bands, 11): the coarsest step alone."""
        return _gain_and_offset(self.even(self.from_image(_centred(statistics.flatten(1)))))


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each place: (N, width, h, w) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise."""
        normalised: Tensor = self.norm(features.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class Block(nn.Module):
    """Two 3x3 convolutions with a path around them; the border is repeated, so that it leaves no frame.

    Shape: (N, width, h, w) to the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ChannelNorm(width),
            nn.LeakyReLU(_SLOPE),  # with ReLU the decoders went silent where even haze is in the training images
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Add what the convolutions find."""
        return features + self.layers(features)


def image_statistics(images: Tensor) -> Tensor:
    """Mean, standard deviation and nine quantiles of each band: (N, bands, H, W) to float32 (N, bands, 11)."""
    step = max(1, math.isqrt(images.shape[-2] * images.shape[-1] // _SAMPLED))
    pixels = images[..., ::step, ::step].flatten(2).float()
    quantiles = torch.quantile(pixels, torch.tensor(_QUANTILES, device=images.device), dim=2).movedim(0, 2)
    return torch.cat((pixels.mean(2, keepdim=True), pixels.std(2, correction=0, keepdim=True), quantiles), dim=2)


def cell_statistics(images: Tensor) -> Tensor:
    """Mean, standard deviation, least and largest value of each band in cells: (N, bands, H, W) to (N, 4 bands, H/4, W/4)."""
    mean = F.avg_pool2d(images, CELL)
    deviation = (F.avg_pool2d(images.square(), CELL) - mean.square()).clamp_min(1e-8).sqrt()
    return torch.cat((mean, deviation, -F.max_pool2d(-images, CELL), F.max_pool2d(images, CELL)), dim=1)


def guide(prior: Prior) -> Tensor:
    """Thickness and features of the prior in cells: (N, 37, H/4, W/4)."""
    parts = (F.avg_pool2d(prior.thickness, 4), F.avg_pool2d(prior.full, 4), F.avg_pool2d(prior.half, 2), prior.quarter)
    return torch.cat(parts, dim=1)


def has_data(images: Tensor) -> Tensor:
    """Pixels (N, 1, H, W) that are not 0 in all bands, as they are around a scene that was rotated to the north."""
    return images.any(1, keepdim=True)


def fill(images: Tensor, valid: Tensor) -> Tensor:
    """Images (N, bands, H, W) with the mean of their valid pixels (N, 1, H, W) at all others, lest these pass for dark ground."""
    mean = torch.where(valid, images, 0).sum((2, 3), keepdim=True) / valid.sum((2, 3), keepdim=True).clamp_min(1)
    return torch.where(valid, images, mean)


def _gain_and_offset(estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset, each (N, bands, ...), from what the heads write, (N, 2 bands, ...)."""
    log_gain, rest = (_STEP * estimate).chunk(2, dim=1)
    gain = torch.exp(_STEEPEST * torch.tanh(log_gain / _STEEPEST))  # a hard bound would stop what learns beyond it
    return gain, _CLOUD * (1 - gain) + rest


def _centred(values: Tensor) -> Tensor:
    """Values from about 0 to 1 with a mean near 0 and a deviation near 1, from which networks learn fastest."""
    return 4 * (values - 0.4)


def _everywhere(values: Tensor) -> Tensor:
    return values[..., None, None]


def _double(coarse: Tensor, fine: Tensor) -> Tensor:
    """A coarse map at the size of a fine one, of which the last row and column of coarse cells may lack a half."""
    doubled = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., : fine.shape[-2], : fine.shape[-1]]


def _to_pixels(values: Tensor) -> Tensor:
    return F.interpolate(values, scale_factor=CELL, mode="bilinear", align_corners=False)
