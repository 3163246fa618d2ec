"""Intervals of means over images, paired comparison of two methods, and groups by cloudiness."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cloudkit.errors import UserError

_RESAMPLES = 10_000
_SEED = 0  # fixed, so that a table is the same in every run
_BATCH = 1_000  # resamples held in memory at a time


class Comparison(NamedTuple):
    """Difference of two methods on the same images."""

    difference: float
    """Mean over images of ours minus theirs."""
    low: float | None
    """Lower end of its 95 % interval; None for a single image."""
    high: float | None
    """Upper end of its 95 % interval; None for a single image."""
    count: int  # type: ignore[assignment]  # hides the method of tuples
    """Number of images compared."""

    @property
    def excludes_zero(self) -> bool:
        """True if the methods differ by more than the choice of images explains."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def interval(
    values: Sequence[float], counts: Sequence[int] | None = None
) -> tuple[float, float] | None:
    """Return the 95 % bootstrap percentile interval of the mean (Efron 1979).

    The interval says how the mean would vary with other images of the same kind, not with another
    training. With fewer than about ten values it is too narrow. It is the same in every run.

    Args:
        values: one finite value for each image, in any order; or the sum of each block of images.
        counts: number of images in each block. Whole blocks are drawn then. Default: 1.

    Returns:
        Its ends; None for fewer than two values.

    Raises:
        ValueError: a value is not finite.
    """
    sums = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sums).all():
        raise ValueError(
            "some values are not finite, expected numbers: "
            "leave out images with an infinite PSNR, and count them."
        )
    if len(sums) < 2:
        return None
    if counts is None:
        sums, counts = np.sort(sums), [1] * len(sums)
        if sums[0] == sums[-1]:  # a mean of equal values may differ from them in the last digit
            return float(sums[0]), float(sums[0])

    from scipy.stats import bootstrap  # takes half a second, so only where needed

    ends = bootstrap(
        (sums, np.asarray(counts)),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(ends.low), float(ends.high)


def paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Comparison:
    """Return the mean difference, ours minus theirs, over the images that both have.

    Args:
        ours: {image: value}.
        theirs: {image: value} of another method. Images are left out if either value is infinite.

    Returns:
        The difference with its bootstrap interval, see `interval`.

    Raises:
        UserError: no image is common, or every common image has an infinite value.
    """
    common = ours.keys() & theirs.keys()
    if not common:
        examples = f"{next(iter(ours), 'none')} and {next(iter(theirs), 'none')}"
        raise UserError(
            f"the two methods have no image in common ({examples}), expected scores of the same "
            "images: score both on one dataset."
        )

    differences = [ours[name] - theirs[name] for name in common]
    differences = [difference for difference in differences if math.isfinite(difference)]
    if not differences:
        raise UserError(
            f"each of the {len(common)} common images has a value that is not finite, expected at "
            "least one finite pair: compare by another metric."
        )
    low, high = interval(differences) or (None, None)
    return Comparison(math.fsum(differences) / len(differences), low, high, len(differences))


def thirds(values: Sequence[float]) -> list[int]:
    """Return the third, 0, 1 or 2, of each value in ascending order.

    For the input's PSNR, group 0 holds the cloudiest images. Groups differ in size by at most one,
    and the first ones are the larger. Equal values keep their order. Infinite values are the
    largest.

    Raises:
        ValueError: a value is not a number.
    """
    if any(map(math.isnan, values)):
        raise ValueError("some values are not a number (NaN), expected numbers: NaN has no order.")
    groups = [0] * len(values)
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        groups[index] = rank * 3 // len(values)
    return groups
