"""Statistics of the cloud of a pair: how thick, how coloured, how sharp, how rough it is.

They rest on the estimated opacity, for real and simulated pairs alike, because an estimate is
smoother than the truth. So only differences between such rows mean something.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from scpm import estimate_opacity
from scpm.simulation.opacity import FINE_WINDOW, estimate_brightness
from trainkit.data.scenes import Scene

LEVELS = (0.05, 0.25, 0.5, 0.75)  # between the classes of opacity
CLASSES = ("clear", "thin", "middle", "thick", "opaque")
_VISIBLE = 0.1  # opacity from which a cloud shows its colour
_FINEST, _COARSEST = 1 / 8, 1 / 64  # cycles a pixel, between which the spectrum is fitted
_BANDS = 6  # of wavenumbers, evenly in logarithms


def cloud_statistics(scene: Scene) -> dict[str, float]:
    """Return the statistics of one pair.

    Args:
        scene: cloudy image and, as truth, the clear one, each (3, H, W) in [0, 1].

    Returns:
        Fractions of the pixels of each class of `CLASSES`; "brightness" that the cloud would have
        if it were opaque; "blue excess", the difference of the light added to the blue and the red
        band, relative to their mean; "sharpness", the steepest hundredth of the slopes of opacity
        in 1 / pixel; "slope", the exponent with which the power of opacity falls with the
        wavenumber. NaN where no cloud shows it.
    """
    opacity = estimate_opacity(scene.cloudy, scene.truth, window=FINE_WINDOW)
    return {
        **_classes(opacity),
        "brightness": estimate_brightness(scene.cloudy, scene.truth, window=FINE_WINDOW),
        "blue excess": _blue_excess(scene, opacity),
        "sharpness": _sharpness(opacity),
        "slope": _slope(opacity),
    }


def _classes(opacity: Tensor) -> dict[str, float]:
    """Return the fraction of the pixels between each two of `LEVELS`."""
    numbers = torch.bucketize(opacity.flatten(), torch.tensor(LEVELS))
    counts = torch.bincount(numbers, minlength=len(CLASSES))
    return dict(zip(CLASSES, (counts / counts.sum()).tolist(), strict=True))


def _blue_excess(scene: Scene, opacity: Tensor) -> float:
    """Return the excess of light in the blue band where the cloud is visible.

    Light that a cloud adds is the change and what it took from the ground, I - J (1 - s).
    """
    visible = opacity[0] > _VISIBLE
    if not visible.any():
        return math.nan
    added = (scene.cloudy - scene.truth * (1 - opacity))[:, visible].mean(1)
    red, blue = float(added[0]), float(added[2])
    return 2 * (blue - red) / (blue + red)


def _sharpness(opacity: Tensor) -> float:
    """Return the steepest hundredth of the slopes."""
    rows, columns = torch.gradient(opacity[0])
    slopes = (rows.square() + columns.square()).sqrt().flatten()
    count = max(1, len(slopes) // 100)
    return float(slopes.topk(count).values.mean())


def _slope(opacity: Tensor) -> float:
    """Return minus the slope of log power over log wavenumber, by least squares."""
    height, width = opacity.shape[1:]
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    power = torch.fft.fft2((opacity[0] - opacity.mean()) * window).abs().square()
    wavenumber = torch.hypot(
        torch.fft.fftfreq(height)[:, None].expand(height, width),
        torch.fft.fftfreq(width).expand(height, width),
    )

    edges = torch.logspace(math.log10(_COARSEST), math.log10(_FINEST), _BANDS + 1)
    points = []
    for low, high in pairwise(edges.tolist()):
        ring = (wavenumber >= low) & (wavenumber < high)
        if ring.any() and float(power[ring].mean()) > 0:
            points.append((math.log(low * high) / 2, math.log(power[ring].mean())))
    if len(points) < 2:
        return math.nan

    x, y = torch.tensor(points, dtype=torch.float64).T
    x, y = x - x.mean(), y - y.mean()
    return -float((x * y).sum() / x.square().sum())
