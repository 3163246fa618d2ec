"""How sure a mean over images is, whether two methods differ, and images grouped by how cloudy they are."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from cloudkit.errors import UserError

_RESAMPLES = 10_000
_SEED = 0  # fixed, so that a table is the same in every run
_BATCH = 1_000  # resamples held in memory at a time


class Comparison(NamedTuple):
    """How far two methods lie apart on the same images."""

    difference: float
    """Mean over images of ours minus theirs."""
    low: float | None
    """Lower end of its 95 % interval; None for a single image."""
    high: float | None
    """Upper end; None for a single image."""
    count: int  # type: ignore[assignment]  # takes the place of a method of tuples that nobody needs here
    """Images compared."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0: the methods differ by more than the choice of images explains."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % bootstrap percentile interval of the mean (Efron 1979), the same in every run and for every order of the values.

    It says how the mean would vary with other images of the same kind, not with another training. With fewer than some ten
    images it is too narrow.

    Args:
        values: one finite value an image.

    Returns:
        Its ends; None for fewer than two values.

    Raises:
        ValueError: a value is not finite: leave it out first.
    """
    sample = np.sort(np.asarray(values, dtype=np.float64))
    if not np.isfinite(sample).all():
        raise ValueError("some values are not finite, expected numbers: leave out images with an infinite PSNR, and count them.")
    if len(sample) < 2:
        return None
    if sample[0] == sample[-1]:  # a mean of equal values may differ from them in the last digit
        return float(sample[0]), float(sample[0])
    drawn = bootstrap(
        (sample,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(drawn.low), float(drawn.high)


def paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Comparison:
    """The mean difference, ours minus theirs, over the images that both have, with the bootstrap interval of `interval`.

    Args:
        ours: {image: value}.
        theirs: {image: value} of another method; images where either value is infinite are left out.

    Raises:
        UserError: no image is common, or all that are have an infinite value.
    """
    common = ours.keys() & theirs.keys()
    if not common:
        raise UserError(
            f"the two methods have no image in common ({_example(ours)} and {_example(theirs)}), expected scores of the same "
            "images: score both on one data set."
        )
    differences = [ours[name] - theirs[name] for name in common if math.isfinite(ours[name]) and math.isfinite(theirs[name])]
    if not differences:
        raise UserError(
            f"each of the {len(common)} common images has a value that is not finite, expected at least one finite pair: "
            "compare by another metric."
        )
    low, high = interval(differences) or (None, None)
    return Comparison(math.fsum(differences) / len(differences), low, high, len(differences))


def thirds(values: Sequence[float]) -> list[int]:
    """The group 0, 1 or 2 of each value, by ascending order, in groups as equal in size as can be; the first ones are the larger.

    Of the input's PSNR, group 0 holds the cloudiest images. Equal values keep their order. Infinite values are the largest.

    Raises:
        ValueError: a value is not a number.
    """
    if any(math.isnan(value) for value in values):
        raise ValueError("some values are not a number (NaN), expected numbers: they have no order.")
    groups = [0] * len(values)
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        groups[index] = rank * 3 // len(values)
    return groups


def _example(values: Mapping[str, float]) -> str:
    return next(iter(values), "none")
