"""Comparison of the lines at the edges of tiles with all others."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.seamkit.lines import OFFSET, Lines, measure_lines

# Scores from which a measure tells a seam. Real images without seams stay below (README.md). The
# change varies more, because roads and fields follow rows and columns, too.
LIMITS = {"step": 5.0, "dip": 5.0, "change": 6.5}
LEAST = 32  # lines that are no edges, from which the usual is learnt
_GRID = 16  # pixels; blocks of JPEG and cells of networks repeat in such steps, on all tiles alike
_BESIDE = 2  # lines beside an edge that show it, too
_FINEST = 0.05  # least deviation of a measure; an image without texture has none
_HIGHEST = 8.0  # score from which a single edge does not count more among all edges
# Fractions of lines below a score of 1 and 1.645, if they were normally distributed.
_FRACTIONS, _DEVIATIONS = (0.8413, 0.95), (1.0, 1.645)


@dataclass(frozen=True)
class Finding:
    """Result of one measure for all rows or all columns at the edges of tiles."""

    lines: str
    """Rows or columns."""
    measure: str
    """Step, dip or change."""
    together: float
    """Score of all edges together: deviations above the usual."""
    highest: float
    """Largest score of an edge."""
    other: float
    """Largest score of all other lines."""
    at: int
    """Number of the row or column with the largest score."""
    height: float
    """Size of the step at that edge in stored values."""

    @property
    def is_seam(self) -> bool:
        """True if all edges together, or one that exceeds all other lines, reach the limit."""
        limit = LIMITS[self.measure]
        return self.together > limit or self.highest > max(limit, self.other)


def find_seams(image: np.ndarray, tile: int, original: np.ndarray | None = None) -> list[Finding]:
    """Compare the lines at the edges of tiles with all others.

    Args:
        image: (H, W, bands).
        tile: distance of the edges in pixels; the first tile begins in the upper left corner.
        original: image of equal shape, which is subtracted first.

    Returns:
        A finding for each measure of columns and rows. None for a direction without edges, or with
        fewer than `LEAST` other lines.
    """
    findings: list[Finding] = []
    for name in ("column", "row"):
        if name == "row":
            image = image.swapaxes(0, 1)
            original = None if original is None else original.swapaxes(0, 1)
        edges = np.arange(tile, image.shape[1] - OFFSET + 1, tile) - OFFSET
        usual = np.ones(max(image.shape[1] - 3, 0), bool)
        for shift in range(-_BESIDE, _BESIDE + 1):
            beside = edges + shift
            usual[beside[(beside >= 0) & (beside < len(usual))]] = False
        if len(edges) and usual.sum() >= LEAST:
            lines = measure_lines(image, tile, original)
            findings += _compare(name, lines, edges, usual)
    return findings


def _compare(name: str, lines: Lines, edges: np.ndarray, usual: np.ndarray) -> Iterator[Finding]:
    for measure in LIMITS:
        scores = _scores(getattr(lines, measure), usual)
        at_edges = scores[edges]
        worst = edges[at_edges.argmax()]
        counted = np.clip(at_edges, -_HIGHEST, _HIGHEST)
        yield Finding(
            lines=name,
            measure=measure,
            together=float(counted.mean() * np.sqrt(len(edges))),
            highest=float(at_edges.max()),
            other=float(scores[usual].max()),
            at=int(worst + OFFSET),
            height=float(lines.height[worst]),
        )


def _scores(values: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return by how many deviations each line exceeds the usual lines of its place in a grid."""
    values = values - np.median(values[usual])
    for place in range(_GRID):
        alike = values[place::_GRID]
        learnt = alike[usual[place::_GRID]]
        if len(learnt) >= LEAST // _GRID + 2:
            alike -= np.median(learnt)

    # Upper quantiles tell the deviation, because the upper side is judged. Few seams do not matter.
    heights = np.quantile(values[usual], _FRACTIONS) - np.median(values[usual])
    return values / max(*(heights / _DEVIATIONS), _FINEST)
