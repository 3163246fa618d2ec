"""Fit of the coarsest step of the inversion: gain and offset of whole images from statistics.

An even haze with the transmission t and the air light A maps statistics to statistics. A quantile
or mean q becomes t q + A (1 - t), and a deviation d becomes t d. So hazes are drawn and errors are
computed without a pixel, thousands of images a second.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cloudkit.progress import progress_bar
from thiefcloud.network.inversion import Inversion
from thiefcloud.network.statistics import fill, has_data, image_statistics, trimmed

_RATE = 6e-3  # of Adam; it falls to 0 as a cosine
_BATCH = 192  # images in a step
_NOISE = 0.01  # on the statistics, against overfitting
_CLEAR = 0.15  # fraction of the drawn hazes that are none
_THICKEST = 0.92  # opacity of a drawn haze at a middle wavelength
_SMALLEST_ERROR = 1e-5  # in the mean square; smaller errors count as this one


class Moments(NamedTuple):
    """Statistics of pairs of images that suffice for an even haze."""

    cloudy: Tensor
    """(N, bands, 9), `image_statistics` of the bands of the cloudy images."""
    clear: Tensor
    """The same of the clear ones."""
    product: Tensor
    """(N, bands): mean of cloudy times clear, both `trimmed`."""

    @classmethod
    def of(cls, cloudy: Tensor, clear: Tensor) -> Self:
        """Compute the moments of images (N, bands, H, W).

        Pixels that are 0 in all bands of both images hold no data.
        """
        valid = has_data(cloudy) | has_data(clear)
        cloudy, clear = fill(cloudy, valid), fill(clear, valid)

        bands = cloudy.shape[1]
        of_cloudy = image_statistics(cloudy)[:, :bands]
        of_clear = image_statistics(clear)[:, :bands]
        product = trimmed(cloudy, of_cloudy) * trimmed(clear, of_clear)
        return cls(of_cloudy, of_clear, product.mean((2, 3)))

    @classmethod
    def join(cls, *several: Self) -> Self:
        """Concatenate the moments of several batches."""
        return cls(*map(torch.cat, zip(*several, strict=True)))

    def squared_error(self, gain: Tensor, offset: Tensor) -> Tensor:
        """Compute the mean squared error (N) of gain * cloudy + offset against the clear images.

        Args:
            gain: (N, bands).
            offset: (N, bands).
        """
        mean, deviation = self.cloudy[:, :, 0], self.cloudy[:, :, 1]
        clear_mean, clear_deviation = self.clear[:, :, 0], self.clear[:, :, 1]

        difference = gain * mean + offset - clear_mean
        covariance = self.product - mean * clear_mean
        variance = (gain * deviation).square() + clear_deviation.square() - 2 * gain * covariance
        return (difference.square() + variance).mean(1).clamp_min(0)

    def hazed(self, transmission: Tensor, added: Tensor) -> Self:
        """Return the moments of the clear images under even hazes.

        Args:
            transmission: fraction of the light that passes, (N, bands).
            added: light that the haze adds, (N, bands).
        """
        cloudy = transmission[:, :, None] * self.clear + added[:, :, None]
        cloudy[:, :, 1] -= added  # a deviation does not shift
        square = self.clear[:, :, :2].square().sum(2)
        product = transmission * square + added * self.clear[:, :, 0]
        return self._replace(cloudy=cloudy, product=product)

    def sample(self, count: int, random: torch.Generator) -> Self:
        """Draw pairs at random."""
        numbers = torch.randint(len(self.product), (count,), generator=random)
        numbers = numbers.to(self.product.device)
        return type(self)(self.cloudy[numbers], self.clear[numbers], self.product[numbers])


def fit_even(
    inversion: Inversion,
    pairs: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    seed: int = 0,
    show_progress: bool = True,
) -> float:
    """Fit gain and offset of whole images to pairs.

    Half of each batch are the pairs as they are, half clear images under drawn hazes.

    Args:
        inversion: the inversion to fit, in place.
        pairs: cloudy and clear images (N, bands, H, W), each read once.
        steps: number of steps of Adam.
        seed: seed of the hazes, the order and the noise.
        show_progress: show progress bars.

    Returns:
        Root mean square error over the pairs.
    """
    bar = progress_bar(
        pairs, desc="reading statistics", unit="image", leave=False, show=show_progress
    )
    moments = Moments.join(*(Moments.of(*pair) for pair in bar))

    random = torch.Generator().manual_seed(seed)
    weights = [*inversion.from_image.parameters(), *inversion.even.parameters()]
    optimizer = torch.optim.Adam(weights, lr=_RATE)
    title = "fitting even haze"
    for step in progress_bar(
        range(steps), desc=title, unit="step", leave=False, show=show_progress
    ):
        optimizer.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        batch = _random_batch(moments, random)
        noise = (_NOISE * torch.randn(batch.cloudy.shape, generator=random)).to(batch.cloudy)

        error = batch.squared_error(*inversion.even_gain_and_offset(batch.cloudy + noise))
        optimizer.zero_grad(set_to_none=True)
        (error + _SMALLEST_ERROR).sqrt().mean().backward()
        optimizer.step()

    with torch.no_grad():
        error = moments.squared_error(*inversion.even_gain_and_offset(moments.cloudy))
        return float(error.mean().sqrt())


def _random_batch(moments: Moments, random: torch.Generator) -> Moments:
    """Draw pairs, and clear images under random hazes."""
    real = moments.sample(_BATCH - _BATCH // 2, random)
    clear = moments.sample(_BATCH // 2, random)
    count, bands = clear.product.shape
    transmission, added = random_hazes(count, bands, random)
    return Moments.join(real, clear.hazed(transmission.to(real.product), added.to(real.product)))


def random_hazes(count: int, bands: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw even hazes, some of which are none.

    Args:
        count: number of hazes.
        bands: number of bands, the longest wavelength first, as in RGB: haze dims it least.
        random: generator on the CPU; the hazes are there too.

    Returns:
        Transmission and the light that is added, each (count, bands).
    """
    chance = torch.rand(4, count, 1, generator=random)
    transmission = torch.where(chance[0] < _CLEAR, 1.0, 1 - _THICKEST * chance[1])
    transmission = transmission ** (1 + 0.2 * chance[3] * torch.linspace(-1, 1, bands))
    air_light = 1 - 0.6 * chance[2] ** 1.5 - 0.08 * torch.rand(count, bands, generator=random)
    return transmission, air_light * (1 - transmission)
