"""Means over images with their intervals, and the verdicts that these allow."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from typing import Literal, NamedTuple

from trainkit.scoring.statistics import interval

Verdict = Literal["helps", "harms", "not resolved"]


class Mean(NamedTuple):
    """Mean over images with its 95 % interval."""

    mean: float
    low: float | None
    """Lower end of the interval; None for fewer than two blocks."""
    high: float | None
    images: int
    blocks: int

    @property
    def verdict(self) -> Verdict:
        """Verdict on a mean difference; "not resolved" if the interval holds 0 or is missing."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "not resolved"
        return "helps" if self.low > 0 else "harms"


def block_mean(values: Mapping[str, float], block_of: Callable[[str], Hashable]) -> Mean | None:
    """Return the mean over images and its 95 % bootstrap percentile interval over blocks.

    Whole blocks are drawn because neighbouring images are alike: to draw single images would give
    too narrow an interval (Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
    section 3.8). The interval covers the choice of test images. It does not cover other seeds or
    training images, and with fewer than about ten blocks it is still too narrow.

    Args:
        values: {image: value}. Values that are not finite (PSNR of equal images) are left out.
        block_of: Function that returns the block of an image.

    Returns:
        The mean, or None if no value is finite.
    """
    blocks: dict[Hashable, list[float]] = defaultdict(list)
    for name in sorted(values):  # the result must not depend on the order
        if math.isfinite(values[name]):
            blocks[block_of(name)].append(values[name])
    if not blocks:
        return None

    sums = [math.fsum(block) for block in blocks.values()]
    counts = [len(block) for block in blocks.values()]
    low, high = interval(sums, counts) or (None, None)
    return Mean(math.fsum(sums) / sum(counts), low, high, sum(counts), len(blocks))


def average_seeds(values: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Return {image: mean over the seeds that have it} of {seed: {image: value}}."""
    columns: dict[str, list[float]] = defaultdict(list)
    for images in values.values():
        for name, value in images.items():
            columns[name].append(value)
    return {name: math.fsum(column) / len(column) for name, column in columns.items()}
