"""Removal of an overlay: an even cloud that a map program laid over a whole image.

The pairs of RICE1 show how such a program draws cloud. It is gray, and as bright as it is opaque:
the opacity s turns the clear image J into I = (1 - s) J + s^2, in all bands alike. So one number
restores an image. 56 training pairs have 18.9 dB untouched, and 35.4 dB with the best number for
each, as `ThiefCloud/fit_overlay.py` prints.

Statistics of an image tell s, and whether there is an overlay at all: dry ground without cloud can
look alike. So one small network recognises overlays, and another one tells their opacity. Images
in which none is recognised stay as they are, bit for bit.

What is left then is nearly clear. An inversion that has seen few overlays harms more of it than it
mends if it is followed as far as elsewhere. So the overlay holds its trust in the inversion, too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thiefcloud.network.statistics import (
    STATISTICS,
    centred,
    fill,
    has_data,
    image_statistics,
)

# Hidden values of the perceptrons, the best of some in cross-validation over RICE1.
_OPACITY = (64, 64)
_RECOGNITION = (128, 128, 128)
_SLOWNESS = 0.25  # scale of the output; without it the first steps of training overshoot
_THINNEST = 0.02  # opacity; what is thinner is left to the rest of the network
_BLACK = 1e-3  # of ground in float32, because 0 stands for no data


class Overlay(nn.Module):
    """Opacity of overlays, told from statistics of images. Untrained it recognises none.

    Its buffer `trust`, from 0 to 1, says how far the inversion is followed where it recognises one.

    Args:
        bands: number of bands of the images.

    Shape: `image_statistics` (N, 2 bands - 1, 9) to (N,) in [0, 1), float32.
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        inputs = (2 * bands - 1) * STATISTICS
        self.opacity = Perceptron(inputs, _OPACITY)
        self.recognition = Perceptron(inputs, _RECOGNITION, output=-1.0)
        self.trust: Tensor
        self.register_buffer("trust", torch.ones(()))

    def forward(self, statistics: Tensor) -> Tensor:
        """Tell the opacity, 0 where no overlay is recognised or it is thinner than 0.02."""
        opacity = self.raw_opacity(statistics)
        is_overlay = (self.recognition(statistics) > 0) & (opacity > _THINNEST)
        return torch.where(is_overlay, opacity, 0)

    def raw_opacity(self, statistics: Tensor) -> Tensor:
        """Tell the opacity as if there was an overlay, (N,) in (0, 1)."""
        return torch.sigmoid(_SLOWNESS * self.opacity(statistics))


class Perceptron(nn.Module):
    """One number from statistics, by a perceptron with ReLU.

    It computes in float32 if its weights are of half precision, too.

    Args:
        inputs: numbers of an image.
        hidden: numbers of hidden values.
        output: what it says of all images until it is trained.

    Shape: (N, rows, 9) to (N,), float32.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], output: float = 0.0) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        self.hidden = nn.ModuleList(map(nn.Linear, widths[:-1], hidden))
        self.last = nn.Linear(hidden[-1], 1)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, output)

    def forward(self, statistics: Tensor) -> Tensor:
        """Compute the number of each image."""
        with torch.autocast(statistics.device.type, enabled=False):
            values = centred(statistics.flatten(1).float())
            for layer in self.hidden:
                values = F.relu(_linear(layer, values))
            return _linear(self.last, values)[:, 0]


class Uncovered(NamedTuple):
    """Images without their overlays."""

    images: Tensor
    """(N, bands, H, W)."""
    statistics: Tensor | None
    """(N, rows, 9), those of these images, if any were given or computed."""
    opacity: Tensor
    """(N, 1, 1, 1): that of the overlays, 0 where there was none."""
    trust: Tensor
    """(N, 1, 1, 1): how far the inversion is followed, 1 where there was no overlay."""

    def with_overlay(self, thickness: Tensor) -> Tensor:
        """Return the thickness (N, 1, H, W) of overlay and cloud, given that of the cloud."""
        return thickness + self.opacity.to(thickness) * (1 - thickness)

    def followed(self, inverted: Tensor) -> Tensor:
        """Return inverted images, or these, or what lies between them, as `trust` says."""
        return torch.lerp(self.images.to(inverted), inverted, self.trust.to(inverted))

    def total_gain(self, gain: Tensor) -> Tensor:
        """Return the gain of overlay and inversion together.

        Args:
            gain: (N, bands, H, W), that of the inversion.

        Returns:
            The same shape, 1 in pixels without data.
        """
        followed = torch.lerp(torch.ones_like(gain), gain, self.trust.to(gain))
        return followed * torch.where(has_data(self.images), 1 / (1 - self.opacity), 1)


def uncover(
    overlay: Overlay | None,
    images: Tensor,
    statistics: Tensor | None,
    stays: Tensor | None = None,
) -> Uncovered:
    """Remove the overlays of images.

    Args:
        overlay: the network that tells them. None: nothing is removed.
        images: (N, bands, H, W). Pixels that are 0 in all bands hold no data, and stay 0.
        statistics: (N, rows, 9), those of the whole scene if the images are parts of one.
            Default: `image_statistics`.
        stays: (N,) bool, images whose overlay is not removed. Default: none.
    """
    if overlay is None:
        none = images.new_zeros(images.shape[0], 1, 1, 1)
        return Uncovered(images, statistics, none, torch.ones_like(none))

    valid = has_data(images)
    if statistics is None:
        statistics = image_statistics(fill(images, valid))
    opacity = overlay(statistics)
    if stays is not None:
        opacity = torch.where(stays, 0, opacity)

    each = opacity[:, None, None, None]
    uncovered = ((images.float() - each.square()) / (1 - each)).clamp(_BLACK, 1.0).to(images)
    changes = valid & (each > 0)
    statistics = statistics_without_overlay(statistics, opacity)
    trust = torch.where(each > 0, overlay.trust.to(each), 1)
    return Uncovered(torch.where(changes, uncovered, images), statistics, each, trust)


def statistics_under_overlay(statistics: Tensor, opacity: Tensor) -> Tensor:
    """Return `image_statistics` (N, rows, 9) of images after overlays (N,) are laid over them."""
    opacity = opacity[:, None, None]
    return (1 - opacity) * statistics + opacity.square() * _moved_by_light(statistics)


def statistics_without_overlay(statistics: Tensor, opacity: Tensor) -> Tensor:
    """Return `image_statistics` (N, rows, 9) of images after overlays (N,) are taken away.

    Pixels below 0 or above 1 become 0 or 1, and so do levels of the bands.
    """
    opacity = opacity[:, None, None]
    moved = _moved_by_light(statistics)
    found = (statistics - opacity.square() * moved) / (1 - opacity)
    return torch.where((moved > 0) & (opacity > 0), found.clamp(0, 1), found)


def _moved_by_light(statistics: Tensor) -> Tensor:
    """Return 1 for statistics that added light shifts: not deviations, nor those of differences."""
    _, rows, numbers = statistics.shape
    is_band = torch.arange(rows, device=statistics.device) < (rows + 1) // 2
    is_level = torch.arange(numbers, device=statistics.device) != 1
    return (is_band[:, None] & is_level).to(statistics)


def _linear(layer: nn.Module, values: Tensor) -> Tensor:
    """Compute a linear layer in float32."""
    assert isinstance(layer, nn.Linear)
    return F.linear(values, layer.weight.float(), layer.bias.float())
