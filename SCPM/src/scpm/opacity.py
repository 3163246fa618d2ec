"""How opaque the cloud of a real pair was, from what it did to the clear image.

A cloud of transmission t and brightness A turns the clear image J into the cloudy one I = J t + A (1 - t), so its opacity is
s = 1 - t = (I - J) / (A - J). Two things stand in the way of solving this pixel by pixel:

* Noise, JPEG blocks and images that lie a pixel apart are as large as a thin cloud's effect, and where the ground is about as
  bright as the cloud the quotient is 0 / 0. So s is taken as constant over a small window and found by least squares over its
  pixels and the three bands, s = sum (I - J)(A - J) / sum (A - J)^2, in which bright ground weighs little.
* A is unknown. Cloud is about gray, so one number stands for all bands. It is at least as bright as what the cloud brightened;
  of the values from there up to 1 the one that explains the pair best is taken. For a cloud takes the share s of the ground's
  contrast too, and only the right A gives both the brightness and the contrast of a window.

The result is an estimate. Ground that changed between the two images (shadow, water, harvest) counts as cloud where it came
nearer to the cloud's brightness; images that lie apart lose contrast as under cloud; where the ground is everywhere alike A is
badly determined, and with it the scale of s. What the bands differ in, as short waves are dimmed more, is lost in their common s.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.padding import check_unit_images

WINDOW = 15  # pixels; of 5 to 25 the best on simulated pairs with noise of 0.01 and a shift of one pixel
_CANDIDATES = 25
_SPARSE = 4  # pixels between the windows that the brightness is found from; neighbours overlap and say the same
_LOWEST = 0.4  # an even veil in an image that was darkened for display; simulated clouds end there too
_BRIGHTENED = 0.02  # of a pixel that surely has cloud
_BRIGHTEST = 0.99  # quantile: the very brightest may be snow or a roof
_ALIKE = 1e-4  # (A - J)^2 below which ground and cloud cannot be told apart


class _Moments(NamedTuple):
    """Means over the window around each pixel, (3, H, W), of the change D = I - J and the clear image J."""

    change: Tensor
    change_clear: Tensor
    clear: Tensor
    clear_square: Tensor
    change_square: Tensor

    def products(self, brightness: float) -> tuple[Tensor, Tensor]:
        """Sums over the bands, (1, H, W), of D (A - J) and (A - J)^2: their quotient is the opacity."""
        mixed = brightness * self.change - self.change_clear
        square = brightness**2 - 2 * brightness * self.clear + self.clear_square
        return mixed.sum(0, keepdim=True), square.sum(0, keepdim=True).clamp_min(_ALIKE)


def estimate_opacity(cloudy: Tensor, clear: Tensor, *, window: int = WINDOW, brightness: float | None = None) -> Tensor:
    """The cloud's opacity at each pixel, by least squares over the window around it.

    Args:
        cloudy: (3, H, W), floating, in [0, 1].
        clear: the same place without cloud, of the same shape.
        window: side of the window in pixels, odd; at the border what lies inside the image counts.
        brightness: the cloud's own, in (0, 1]; default: `estimate_brightness`.

    Returns:
        (1, H, W) in [0, 1]: 0 clear, 1 opaque; 0 where a pixel lies further from the cloud's brightness than the ground.

    Raises:
        ValueError: images of another type, shape or range, or an even window.
    """
    moments = _moments(cloudy, clear, window)
    mixed, square = moments.products(_best_brightness(moments) if brightness is None else brightness)
    return (mixed / square).clamp(0, 1)


def estimate_brightness(cloudy: Tensor, clear: Tensor, *, window: int = WINDOW) -> float:
    """How bright the cloud of a pair would be if it were opaque, in [0.4, 1], one number for all bands.

    Arguments and errors as for `estimate_opacity`. With no cloud in the image the number means nothing.
    """
    return _best_brightness(_moments(cloudy, clear, window))


def smoothed(maps: Tensor, window: int = WINDOW) -> Tensor:
    """Mean over the window around each pixel of (C, H, W); at the border over what lies inside the image."""
    for size in ((window, 1), (1, window)):  # one axis after the other: the same mean with far fewer sums
        padding = (size[0] // 2, size[1] // 2)
        maps = F.avg_pool2d(maps[None], size, stride=1, padding=padding, count_include_pad=False)[0]
    return maps


def _moments(cloudy: Tensor, clear: Tensor, window: int) -> _Moments:
    check_unit_images(cloudy)
    check_unit_images(clear)
    if cloudy.ndim != 3 or cloudy.shape != clear.shape:
        raise ValueError(f"shapes are {tuple(cloudy.shape)} and {tuple(clear.shape)}, expected (3, H, W) twice the same.")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}, expected an odd number of pixels, for example {WINDOW}.")
    change = cloudy - clear
    return _Moments(*(smoothed(part, window) for part in (change, change * clear, clear, clear**2, change**2)))


def _best_brightness(moments: _Moments) -> float:
    """Of the candidates the one that leaves the smallest error, root mean square over the window, in the mean over the image."""
    moments = _Moments(*(part[:, ::_SPARSE, ::_SPARSE] for part in moments))
    lowest = _brightest_cloud(moments)
    candidates = [lowest + (1 - lowest) * step / (_CANDIDATES - 1) for step in range(_CANDIDATES)]
    errors = []
    for brightness in candidates:
        mixed, square = moments.products(brightness)
        left = moments.change_square.sum(0, keepdim=True) - mixed.clamp_min(0) ** 2 / square
        errors.append(float(left.clamp_min(0).sqrt().mean()))
    return candidates[errors.index(min(errors))]


def _brightest_cloud(moments: _Moments) -> float:
    """How bright the brightest pixels are, in any band, that the cloud brightened."""
    clouded = [(change + clear)[change > _BRIGHTENED] for change, clear in zip(moments.change, moments.clear, strict=True)]
    brightest = [float(torch.quantile(pixels.float(), _BRIGHTEST)) for pixels in clouded if len(pixels) > 0]
    return min(max(_LOWEST, *brightest), 1.0) if brightest else _LOWEST
