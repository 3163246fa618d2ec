"""Measure of how far each row and column of an image stands out from those beside it.

A line is the gap between two columns: line x lies between the columns x - 1 and x. Rows are the
columns of the transposed image. Three measures are taken along each line:

* step: the values rise or fall on the line more than beside it, in one direction along a tile;
* dip: the two columns at the line are both brighter, or both darker, than those beside them;
* change: the mean absolute difference of the two columns, in any direction.

Step and dip are sums with their sign, in which texture cancels out, so they find seams far below
the texture. Each difference is divided by the mean difference around it. So calm ground, where an
eye sees seams first, counts as much as rough ground.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter

_AROUND = (9, 17)  # rows and columns around a pixel that tell how rough the ground is
_UNSEEN = 1e-4  # fraction of the image's range; smaller differences are nothing
OFFSET = 2  # number of the first line that is measured


class Lines(NamedTuple):
    """Measures of the lines 2 to W - 2 of an image, (lines) each."""

    step: np.ndarray
    """Agreement in sign: 1 for chance, and the root of a segment's rows if all agree."""
    dip: np.ndarray
    """The same for dips."""
    change: np.ndarray
    """Mean absolute difference over that around it: 1 is usual."""
    height: np.ndarray
    """Size of the step in stored values: root mean square of the means of segments."""


def measure_lines(image: np.ndarray, segment: int, original: np.ndarray | None = None) -> Lines:
    """Measure the lines between columns.

    Args:
        image: (H, W, bands), W at least 4.
        segment: rows that are summed with their sign.
        original: image of equal shape, which is subtracted first.
    """
    unseen = _UNSEEN * _range(image)
    totals = np.zeros((4, image.shape[1] - 3))
    parts = 0
    for start in range(0, image.shape[0], segment):
        for band in range(image.shape[2]):
            place = (slice(start, start + segment), slice(None), band)
            values = _floats(image[place])
            if original is not None:
                values -= _floats(original[place])
            totals += _measure_segment(values, unseen)
            parts += 1

    step, dip, change, height = totals / parts
    return Lines(np.sqrt(step), np.sqrt(dip), change, np.sqrt(height))


def _measure_segment(values: np.ndarray, unseen: float) -> np.ndarray:
    """Return the four measures of each line of one band (rows, W); all but change are squared."""
    first = np.diff(values, axis=1)
    first[np.abs(first) < unseen] = 0
    rough = uniform_filter(np.abs(first), _AROUND)[:, 1:-1] + np.float32(max(unseen, 1e-30))
    before, inner, behind = first[:, :-2], first[:, 1:-1], first[:, 2:]
    rise = inner - (before + behind) / 2

    step = _agreement(rise / rough)
    dip = _agreement((before - behind) / rough)
    change = np.abs(inner / rough).mean(0)
    return np.stack([step, dip, change, np.square(rise.mean(0))])


def _agreement(ratios: np.ndarray) -> np.ndarray:
    """Return how far the values of each column agree in sign: 1 for chance, rows for all."""
    ratios = np.clip(ratios, -1, 1)
    return np.square(ratios.sum(0)) / np.maximum(np.square(ratios).sum(0), 1e-6)


def _range(image: np.ndarray) -> float:
    """Return the distance of low and high values, without outliers."""
    low, high = np.percentile(_floats(image[::7, ::7]), (1, 99))
    return float(high - low)


def _floats(values: np.ndarray) -> np.ndarray:
    """Return a copy in single precision, with 0 for what is not a number."""
    return np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
