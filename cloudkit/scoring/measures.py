"""Measures beside PSNR and SSIM for those who ask, all under the plain protocol: RGB clamped to [0, 1], full resolution."""

import importlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights

from cloudkit.errors import UserError
from cloudkit.scoring.metrics import mean_absolute_error

MeasureName = Literal["mae", "sam", "ergas", "lpips"]
LPIPS_SMALLEST = 31  # pixels: from less, nothing is left after the pooling of AlexNet


@dataclass(frozen=True)
class Measure:
    """One measure, explained."""

    description: str
    """One line for help and README."""
    larger_is_better: bool = False
    """Which way it points."""


MEASURES: dict[MeasureName, Measure] = {
    "mae": Measure("mean absolute difference over all values"),
    "sam": Measure(
        "spectral angle between the colours of a pixel (Kruse 1993), mean over pixels, in degrees; a pixel black in both images "
        "counts 0, in one of them 90"
    ),
    "ergas": Measure(
        "relative error over the bands (Wald 2002), ratio h/l = 1; infinite where a band of the clear image is wholly black and "
        "the restored one is not"
    ),
    "lpips": Measure("perceptual distance (Zhang 2018), AlexNet, version 0.1; needs the package lpips"),
}


def spectral_angle(image: Tensor, reference: Tensor) -> Tensor:
    """The angle between the spectra of a pixel in both images, mean over pixels (spectral angle mapper, Kruse 1993).

    A black pixel has no direction: black in both images it counts 0, black in one of them 90 degrees, the largest angle that
    two spectra can have. Brightness alone does not count.

    Args:
        image: (N, C, H, W) in [0, 1].
        reference: the same shape.

    Returns:
        (N,) float64, degrees.
    """
    x, y = image.double(), reference.double()
    length_x, length_y = x.norm(dim=1, keepdim=True), y.norm(dim=1, keepdim=True)
    x, y = (values / length.where(length > 0, 1.0) for values, length in ((x, length_x), (y, length_y)))
    # the arc cosine of the product would lose half of the digits of a small angle
    angles = 2 * torch.atan2((x - y).norm(dim=1), (x + y).norm(dim=1))
    black_x, black_y = (length[:, 0] == 0 for length in (length_x, length_y))
    angles = angles.where(~(black_x & black_y), 0.0).where(~(black_x ^ black_y), math.pi / 2)
    return torch.rad2deg(angles).mean(dim=(1, 2))


def ergas(image: Tensor, reference: Tensor) -> Tensor:
    """Relative dimensionless global error (ERGAS, Wald 2002): 100 h/l sqrt(mean over bands of (RMSE / mean of reference)^2).

    The ratio h/l of pixel sizes is 1 here. A band whose reference is wholly black makes it infinite, unless the image is black
    there too: then the band counts 0.

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


def measurer(names: Sequence[MeasureName]) -> Callable[[Tensor, Tensor], dict[str, float]]:
    """What computes the named measures of a restored image (3, H, W), which it clamps to [0, 1], and the clear one.

    Raises:
        UserError: a measure is unknown, or LPIPS is asked for and its package or its weights are missing.
    """
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise UserError(f"there is no measure {', '.join(unknown)}; expected {', '.join(MEASURES)}.")
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mae": mean_absolute_error,
        "sam": spectral_angle,
        "ergas": ergas,
    }
    if "lpips" in names:
        functions["lpips"] = partial(perceptual_distance, load_lpips())

    def measure(restored: Tensor, clear: Tensor) -> dict[str, float]:
        if restored.shape != clear.shape or clear.ndim != 3:
            raise ValueError(f"shapes are {tuple(restored.shape)} and {tuple(clear.shape)}, expected (3, H, W) twice the same.")
        pair = restored.detach().clamp(0, 1)[None], clear[None]
        return {name: float(functions[name](*pair)) for name in names}

    return measure


def perceptual_distance(network: nn.Module, image: Tensor, reference: Tensor) -> Tensor:
    """LPIPS of RGB images by a network of the package lpips, which is moved to where the images are.

    Args:
        network: as `load_lpips` gives it; it takes values in [-1, 1].
        image: (N, 3, H, W) in [0, 1], at least 31x31 pixels.
        reference: the same shape.

    Returns:
        (N,) float64, though the network computes in float32.

    Raises:
        ValueError: the image is too small, or not RGB.
    """
    channels, height, width = image.shape[1:]
    if channels != 3:
        raise ValueError(f"lpips takes three bands (RGB), got {channels}.")
    if min(height, width) < LPIPS_SMALLEST:
        raise ValueError(f"lpips cannot score {height}x{width} pixels, expected at least {LPIPS_SMALLEST}x{LPIPS_SMALLEST}.")
    with torch.inference_mode():
        distance = network.to(image.device)(2 * image.float() - 1, 2 * reference.float() - 1)
    return distance.double().flatten()


def load_lpips() -> nn.Module:
    """LPIPS with AlexNet, in float32 on the CPU; torch fetches AlexNet's weights (233 MB) once, unless they are there.

    Raises:
        UserError: the package is missing, or the weights cannot be had; the message says what to do.
    """
    try:
        package = importlib.import_module("lpips")
    except ImportError as error:
        raise UserError(
            f"the measure lpips needs the package lpips, which cannot be imported ({error}): pip install lpips, or leave it out."
        ) from error
    url = AlexNet_Weights.IMAGENET1K_V1.url
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision in a deprecated way
            network: nn.Module = package.LPIPS(net="alex", version="0.1", verbose=False)
    except Exception as error:  # no network, a full disk and a damaged file each raise something else
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
        raise UserError(
            f"the measure lpips needs the weights of AlexNet, which could not be loaded ({error}); expected the file {place}. "
            f"Fetch {url} where there is a network and put it there (TORCH_HOME names another place for it), or leave lpips out. "
            "If the file is there, it is damaged: delete it first."
        ) from error
    return network.eval().requires_grad_(False)
