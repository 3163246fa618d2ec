"""PSNR and SSIM on tensors: values in [0, 1], at full resolution, one value an image.

Values of another range L are divided by it first: PSNR for a peak of L, and SSIM for a range of L, are those of the values / L.

Every value is computed in float64, so it agrees with scikit-image to 1e-5 and does not depend on the device's precision.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

GAUSSIAN_SIZE, UNIFORM_SIZE = 11, 7  # the windows of SSIM in pixels: the smallest images it can score
_K1, _K2 = 0.01, 0.03  # Wang et al., IEEE TIP 2004
_GAUSSIAN_SIGMA = 1.5  # scikit-image cuts the Gaussian at 3.5 sigma: a window of 11


def psnr(image: Tensor, reference: Tensor, *, bounded: bool = True) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 1, over all values of an image.

    Args:
        image: (N, C, H, W) in [0, 1].
        reference: the same shape.
        bounded: False takes any finite values, for a protocol that does not clamp.

    Returns:
        (N,) float64, infinite where both are equal.

    Raises:
        ValueError: shapes differ, or values leave [0, 1].
    """
    _check(image, reference, smallest=1, bounded=bounded)
    return -10 * torch.log10((image.double() - reference.double()).square().mean(dim=(1, 2, 3)))


def ssim(image: Tensor, reference: Tensor, *, gaussian: bool = False, bounded: bool = True) -> Tensor:
    """Structural similarity, mean over channels and over the windows that lie wholly inside the image.

    Args:
        image: (N, C, H, W) in [0, 1], at least 7x7 pixels (11x11 if gaussian).
        reference: the same shape.
        gaussian: False is scikit-image's default (uniform 7x7 window, sample covariance); True is the window of Wang et al.
            (11x11, sigma 1.5, population covariance).
        bounded: False takes any finite values, for a protocol that does not clamp.

    Returns:
        (N,) float64.

    Raises:
        ValueError: shapes differ, the image is smaller than the window, or values leave [0, 1].
    """
    size = GAUSSIAN_SIZE if gaussian else UNIFORM_SIZE
    _check(image, reference, smallest=size, bounded=bounded)
    x, y = image.double(), reference.double()
    window = _gaussian_window() if gaussian else [1 / size] * size
    mean_x, mean_y = _blur(x, window), _blur(y, window)
    bias = 1.0 if gaussian else size**2 / (size**2 - 1)
    variance_x = bias * (_blur(x * x, window) - mean_x * mean_x)
    variance_y = bias * (_blur(y * y, window) - mean_y * mean_y)
    covariance = bias * (_blur(x * y, window) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _K1**2) / (mean_x**2 + mean_y**2 + _K1**2)
    structure = (2 * covariance + _K2**2) / (variance_x + variance_y + _K2**2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def mean_absolute_error(image: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference over all values of an image: (N, C, H, W) twice to (N,) float64."""
    return (image.double() - reference.double()).abs().mean(dim=(1, 2, 3))


def correlation(image: Tensor, reference: Tensor) -> Tensor:
    """Pearson correlation over all values of an image: (N, C, H, W) twice to (N,) float64, 0 where either is constant."""
    x, y = (t.double().flatten(1) - t.double().flatten(1).mean(dim=1, keepdim=True) for t in (image, reference))
    norm = x.norm(dim=1) * y.norm(dim=1)
    return torch.where(norm > 1e-12, (x * y).sum(dim=1) / norm.clamp(min=1e-12), 0.0)


def _gaussian_window() -> list[float]:
    position = torch.arange(GAUSSIAN_SIZE, dtype=torch.float64) - GAUSSIAN_SIZE // 2
    window = torch.exp(-0.5 * (position / _GAUSSIAN_SIGMA) ** 2)
    return (window / window.sum()).tolist()


def _blur(images: Tensor, window: Sequence[float]) -> Tensor:
    """Separable filter of every channel, valid region only.

    A sum of shifted images: on a CPU eight times as fast as conv2d, which has no quick kernel for float64.
    """
    for dim in (-2, -1):
        length = images.shape[dim] - len(window) + 1
        total = images.narrow(dim, 0, length) * window[0]
        for shift, weight in enumerate(window[1:], start=1):
            total.add_(images.narrow(dim, shift, length), alpha=weight)
        images = total
    return images


def _check(image: Tensor, reference: Tensor, *, smallest: int, bounded: bool) -> None:
    if image.shape != reference.shape or image.ndim != 4:
        raise ValueError(f"shapes are {tuple(image.shape)} and {tuple(reference.shape)}, expected (N, C, H, W) twice the same.")
    if min(image.shape[-2:]) < smallest:
        raise ValueError(f"images are {image.shape[2]}x{image.shape[3]} pixels, expected at least {smallest}x{smallest}.")
    for name, values in (("image", image), ("reference", reference)):
        low, high = torch.aminmax(values)
        if not bounded:
            if not (low.isfinite() and high.isfinite()):
                raise ValueError(f"the {name} ranges from {low.item():g} to {high.item():g}, expected finite values.")
        elif not (low >= 0 and high <= 1):
            raise ValueError(
                f"the {name} ranges from {low.item():g} to {high.item():g}, expected [0, 1]: clamp or scale it first."
            )
