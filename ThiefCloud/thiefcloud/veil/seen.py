"""What the estimators of a veil see of images: statistics of the whole, and of square cells.

A veil with the gain k and the offset b maps statistics to statistics, so veils are drawn and errors are told without a pixel.
"""

import math
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 16  # side of a cell in pixels
CELL_STATISTICS = 4  # mean, standard deviation, least and largest value

_QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
STATISTICS = len(_QUANTILES) + 2  # with mean and standard deviation, which come first
_LOOKED_AT = 2**16  # pixels of an image; more say nothing new
_CLEAR = 0.15  # share of the drawn veils that are none


class Seen(NamedTuple):
    """Statistics of pairs, of whole images or of cells, for each band: mean, standard deviation, then values in between."""

    cloudy: Tensor
    """(N, bands, statistics, ...) of the cloudy images."""
    clear: Tensor
    """The same of the clear ones."""
    product: Tensor
    """(N, bands, ...): mean of cloudy times clear."""

    def squared_error(self, gain: Tensor, offset: Tensor) -> Tensor:
        """Mean squared error (N, ...) of gain * cloudy + offset over the bands; both (N, bands, ...)."""
        (mean, deviation), (clear_mean, clear_deviation) = (part[:, :, :2].unbind(2) for part in (self.cloudy, self.clear))
        difference = gain * mean + offset - clear_mean
        covariance = self.product - mean * clear_mean
        variance = (gain * deviation).square() + clear_deviation.square() - 2 * gain * covariance
        return (difference.square() + variance).mean(1).clamp_min(0)

    def veiled(self, transmission: Tensor, added: Tensor) -> Self:
        """The same pairs, the cloudy images under one more even veil: transmission and what it adds, each (N, bands)."""
        transmission, added = (_beside(part, self.product) for part in (transmission, added))
        product = transmission * self.product + added * self.clear[:, :, 0]
        return self._replace(cloudy=shifted(self.cloudy, transmission, added), product=product)

    def cleared(self) -> Self:
        """The clear images as both halves of their pairs."""
        return self._replace(cloudy=self.clear, product=self.clear[:, :, :2].square().sum(2))

    def of(self, numbers: Tensor) -> Self:
        """Some of the pairs."""
        return type(self)(*(part[numbers] for part in self))

    def where(self, chosen: Tensor, other: Self) -> Self:
        """These pairs where `chosen` (N) is true, else those of `other`."""
        return type(self)(*(torch.where(_beside(chosen, mine), mine, its) for mine, its in zip(self, other, strict=True)))


def statistics(images: Tensor) -> Tensor:
    """Mean, standard deviation and quantiles of each band: (N, bands, H, W) to float32 (N, bands, 11)."""
    step = max(1, math.isqrt(images.shape[-2] * images.shape[-1] // _LOOKED_AT))
    pixels = images[..., ::step, ::step].flatten(2).float()
    quantiles = torch.quantile(pixels, torch.tensor(_QUANTILES, device=images.device), dim=2).movedim(0, 2)
    return torch.cat((pixels.mean(2, keepdim=True), pixels.std(2, correction=0, keepdim=True), quantiles), dim=2)


def cells(images: Tensor) -> Tensor:
    """Mean, standard deviation, least and largest value of each cell: (N, bands, H, W) to float32 (N, bands, 4, h, w).

    Cells are squares of 16 pixels from the top left; those at the bottom and right may be cut off.
    """
    images = images.float()
    mean = _means(images)
    deviation = (_means(images.square()) - mean.square()).clamp_min(0).sqrt()
    largest, least = (F.max_pool2d(part, CELL, ceil_mode=True) for part in (images, -images))
    return torch.stack((mean, deviation, -least, largest), dim=2)


def has_data(images: Tensor) -> Tensor:
    """Which pixels (N, 1, H, W) are not 0 in all bands, as they are around a scene that was turned to the north."""
    return images.any(1, keepdim=True)


def filled(images: Tensor, there: Tensor) -> Tensor:
    """Images (N, bands, H, W) that have the mean of the pixels that are there (N, 1, H, W) at all others.

    So what is without data is not taken for dark ground.
    """
    mean = torch.where(there, images, 0).sum((2, 3), keepdim=True) / there.sum((2, 3), keepdim=True).clamp_min(1)
    return torch.where(there, images, mean)


def see(cloudy: Tensor, clear: Tensor) -> Seen:
    """What whole images (N, bands, H, W) tell."""
    return Seen(statistics(cloudy), statistics(clear), (cloudy * clear).mean((2, 3)))


def see_cells(cloudy: Tensor, clear: Tensor) -> Seen:
    """What their cells tell."""
    return Seen(cells(cloudy), cells(clear), _means(cloudy * clear))


def shifted(seen: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Statistics (N, bands, statistics, ...) of gain * image + offset, both (N, bands, ...), from those of the image."""
    moved = gain[:, :, None] * seen + offset[:, :, None]
    moved[:, :, 1] -= offset  # a deviation does not shift
    return moved


def random_veils(count: int, bands: int, random: torch.Generator, *, thickest: float = 0.92) -> tuple[Tensor, Tensor]:
    """Transmission and what is added, each (count, bands), of random even veils; some are none.

    Args:
        count, bands: how many, the longest wavelength first, as in RGB: haze dims it least.
        random: on the CPU, where the veils lie too.
        thickest: opacity of the thickest, at a middle wavelength.
    """
    share = torch.rand(4, count, 1, generator=random)
    transmission = torch.where(share[0] < _CLEAR, 1.0, 1 - thickest * share[1])
    transmission = transmission ** (1 + 0.2 * share[3] * torch.linspace(-1, 1, bands))
    air_light = 1 - 0.6 * share[2] ** 1.5 - 0.03 * torch.rand(count, bands, generator=random)
    return transmission, air_light * (1 - transmission)


def _means(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, CELL, ceil_mode=True)


def _beside(values: Tensor, maps: Tensor) -> Tensor:
    """Values with as many axes as the maps, on their device."""
    return values.to(maps.device).reshape(*values.shape, *(1,) * (maps.ndim - values.ndim))
