"""PSNR and SSIM on tensors: float RGB in [0, 1], at full resolution, one value an image.

Every value is computed in float64, so it agrees with scikit-image to 1e-5 and does not depend on the device's precision.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_K1, _K2 = 0.01, 0.03  # Wang et al., IEEE TIP 2004
_GAUSSIAN_SIGMA, _GAUSSIAN_RADIUS = 1.5, 5  # scikit-image cuts the Gaussian at 3.5 sigma: a window of 11
_UNIFORM_SIZE = 7


def psnr(image: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 1, over all values of an image.

    Args:
        image: (N, C, H, W) in [0, 1].
        reference: the same shape.

    Returns:
        (N,) float64, infinite where both are equal.

    Raises:
        ValueError: shapes differ, or values leave [0, 1].
    """
    _check(image, reference, smallest=1)
    return -10 * torch.log10((image.double() - reference.double()).square().mean(dim=(1, 2, 3)))


def ssim(image: Tensor, reference: Tensor, *, gaussian: bool = False) -> Tensor:
    """Structural similarity, mean over channels and over the windows that lie wholly inside the image.

    Args:
        image: (N, C, H, W) in [0, 1], at least 7x7 pixels (11x11 if gaussian).
        reference: the same shape.
        gaussian: False is scikit-image's default (uniform 7x7 window, sample covariance); True is the window of Wang et al.
            (11x11, sigma 1.5, population covariance).

    Returns:
        (N,) float64.

    Raises:
        ValueError: shapes differ, the image is smaller than the window, or values leave [0, 1].
    """
    size = 2 * _GAUSSIAN_RADIUS + 1 if gaussian else _UNIFORM_SIZE
    _check(image, reference, smallest=size)
    x, y = image.double(), reference.double()
    window = _gaussian_window(x.device) if gaussian else torch.full((size,), 1 / size, dtype=torch.float64, device=x.device)
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


def _gaussian_window(device: torch.device) -> Tensor:
    position = torch.arange(-_GAUSSIAN_RADIUS, _GAUSSIAN_RADIUS + 1, dtype=torch.float64, device=device)
    window = torch.exp(-0.5 * (position / _GAUSSIAN_SIGMA) ** 2)
    return window / window.sum()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Separable filter of every channel, valid region only."""
    n, channels, height, width = images.shape
    flat = images.reshape(n * channels, 1, height, width)
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.reshape(n, channels, *flat.shape[-2:])


def _check(image: Tensor, reference: Tensor, smallest: int) -> None:
    if image.shape != reference.shape or image.ndim != 4:
        raise ValueError(f"shapes are {tuple(image.shape)} and {tuple(reference.shape)}, expected (N, C, H, W) twice the same.")
    if min(image.shape[-2:]) < smallest:
        raise ValueError(f"images are {image.shape[2]}x{image.shape[3]} pixels, expected at least {smallest}x{smallest}.")
    for name, values in (("image", image), ("reference", reference)):
        low, high = torch.aminmax(values)
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"the {name} ranges from {low.item():g} to {high.item():g}, expected [0, 1]: clamp or scale it first."
            )
