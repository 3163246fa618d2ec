"""PSNR, SSIM and other metrics on tensors: values in [0, 1], one result for each image.

To score values of another range L, divide them by L first. PSNR for a peak of L and SSIM for a
range of L stay the same.

Every metric is computed in float64. It agrees with scikit-image to 1e-5 on every device.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GAUSSIAN_SIZE = 11  # pixels: windows of SSIM, and so the smallest images that it can score
UNIFORM_SIZE = 7
_K1, _K2 = 0.01, 0.03  # Wang et al., IEEE TIP 2004
_GAUSSIAN_SIGMA = 1.5  # scikit-image cuts the Gaussian at 3.5 sigma: a window of 11


def psnr(image: Tensor, reference: Tensor, *, bounded: bool = True) -> Tensor:
    """Return the peak signal-to-noise ratio for a peak of 1, over all values of an image.

    Args:
        image: (N, C, H, W) in [0, 1].
        reference: the same shape.
        bounded: False accepts any finite values, for a protocol that does not clamp.

    Returns:
        (N,) float64 in dB, infinite if both images are equal.

    Raises:
        ValueError: shapes differ, or values leave [0, 1].
    """
    _check(image, reference, smallest=1, bounded=bounded)
    return -10 * torch.log10((image.double() - reference.double()).square().mean(dim=(1, 2, 3)))


def ssim(
    image: Tensor, reference: Tensor, *, gaussian: bool = False, bounded: bool = True
) -> Tensor:
    """Return the structural similarity, averaged over channels and windows inside the image.

    Args:
        image: (N, C, H, W) in [0, 1], at least 7x7 pixels (11x11 if gaussian).
        reference: the same shape.
        gaussian: False is scikit-image's default (uniform 7x7 window, sample covariance). True is
            the window of Wang et al. (11x11, sigma 1.5, population covariance).
        bounded: False accepts any finite values, for a protocol that does not clamp.

    Returns:
        (N,) float64.

    Raises:
        ValueError: shapes differ, the image is smaller than the window, or values leave [0, 1].
    """
    size = GAUSSIAN_SIZE if gaussian else UNIFORM_SIZE
    _check(image, reference, smallest=size, bounded=bounded)
    x, y = image.double(), reference.double()
    window = _gaussian_window() if gaussian else [1 / size] * size
    bias = 1.0 if gaussian else size**2 / (size**2 - 1)

    mean_x, mean_y = _filter(x, window), _filter(y, window)
    variance_x = bias * (_filter(x * x, window) - mean_x * mean_x)
    variance_y = bias * (_filter(y * y, window) - mean_y * mean_y)
    covariance = bias * (_filter(x * y, window) - mean_x * mean_y)

    luminance = (2 * mean_x * mean_y + _K1**2) / (mean_x**2 + mean_y**2 + _K1**2)
    structure = (2 * covariance + _K2**2) / (variance_x + variance_y + _K2**2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def mean_absolute_error(image: Tensor, reference: Tensor) -> Tensor:
    """Return the mean absolute difference of an image's values, (N, C, H, W) to (N,) float64."""
    return (image.double() - reference.double()).abs().mean(dim=(1, 2, 3))


def correlation(image: Tensor, reference: Tensor) -> Tensor:
    """Return the Pearson correlation over all values of an image, 0 if either is constant.

    Args:
        image: (N, C, H, W).
        reference: the same shape.

    Returns:
        (N,) float64.
    """
    x, y = image.double().flatten(1), reference.double().flatten(1)
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    norm = x.norm(dim=1) * y.norm(dim=1)
    return torch.where(norm > 1e-12, (x * y).sum(dim=1) / norm.clamp(min=1e-12), 0.0)


def spectral_angle(image: Tensor, reference: Tensor) -> Tensor:
    """Return the mean angle between the spectra of a pixel in both images (Kruse et al., 1993).

    Brightness alone does not count. A black pixel has no direction: it counts 0 if it is black in
    both images, else 90 degrees, the largest angle between two spectra.

    Args:
        image: (N, C, H, W) in [0, 1].
        reference: the same shape.

    Returns:
        (N,) float64 in degrees.
    """
    x, y = image.double(), reference.double()
    length_x, length_y = x.norm(dim=1, keepdim=True), y.norm(dim=1, keepdim=True)
    x, y = x / length_x.where(length_x > 0, 1.0), y / length_y.where(length_y > 0, 1.0)

    # the arc cosine of the product would lose half of the digits of a small angle
    angles = 2 * torch.atan2((x - y).norm(dim=1), (x + y).norm(dim=1))
    black_x, black_y = length_x[:, 0] == 0, length_y[:, 0] == 0
    angles = angles.where(~(black_x & black_y), 0.0).where(~(black_x ^ black_y), math.pi / 2)
    return torch.rad2deg(angles).mean(dim=(1, 2))


def ergas(image: Tensor, reference: Tensor) -> Tensor:
    """Return the relative dimensionless global error (ERGAS, Wald 2002).

    It is 100 h/l sqrt(mean over bands of (RMSE / mean of reference)^2); the ratio h/l of pixel
    sizes is 1 here. A band that is black in both images counts 0. A band that is black in the
    reference alone makes the result infinite.

    Args:
        image: (N, C, H, W) in [0, 1].
        reference: the same shape.

    Returns:
        (N,) float64.
    """
    x, y = image.double(), reference.double()
    error, mean = (x - y).square().mean(dim=(2, 3)), y.mean(dim=(2, 3))
    relative = (error / mean.square()).where(error > 0, 0.0)
    return 100 * relative.mean(dim=1).sqrt()


def _gaussian_window() -> list[float]:
    position = torch.arange(GAUSSIAN_SIZE, dtype=torch.float64) - GAUSSIAN_SIZE // 2
    window = torch.exp(-0.5 * (position / _GAUSSIAN_SIGMA) ** 2)
    return (window / window.sum()).tolist()


def _filter(images: Tensor, window: Sequence[float]) -> Tensor:
    """Filter every channel with a separable window, valid region only.

    A sum of shifted images is eight times as fast on a CPU as conv2d, because conv2d has no fast
    kernel for float64.
    """
    for dim in (-2, -1):
        length = images.shape[dim] - len(window) + 1
        total = images.narrow(dim, 0, length) * window[0]
        for shift, weight in enumerate(window[1:], start=1):
            total.add_(images.narrow(dim, shift, length), alpha=weight)
        images = total
    return images


def _check(image: Tensor, reference: Tensor, *, smallest: int, bounded: bool) -> None:
    """Raise ValueError unless both images can be scored."""
    if image.shape != reference.shape or image.ndim != 4:
        raise ValueError(
            f"shapes are {tuple(image.shape)} and {tuple(reference.shape)}, "
            "expected (N, C, H, W) twice the same."
        )
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise ValueError(
            f"images are {height}x{width} pixels, expected at least {smallest}x{smallest}."
        )

    for name, values in (("image", image), ("reference", reference)):
        low, high = (value.item() for value in torch.aminmax(values))
        found = f"the {name} ranges from {low:g} to {high:g}"
        if bounded and not (low >= 0 and high <= 1):
            raise ValueError(f"{found}, expected [0, 1]: clamp or scale it first.")
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{found}, expected finite values.")
