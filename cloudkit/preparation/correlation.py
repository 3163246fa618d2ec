"""How alike two gray images are where they overlap, over all shifts at once or at one.

Masked normalised cross-correlation: Padfield, "Masked object registration in the Fourier domain", IEEE TIP 2012. The masks are
whole images here, so that the masked sums are prepared once an image, and a pair costs one inverse FFT.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

MIN_OVERLAP = 0.22  # share of the smaller image: a quarter, with room for the coarse shift
_MIN_TEXTURE = 0.1  # standard deviation of the band-passed overlap, which is about 0.9 on a well textured one
_NOISE = 0.005  # contrast that counts as none: about one step of 8 bits
_CPU_BATCH, _GPU_BATCH = (1, 32), (8, 256)  # rows and columns at once: on a CPU as many pairs as its cache holds


@contextmanager
def own_threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch would use, each with an image of its own: sharing small ones costs torch more than it gains."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count) as threads:
            yield threads
    finally:
        torch.set_num_threads(count)


class Comparison:
    """Correlation of images (N, h, w) with others (M, h', w') over all shifts that leave enough overlap."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        (h, w), (other_h, other_w) = first.shape[1:], second.shape[1:]
        self.size = (h + other_h, w + other_w)
        self.rows, self.columns = _GPU_BATCH if first.is_cuda else _CPU_BATCH
        self.down, self.right = (
            torch.cat((torch.arange(side), torch.arange(-length, 0))).to(first.device)
            for side, length in ((h, other_h), (w, other_w))
        )
        count = _common(self.down, h, other_h)[:, None] * _common(self.right, w, other_w)
        share = count / min(h * w, other_h * other_w)
        allowed = share >= MIN_OVERLAP
        count = count.clamp(min=1).float()
        masks = [self._spectrum(torch.ones_like(images[:1])) for images in (first, second)]

        def prepare(images: Tensor, masked: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            spectrum = self._spectrum(images)
            total, squares = (self._shifts(masked(part)) for part in (spectrum, self._spectrum(images.square())))
            spread = (squares - total.square() / count).clamp(min=0)
            textured = allowed & (spread > _MIN_TEXTURE**2 * count)
            return spectrum, total / count.sqrt(), torch.where(textured, spread.clamp(min=1e-6).rsqrt(), 0)

        self.first, self.first_mean, self.first_scale = prepare(first, lambda part: part * masks[1].conj())
        self.second, self.second_mean, self.second_scale = prepare(second, lambda part: masks[0] * part.conj())
        self.second = self.second.conj().resolve_conj()
        self.first_scale *= share.sqrt()  # chance correlates small overlaps more

    def __call__(self, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Evidence, down and right of the best shift of the rows from `start`, each (rows, M) on the CPU.

        Evidence is correlation times the root of the overlap.
        """
        rows, parts = slice(start, start + self.rows), []
        for first in range(0, len(self.second), self.columns):
            columns = slice(first, first + self.columns)
            both = self._shifts(self.first[rows, None] * self.second[columns])
            both.addcmul_(self.first_mean[rows, None], self.second_mean[columns], value=-1)
            both.mul_(self.first_scale[rows, None]).mul_(self.second_scale[columns])
            parts.append(both.flatten(2).max(dim=2))
        evidence, best = (torch.cat(values, dim=1) for values in zip(*parts, strict=True))
        return evidence.cpu(), self.down[best // self.size[1]].cpu(), self.right[best % self.size[1]].cpu()

    def _spectrum(self, images: Tensor) -> Tensor:
        return torch.fft.rfft2(images, s=self.size)

    def _shifts(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, s=self.size)


def _common(shift: Tensor, side: int, other: int) -> Tensor:
    """How many rows (columns) both images have at each shift."""
    return (torch.minimum(torch.full_like(shift, side), other + shift) - shift.clamp(min=0)).clamp(min=0)


def overlap_box(shape: Sequence[int], other: Sequence[int], down: int, right: int) -> tuple[slice, slice]:
    """Rows and columns of an image of this shape that another, so much further down and to the right, shows too."""
    return tuple(  # type: ignore[return-value]
        slice(max(0, shift), max(0, shift, min(side, length + shift)))
        for side, length, shift in zip(shape, other, (down, right), strict=True)
    )


def correlation(one: Tensor, other: Tensor, down: int, right: int) -> float:
    """Pearson correlation of the overlap; -1 where that is too small or featureless."""
    a, b = one[overlap_box(one.shape, other.shape, down, right)], other[overlap_box(other.shape, one.shape, -down, -right)]
    if a.numel() < 0.9 * MIN_OVERLAP * min(one.numel(), other.numel()):
        return -1.0
    a, b = a - a.mean(), b - b.mean()
    norms = float(a.norm()), float(b.norm())
    if min(norms) < _MIN_TEXTURE * math.sqrt(a.numel()):
        return -1.0
    return float((a * b).sum()) / (norms[0] * norms[1])


def band_pass(images: Tensor, low: float, high: float, window: float) -> Tensor:
    """Images (N, h, w) without what is finer than `low` and coarser than `high` pixels, at an even local contrast of about 1."""
    band = (_blur(images, low) if low else images) - _blur(images, high)
    return band / (_blur(band.square(), window).sqrt() + _NOISE)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur that gives what lies outside no weight."""
    down, right = (_gaussian(side, sigma).to(images.device) for side in images.shape[1:])
    return down @ images @ right.T


@lru_cache(maxsize=64)
def _gaussian(side: int, sigma: float) -> Tensor:
    """Gaussian blur of one axis as a matrix (side, side): a product of matrices is faster here than a convolution."""
    position = torch.arange(side)
    weights = torch.exp(-0.5 * ((position[:, None] - position) / sigma) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)
