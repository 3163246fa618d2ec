"""Correlation of two gray images in their overlap, for all shifts at once or for a single one.

Masked normalised cross-correlation: Padfield, "Masked object registration in the Fourier domain",
IEEE TIP 2012. Each mask covers its complete image, so the masked sums are computed once for each
image, and a pair costs one inverse FFT.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

MIN_OVERLAP = 0.22  # fraction of the smaller image: a quarter, with room for a coarse shift
_MIN_TEXTURE = 0.1  # standard deviation of a band-passed overlap; with good texture it is about 0.9
_NOISE = 0.005  # contrast of about one step of 8 bits, which is no texture
_CPU_BATCH = (1, 32)  # rows and columns at once: as many pairs as the cache holds
_GPU_BATCH = (8, 256)


@contextmanager
def single_core_threads() -> Iterator[ThreadPoolExecutor]:
    """Start as many threads as torch uses, in each of which torch uses a single core.

    Small images are faster in threads of their own than divided among the cores.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count) as threads:
            yield threads
    finally:
        torch.set_num_threads(count)


class Comparison:
    """Correlation of images (N, h, w) with others (M, h', w') at all shifts that overlap."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        height, width = first.shape[1:]
        other_height, other_width = second.shape[1:]
        self.size = (height + other_height, width + other_width)
        self.rows, self.columns = _GPU_BATCH if first.is_cuda else _CPU_BATCH

        self.down = _shifts(height, other_height).to(first.device)
        self.right = _shifts(width, other_width).to(first.device)
        rows = _common(self.down, height, other_height)
        count = rows[:, None] * _common(self.right, width, other_width)
        fraction = count / min(height * width, other_height * other_width)
        count = count.clamp(min=1).float()

        first_mask = self._spectrum(torch.ones_like(first[:1]))
        second_mask = self._spectrum(torch.ones_like(second[:1]))

        def prepare(
            images: Tensor, masked: Callable[[Tensor], Tensor]
        ) -> tuple[Tensor, Tensor, Tensor]:
            spectrum = self._spectrum(images)
            total = self._inverse(masked(spectrum))
            squares = self._inverse(masked(self._spectrum(images.square())))
            variation = (squares - total.square() / count).clamp(min=0)
            textured = (fraction >= MIN_OVERLAP) & (variation > _MIN_TEXTURE**2 * count)
            scale = torch.where(textured, variation.clamp(min=1e-6).rsqrt(), 0)
            return spectrum, total / count.sqrt(), scale

        self.first, self.first_mean, self.first_scale = prepare(
            first, lambda spectrum: spectrum * second_mask.conj()
        )
        self.second, self.second_mean, self.second_scale = prepare(
            second, lambda spectrum: first_mask * spectrum.conj()
        )
        self.second = self.second.conj().resolve_conj()
        self.first_scale *= fraction.sqrt()  # small overlaps correlate more by chance

    def __call__(self, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best shift of `self.rows` images from `start` against all others.

        Returns:
            Evidence, down and right, each (rows, M) on the CPU. Evidence is the correlation times
            the square root of the overlap.
        """
        rows = slice(start, start + self.rows)
        evidence, best = [], []
        for first in range(0, len(self.second), self.columns):
            columns = slice(first, first + self.columns)
            product = self._inverse(self.first[rows, None] * self.second[columns])
            product.addcmul_(self.first_mean[rows, None], self.second_mean[columns], value=-1)
            product.mul_(self.first_scale[rows, None]).mul_(self.second_scale[columns])

            highest = product.flatten(2).max(dim=2)
            evidence.append(highest.values)
            best.append(highest.indices)

        index = torch.cat(best, dim=1)
        down = self.down[index // self.size[1]]
        right = self.right[index % self.size[1]]
        return torch.cat(evidence, dim=1).cpu(), down.cpu(), right.cpu()

    def _spectrum(self, images: Tensor) -> Tensor:
        return torch.fft.rfft2(images, s=self.size)

    def _inverse(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=self.size)


def _shifts(side: int, other: int) -> Tensor:
    """Return the shift of each element of a circular correlation."""
    return torch.cat((torch.arange(side), torch.arange(-other, 0)))


def _common(shift: Tensor, side: int, other: int) -> Tensor:
    """Return the number of rows or columns that both images have at each shift."""
    end = torch.minimum(torch.full_like(shift, side), other + shift)
    return (end - shift.clamp(min=0)).clamp(min=0)


def overlap_box(
    shape: Sequence[int], other: Sequence[int], down: int, right: int
) -> tuple[slice, slice]:
    """Return the rows and columns of an image that another one shows, too.

    The other image lies `down` pixels lower and `right` pixels further right.
    """
    rows = _overlap(shape[0], other[0], down)
    return rows, _overlap(shape[1], other[1], right)


def _overlap(side: int, other: int, shift: int) -> slice:
    return slice(max(0, shift), max(0, shift, min(side, other + shift)))


def correlation(one: Tensor, other: Tensor, down: int, right: int) -> float:
    """Return the Pearson correlation of the overlap, or -1 if it is too small or featureless."""
    a = one[overlap_box(one.shape, other.shape, down, right)]
    b = other[overlap_box(other.shape, one.shape, -down, -right)]
    if a.numel() < 0.9 * MIN_OVERLAP * min(one.numel(), other.numel()):
        return -1.0

    a, b = a - a.mean(), b - b.mean()
    norms = float(a.norm()), float(b.norm())
    if min(norms) < _MIN_TEXTURE * math.sqrt(a.numel()):
        return -1.0
    return float((a * b).sum()) / (norms[0] * norms[1])


def band_pass(images: Tensor, low: float, high: float, window: float) -> Tensor:
    """Keep structures of `low` to `high` pixels at an even local contrast of about 1.

    Args:
        images: (N, h, w).
        low: standard deviation of the finer Gaussian, in pixels; 0 keeps the finest structures.
        high: standard deviation of the coarser Gaussian.
        window: standard deviation of the Gaussian that measures the contrast.
    """
    fine = _blur(images, low) if low else images
    band = fine - _blur(images, high)
    return band / (_blur(band.square(), window).sqrt() + _NOISE)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian that gives no weight to pixels outside the image."""
    down = _gaussian(images.shape[1], sigma).to(images.device)
    right = _gaussian(images.shape[2], sigma).to(images.device)
    return down @ images @ right.T


@lru_cache(maxsize=64)
def _gaussian(side: int, sigma: float) -> Tensor:
    """Return the blur of one axis as a matrix, whose product is faster than a convolution."""
    position = torch.arange(side)
    weights = torch.exp(-0.5 * ((position[:, None] - position) / sigma) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)
