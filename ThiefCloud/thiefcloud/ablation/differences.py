"""How far two arms lie apart, and what may be said of it."""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Literal, NamedTuple

import numpy as np

Verdict = Literal["helps", "harms", "not resolved"]
_RESAMPLES = 10_000
_SEED = 0  # fixed, so that a report is the same in every run


class Mean(NamedTuple):
    """A mean over images with its 95 % interval."""

    mean: float
    low: float | None
    """None for fewer than two blocks."""
    high: float | None
    images: int
    blocks: int

    @property
    def verdict(self) -> Verdict:
        """What a difference of this mean says: "not resolved" where the interval holds 0, or there is none."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "not resolved"
        return "helps" if self.low > 0 else "harms"


def block_mean(values: Mapping[str, float], block_of: Callable[[str], Hashable]) -> Mean | None:
    """The mean over images, and its 95 % bootstrap percentile interval over blocks of them.

    Whole blocks are drawn, not single images: neighbouring images are alike, and with each counted as news the interval would be
    too narrow (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). It covers the choice of test
    images. It knows nothing of how another seed or other training images would change the result, and with fewer than some ten
    blocks it is still too narrow.

    Args:
        values: {image: value}; values that are not finite (PSNR of equal images) are left out.
        block_of: the block that an image is of.

    Returns:
        None where no value is finite.
    """
    blocks: dict[Hashable, list[float]] = {}
    for name in sorted(values):  # equal results for every order
        if math.isfinite(values[name]):
            blocks.setdefault(block_of(name), []).append(values[name])
    counts = np.array([len(block) for block in blocks.values()], dtype=np.float64)
    sums = np.array([math.fsum(block) for block in blocks.values()])
    if not len(counts):
        return None
    mean, images = math.fsum(sums) / counts.sum(), int(counts.sum())
    if len(counts) < 2:
        return Mean(mean, None, None, images, len(counts))
    shares = np.full(len(counts), 1 / len(counts))
    times = np.random.default_rng(_SEED).multinomial(len(counts), shares, size=_RESAMPLES)
    low, high = np.percentile((times @ sums) / (times @ counts), [2.5, 97.5])
    return Mean(mean, float(low), float(high), images, len(counts))


def over_seeds(values: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """{seed: {image: value}} to {image: mean over the seeds that have it}."""
    collected: dict[str, list[float]] = {}
    for images in values.values():
        for name, value in images.items():
            collected.setdefault(name, []).append(value)
    return {name: math.fsum(column) / len(column) for name, column in collected.items()}
