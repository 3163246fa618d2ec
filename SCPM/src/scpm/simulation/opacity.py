"""Opacity of the cloud of a real pair, estimated from its effect on the clear image.

A cloud of transmission t and brightness A changes the clear image J to I = J t + A (1 - t). Its
opacity is therefore s = 1 - t = (I - J) / (A - J). Two things prevent solving this pixel by pixel:

* Noise, JPEG blocks and images shifted by a pixel are as large as the effect of a thin cloud. If
  the ground is about as bright as the cloud, the quotient is 0 / 0. So s is taken as constant over
  a small window. It is found by least squares over the pixels and the three bands of the window,
  s = sum (I - J)(A - J) / sum (A - J)^2. Bright ground has little weight there.
* A is unknown. Cloud is about gray, so one number stands for all bands. It is at least as bright as
  the pixels that the cloud brightened. Of the values from there up to 1, the one that explains the
  pair best is taken. A cloud also takes the fraction s of the ground's contrast, and only the right
  A explains both the brightness and the contrast of a window.

The result is an estimate, with these limits:

* Ground that changed between the two images (shadow, water, harvest) counts as cloud if it came
  nearer to the cloud's brightness.
* Images that are shifted lose contrast as under cloud.
* If the ground is everywhere alike, A is badly determined, and with it the scale of s.
* Short wavelengths are dimmed more, but the common s of all bands cannot show it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.imaging.padding import check_unit_images

# The best of 5 to 25 pixels on simulated pairs with noise of 0.01 and a shift of one pixel.
WINDOW = 15
FINE_WINDOW = 5  # to tell the shapes of clouds, because wisps are narrow
_CANDIDATES = 25
_STRIDE = 4  # pixels between windows for the brightness; neighbouring windows overlap and agree
# An even veil can be this dark in an image darkened for display. Simulated veils end there too.
_MIN_BRIGHTNESS = 0.4
_MIN_CHANGE = 0.02  # of a pixel that surely has cloud
_BRIGHT_QUANTILE = 0.99  # brighter pixels may be snow or a roof
_MIN_SQUARE = 1e-4  # of A - J; below it ground and cloud cannot be told apart


class _Moments(NamedTuple):
    """Means over the window around each pixel, (3, H, W), for the change D = I - J."""

    change: Tensor
    """Mean of D."""
    change_clear: Tensor
    """Mean of D J."""
    clear: Tensor
    """Mean of J."""
    clear_square: Tensor
    """Mean of J^2."""
    change_square: Tensor
    """Mean of D^2."""

    def products(self, brightness: float) -> tuple[Tensor, Tensor]:
        """Return the sums over the bands, (1, H, W), of D (A - J) and (A - J)^2.

        Their quotient is the opacity.
        """
        mixed = brightness * self.change - self.change_clear
        square = brightness**2 - 2 * brightness * self.clear + self.clear_square
        return mixed.sum(0, keepdim=True), square.sum(0, keepdim=True).clamp_min(_MIN_SQUARE)


def estimate_opacity(
    cloudy: Tensor, clear: Tensor, *, window: int = WINDOW, brightness: float | None = None
) -> Tensor:
    """Estimate the opacity of a cloud at each pixel, by least squares over the window around it.

    Args:
        cloudy: (3, H, W), floating, in [0, 1].
        clear: the same place without cloud, of the same shape.
        window: side of the window in pixels, odd. At the border only pixels of the image count.
        brightness: brightness of the cloud, in (0, 1]. Default: `estimate_brightness`.

    Returns:
        (1, H, W) in [0, 1]: 0 clear, 1 opaque. A pixel whose cloudy value lies further from the
        cloud's brightness than the ground has 0.

    Raises:
        ValueError: the images have another type, shape or range, or the window is even.
    """
    moments = _window_moments(cloudy, clear, window)
    if brightness is None:
        brightness = _best_brightness(moments)
    mixed, square = moments.products(brightness)
    return (mixed / square).clamp(0, 1)


def estimate_brightness(cloudy: Tensor, clear: Tensor, *, window: int = WINDOW) -> float:
    """Estimate the brightness that a cloud would have if it were opaque.

    It is one number in [0.4, 1] for all bands. Without cloud in the image it means nothing.
    Arguments and errors are those of `estimate_opacity`.
    """
    return _best_brightness(_window_moments(cloudy, clear, window))


def smoothed(maps: Tensor, window: int = WINDOW) -> Tensor:
    """Return the mean of (C, H, W) or (N, C, H, W) over the window around each pixel.

    At the border only pixels of the image count.
    """
    # One axis after the other gives the same mean with far fewer sums.
    for size in ((window, 1), (1, window)):
        padding = (size[0] // 2, size[1] // 2)
        maps = F.avg_pool2d(maps, size, stride=1, padding=padding, count_include_pad=False)
    return maps


def _window_moments(cloudy: Tensor, clear: Tensor, window: int) -> _Moments:
    check_unit_images(cloudy)
    check_unit_images(clear)
    if cloudy.ndim != 3 or cloudy.shape != clear.shape:
        raise ValueError(
            f"shapes are {tuple(cloudy.shape)} and {tuple(clear.shape)}, expected (3, H, W) twice "
            "the same."
        )
    if window < 1 or window % 2 == 0:
        raise ValueError(
            f"window is {window}, expected an odd number of pixels, for example {WINDOW}."
        )

    change = cloudy - clear
    parts = (change, change * clear, clear, clear**2, change**2)
    return _Moments(*(smoothed(part, window) for part in parts))


def _best_brightness(moments: _Moments) -> float:
    """Return the candidate that leaves the smallest error.

    The error is the root mean square over a window, averaged over the image.
    """
    moments = _Moments(*(part[:, ::_STRIDE, ::_STRIDE] for part in moments))
    lowest = _brightest_cloud(moments)

    best, smallest = lowest, float("inf")
    for step in range(_CANDIDATES):
        brightness = lowest + (1 - lowest) * step / (_CANDIDATES - 1)
        mixed, square = moments.products(brightness)
        residual = moments.change_square.sum(0, keepdim=True) - mixed.clamp_min(0) ** 2 / square
        error = float(residual.clamp_min(0).sqrt().mean())
        if error < smallest:
            best, smallest = brightness, error
    return best


def _brightest_cloud(moments: _Moments) -> float:
    """Return the brightness of the brightest pixels, in any band, that the cloud brightened."""
    brightest = _MIN_BRIGHTNESS
    for change, clear in zip(moments.change, moments.clear, strict=True):
        pixels = (change + clear)[change > _MIN_CHANGE]
        if len(pixels) > 0:
            brightest = max(brightest, float(torch.quantile(pixels.float(), _BRIGHT_QUANTILE)))
    return min(brightest, 1.0)
