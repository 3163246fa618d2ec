"""Fit the coarsest step of the inversion: gain and offset of the whole image, from its statistics alone.

An even haze with the transmission t and the air light A maps statistics to statistics: a quantile
or mean q becomes t q + A (1 - t), a deviation d becomes t d. So hazes are drawn and errors are
computed without a pixel, thousands of images a second.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from torch import Tensor
from tqdm import tqdm

from thiefcloud.inversion import Inversion, fill, has_data, image_statistics

_RATE = 6e-3  # of Adam; it falls to 0 as a cosine
_BATCH = 192  # images in a step
_NOISE = 0.01  # on the statistics, so that images are not learnt by heart
_CLEAR = 0.15  # fraction of the drawn hazes that are none
_THICKEST = 0.92  # opacity of a drawn haze at a middle wavelength
_SMALLEST_ERROR = 1e-5  # in the mean square; below it nothing is to be gained


class Moments(NamedTuple):
    """Statistics of pairs of images that tell of an even haze."""

    cloudy: Tensor
    """(N, bands, 11), `image_statistics` of the cloudy images."""
    clear: Tensor
    """The same of the clear ones."""
    product: Tensor
    """(N, bands): mean of cloudy times clear."""

    @classmethod
    def of(cls, cloudy: Tensor, clear: Tensor) -> Self:
        """Compute them for images (N, bands, H, W); pixels that are 0 in all bands of both hold no data."""
        valid = has_data(cloudy) | has_data(clear)
        cloudy, clear = fill(cloudy, valid), fill(clear, valid)
        return cls(image_statistics(cloudy), image_statistics(clear), (cloudy * clear).mean((2, 3)))

    def squared_error(self, gain: Tensor, offset: Tensor) -> Tensor:
        """Mean squared error (N) of gain * cloudy + offset against the clear images; both (N, bands)."""
        (mean, deviation), (clear_mean, clear_deviation) = (part[:, :, :2].unbind(2) for part in (self.cloudy, self.clear))
        difference = gain * mean + offset - clear_mean
        covariance = self.product - mean * clear_mean
        variance = (gain * deviation).square() + clear_deviation.square() - 2 * gain * covariance
        return (difference.square() + variance).mean(1).clamp_min(0)

    def hazed(self, transmission: Tensor, added: Tensor) -> Self:
        """The clear images of these pairs under even hazes: transmission and what they add, each (N, bands)."""
        cloudy = transmission[:, :, None] * self.clear + added[:, :, None]
        cloudy[:, :, 1] -= added  # a deviation does not shift
        square = self.clear[:, :, :2].square().sum(2)
        return self._replace(cloudy=cloudy, product=transmission * square + added * self.clear[:, :, 0])

    def some(self, count: int, random: torch.Generator) -> Self:
        """Random ones of the pairs."""
        numbers = torch.randint(len(self.product), (count,), generator=random).to(self.product.device)
        return type(self)(*(part[numbers] for part in self))


def fit_even(
    inversion: Inversion,
    pairs: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    seed: int = 0,
    show_progress: bool = True,
) -> float:
    """Fit gain and offset of the whole image to pairs, half of each batch as they are, half under drawn hazes.

    Args:
        inversion: what is fitted, in place.
        pairs: cloudy and clear images (N, bands, H, W), each seen once.
        steps: of Adam.
        seed: of the hazes, the order and the noise.
        show_progress: whether to show progress bars.

    Returns:
        Root mean square error over the pairs.
    """
    bar = tqdm(pairs, desc="reading statistics", unit="image", leave=False, disable=not show_progress)
    moments = Moments(*(torch.cat(parts) for parts in zip(*(Moments.of(*pair) for pair in bar), strict=True)))
    random = torch.Generator().manual_seed(seed)
    weights = [*inversion.from_image.parameters(), *inversion.even.parameters()]
    optimizer = torch.optim.Adam(weights, lr=_RATE)

    for step in tqdm(range(steps), desc="fitting even haze", unit="step", leave=False, disable=not show_progress):
        optimizer.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        real, clear = (moments.some(count, random) for count in (_BATCH - _BATCH // 2, _BATCH // 2))
        hazes = (part.to(clear.product) for part in random_hazes(len(clear.product), clear.product.shape[1], random))
        batch = Moments(*(torch.cat(parts) for parts in zip(real, clear.hazed(*hazes), strict=True)))
        noise = (_NOISE * torch.randn(batch.cloudy.shape, generator=random)).to(batch.cloudy)

        error = batch.squared_error(*inversion.even_gain_and_offset(batch.cloudy + noise))
        optimizer.zero_grad(set_to_none=True)
        (error + _SMALLEST_ERROR).sqrt().mean().backward()
        optimizer.step()

    with torch.no_grad():
        return float(moments.squared_error(*inversion.even_gain_and_offset(moments.cloudy)).mean().sqrt())


def random_hazes(count: int, bands: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw even hazes, some of which are none.

    Args:
        count, bands: how many, the longest wavelength first, as in RGB: haze dims it least.
        random: on the CPU, where the hazes lie too.

    Returns:
        Transmission and what is added, each (count, bands).
    """
    chance = torch.rand(4, count, 1, generator=random)
    transmission = torch.where(chance[0] < _CLEAR, 1.0, 1 - _THICKEST * chance[1])
    transmission = transmission ** (1 + 0.2 * chance[3] * torch.linspace(-1, 1, bands))
    air_light = 1 - 0.6 * chance[2] ** 1.5 - 0.08 * torch.rand(count, bands, generator=random)
    return transmission, air_light * (1 - transmission)
