"""Errors of thickness maps."""

from torch import Tensor

from trainkit.scoring.metrics import correlation, mean_absolute_error

SCORES = ("mae", "correlation")


def score_thickness(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Return mean absolute error and Pearson correlation of two maps (1, H, W) in [0, 1]."""
    return {
        "mae": float(mean_absolute_error(found[None], truth[None])),
        "correlation": float(correlation(found[None], truth[None])),
    }
