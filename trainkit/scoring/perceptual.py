"""LPIPS, a perceptual distance, by the optional package lpips."""

import importlib
import warnings
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from cloudkit.errors import UserError

LPIPS_SMALLEST = 31  # pixels: smaller images vanish in the pooling of AlexNet


def perceptual_distance(image: Tensor, reference: Tensor) -> Tensor:
    """Return LPIPS (Zhang et al., 2018) of RGB images with AlexNet, version 0.1.

    Args:
        image: (N, 3, H, W) in [0, 1], at least 31x31 pixels.
        reference: the same shape.

    Returns:
        (N,) float64; the network itself computes in float32.

    Raises:
        ValueError: the image is too small, or not RGB.
        UserError: the network cannot be loaded.
    """
    channels, height, width = image.shape[1:]
    if channels != 3:
        raise ValueError(f"lpips takes three bands (RGB), but the image has {channels}.")
    if min(height, width) < LPIPS_SMALLEST:
        raise ValueError(
            f"lpips cannot score {height}x{width} pixels, "
            f"expected at least {LPIPS_SMALLEST}x{LPIPS_SMALLEST}."
        )

    network = load_lpips().to(image.device)
    with torch.inference_mode():
        distance = network(2 * image.float() - 1, 2 * reference.float() - 1)
    return distance.double().flatten()


@cache
def load_lpips() -> nn.Module:
    """Load LPIPS with AlexNet in float32, once; PyTorch downloads AlexNet (233 MB) if needed.

    Raises:
        UserError: the package is missing, or the weights cannot be loaded.
    """
    try:
        package = importlib.import_module("lpips")
    except ImportError as error:
        raise UserError(
            f"the metric lpips needs the package lpips, which cannot be imported ({error}): "
            "pip install lpips, or leave the metric out."
        ) from error

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision in a deprecated way
            network: nn.Module = package.LPIPS(net="alex", version="0.1", verbose=False)
    except Exception as error:  # a missing connection, a full disk and a damaged file all differ
        from torchvision.models import AlexNet_Weights  # takes a second, so only where needed

        url = AlexNet_Weights.IMAGENET1K_V1.url
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
        raise UserError(
            f"the metric lpips cannot load the weights of AlexNet ({error}); expected the file "
            f"{place}, or below TORCH_HOME. If it is there, it is damaged: delete it first. "
            f"Fetch {url} on a connected machine and put it there, or leave lpips out."
        ) from error
    return network.eval().requires_grad_(False)
