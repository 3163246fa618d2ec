"""Guided inversion: the scattering model, solved for the clear image before the network begins.

A cloud of the colour A turns the clear image J into I = J t + A (1 - t). So J = k I + A (1 - k),
with the gain k = 1 / t. The cloud prior SCPM says how thick the cloud is, 1 - t, at each pixel. A
network on a grid of cells of 4 pixels corrects it: it estimates the colour of the cloud, how far
the prior is trusted, and a gain of its own. It has a large receptive field, costs little and can be
trained long. It has three inputs:

* cells: mean, deviation, least and largest value of each band within 4 x 4 pixels;
* the guide: the thickness and the features of the cloud prior SCPM, averaged over the same cells;
* statistics of the whole image, which tell an even haze that no neighbourhood shows.

A U-Net writes the estimate from coarse to fine. The statistics give one estimate for the whole
image. Each level of the decoder, from cells of 32 pixels to cells of 4, adds its correction.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from scpm import Prior
from thiefcloud.network.statistics import (
    CELL,
    CELL_STATISTICS,
    GUIDE,
    STATISTICS,
    cell_statistics,
    centred,
    fill,
    guide,
    has_data,
    image_statistics,
)

_WIDTHS = (48, 96, 144, 192)  # channels of the levels, cells of 4, 8, 16 and 32 pixels
_CONTEXT = 64  # hidden values of the whole image
_SLOPE = 0.1  # of activations below 0
_STEP = 0.25  # scale of the heads; without it their sum overshoots in the first steps of training
_MAPS = 3  # that the heads write for each band: log gain, colour, trust
_STEEPEST = 2.5  # logarithm of the largest gain, which is 12
_CLOUD = 0.95  # brightness of most clouds
_CLEAR = 0.03  # thickness that the prior reads over clear ground
_RESTORABLE = 0.92  # thickness from which cloud is taken for opaque


class Inversion(nn.Module):
    """Removal of the cloud that a gain and a colour can describe. Untrained it trusts the prior.

    It computes in float32 if its weights are of half precision, because rounded gains would show
    as a colour cast.

    Args:
        bands: number of bands of the images.

    Shape: images (N, bands, H, W) in [0, 1], H and W multiples of 8, and their `Prior`, to (N,
    bands, H, W), not clamped.
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        self.bands = bands
        first, last = _WIDTHS[0], _WIDTHS[-1]
        self.from_cells = nn.Conv2d(bands * CELL_STATISTICS, first, 1)
        self.from_guide = nn.Conv2d(GUIDE, first, 1, bias=False)
        self.from_image = nn.Sequential(
            nn.Linear(bands * STATISTICS, _CONTEXT),
            nn.ReLU(),
            nn.Linear(_CONTEXT, _CONTEXT),
            nn.ReLU(),
        )

        self.context_first = nn.Linear(_CONTEXT, first)
        self.context_last = nn.Linear(_CONTEXT, last)
        self.even = nn.Linear(_CONTEXT, _MAPS * bands)

        self.encoders = _blocks()
        self.downs = _pointwise(_WIDTHS[:-1], _WIDTHS[1:])
        self.ups = _pointwise(_WIDTHS[1:], _WIDTHS[:-1])
        self.decoders = _blocks()
        self.heads = _pointwise(_WIDTHS, [_MAPS * bands] * len(_WIDTHS))

        # With zeros here a prior can join weights that were trained without one.
        nn.init.zeros_(self.from_guide.weight)
        for layer in (self.even, *self.heads):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        images: Tensor,
        prior: Prior,
        statistics: Tensor | None = None,
        *,
        gain_alone: bool = False,
    ) -> Tensor:
        """Invert images.

        Args:
            images: (N, bands, H, W). Pixels that are 0 in all bands hold no data: they are ignored,
                and stay 0.
            prior: the cloud prior's outputs for them.
            statistics: (N, rows, 9), those of the whole scene if the images are parts of one.
                Default: `image_statistics`.
            gain_alone: return the gain k instead, which is 1 in pixels without data.

        Returns:
            The inverted images, in the dtype of the weights.
        """
        stored = self.even.weight.dtype
        dtype = torch.promote_types(stored, torch.float32)
        if stored != dtype:
            weights = {name: weight.to(dtype) for name, weight in self.named_parameters()}
            arguments = (images, prior, statistics)
            result = functional_call(self, weights, arguments, {"gain_alone": gain_alone})
            return result.to(stored)

        # Autocast would round the gains too.
        with torch.autocast(images.device.type, enabled=False):
            images = images.to(dtype)
            valid = has_data(images)
            ground = fill(images, valid)
            if statistics is None:
                statistics = image_statistics(ground)
            prior = Prior._make(part.to(dtype) for part in prior)
            cells = cell_statistics(ground)
            estimate = self.estimate(cells, guide(prior), statistics.to(dtype))

            log_gain, colour, trust = _to_pixels(estimate).chunk(_MAPS, dim=1)
            gain = total_gain(log_gain, trust, prior.thickness)
            if gain_alone:
                return torch.where(valid, gain, 1)
            inverted = torch.lerp(colour, images, gain)  # k I + A (1 - k)
            return torch.where(valid, inverted, images)

    def estimate(self, cells: Tensor, guide: Tensor, statistics: Tensor) -> Tensor:
        """Estimate three maps for each band: log gain, colour of the cloud, trust in the prior.

        Args:
            cells: `cell_statistics`, (N, 4 bands, h, w).
            guide: `guide`, (N, 37, h, w).
            statistics: `image_statistics`, (N, rows, 9).

        Returns:
            The maps, (N, 3 bands, h, w).
        """
        context = self._see_image(statistics)
        features = (
            self.from_cells(centred(cells))
            + self.from_guide(guide)
            + _as_map(self.context_first(context))
        )

        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            if level > 0:
                features = self.downs[level - 1](F.avg_pool2d(features, 2, ceil_mode=True))
            features = encoder(features)
            skips.append(features)

        features = features + _as_map(self.context_last(context))
        estimate = _as_map(self.even(context))
        for level in reversed(range(len(_WIDTHS))):
            if level < len(_WIDTHS) - 1:
                features = skips[level] + self.ups[level](_upsample_to(skips[level], features))
                estimate = _upsample_to(skips[level], estimate)
            features = self.decoders[level](features)
            estimate = estimate + self.heads[level](features)

        return _bounded(estimate)

    def even_gain_and_offset(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate gain and offset of whole images by the coarsest step alone, without the prior.

        Args:
            statistics: `image_statistics`, (N, rows, 9).

        Returns:
            Both (N, bands).
        """
        estimate = _bounded(self.even(self._see_image(statistics)))
        log_gain, colour, _ = estimate.chunk(_MAPS, dim=1)
        gain = log_gain.exp()
        return gain, colour * (1 - gain)

    def _see_image(self, statistics: Tensor) -> Tensor:
        """Compute hidden values (N, 64) from the statistics of the bands."""
        of_bands: Tensor = statistics[:, : self.bands].flatten(1)
        context: Tensor = self.from_image(centred(of_bands))
        return context


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each place.

    Shape: (N, width, h, w) to the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features."""
        normalised: Tensor = self.norm(features.permute(0, 2, 3, 1))
        return normalised.permute(0, 3, 1, 2)


class Block(nn.Module):
    """Residual block of two 3x3 convolutions, which repeat the border so that it leaves no frame.

    Shape: (N, width, h, w) to the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # ReLU instead of LeakyReLU let decoders die if training images had even haze.
        self.layers = nn.Sequential(
            ChannelNorm(width),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Add the output of the convolutions."""
        return features + self.layers(features)


def _blocks() -> nn.ModuleList:
    """Build a block for each level."""
    return nn.ModuleList(Block(width) for width in _WIDTHS)


def _pointwise(inputs: Sequence[int], outputs: Sequence[int]) -> nn.ModuleList:
    """Build a 1x1 convolution for each pair of input and output channels."""
    return nn.ModuleList(map(_conv_1x1, inputs, outputs))


def _conv_1x1(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


def total_gain(log_gain: Tensor, trust: Tensor, thickness: Tensor) -> Tensor:
    """Return the gain that the network and the prior ask for together.

    Args:
        log_gain: logarithm of the network's own gain, (N, bands, H, W).
        trust: factor of the prior's log gain, of the same shape.
        thickness: the prior's thickness 1 - t, (N, 1, H, W), which asks for the gain 1 / t.
    """
    cloud = ((thickness - _CLEAR) / (1 - _CLEAR)).clamp(0.0, _RESTORABLE)
    return torch.exp((log_gain - trust * torch.log1p(-cloud)).clamp_max(_STEEPEST))


def _bounded(estimate: Tensor) -> Tensor:
    """Turn the output of the heads, (N, 3 bands, ...), into log gain, colour and trust.

    The bound of the gain is a soft one, because a hard one has no gradient beyond it.
    """
    log_gain, colour, trust = (_STEP * estimate).chunk(_MAPS, dim=1)
    log_gain = _STEEPEST * torch.tanh(log_gain / _STEEPEST)
    return torch.cat((log_gain, _CLOUD + colour, 2 * torch.sigmoid(trust)), dim=1)


def _as_map(values: Tensor) -> Tensor:
    """Return values (N, C) as a map (N, C, 1, 1), which broadcasts."""
    return values[..., None, None]


def _upsample_to(fine: Tensor, coarse: Tensor) -> Tensor:
    """Upsample a coarse map to the size of a fine one.

    The last row and column of coarse cells may cover one fine cell instead of two.
    """
    doubled = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., : fine.shape[-2], : fine.shape[-1]]


def _to_pixels(values: Tensor) -> Tensor:
    """Upsample a map of cells to pixels."""
    return F.interpolate(values, scale_factor=CELL, mode="bilinear", align_corners=False)
