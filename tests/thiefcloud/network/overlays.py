"""Overlays of known opacity to test, and images under them."""

import math

import torch
from torch import Tensor

from scpm import SCPM
from tests.thiefcloud.network.inversions import randomised
from thiefcloud import RemovalNetwork, ThiefCloud
from thiefcloud.network.overlay import _SLOWNESS, Overlay


def fix(overlay: Overlay, opacity: float) -> Overlay:
    """Let an overlay see the same opacity in all images."""
    with torch.no_grad():
        overlay.opacity.last.bias.fill_(math.log(opacity / (1 - opacity)) / _SLOWNESS)
        overlay.recognition.last.bias.fill_(1.0)
    return overlay


def recognise_bright(overlay: Overlay, brightness: float) -> Overlay:
    """Let an overlay recognise images whose mean of the first band is brighter."""
    layers = [*overlay.recognition.hidden, overlay.recognition.last]
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[0, 0] = 1  # the mean, as `centred` scales it
        layers[0].bias[0] = -4 * (brightness - 0.4)
        layers[-1].bias[0] = -1e-4
    return overlay


def laid_over(clear: Tensor, opacity: float) -> Tensor:
    """Return clear images under an overlay."""
    return (1 - opacity) * clear + opacity**2


def with_overlay(model: RemovalNetwork, opacity: float) -> RemovalNetwork:
    """Give a network an overlay that sees the same opacity in all images."""
    fix(model.add_overlay(), opacity)
    return model.eval()


def changing(*, inversion: bool = True) -> ThiefCloud:
    """A network whose parts all change images."""
    torch.manual_seed(1)
    model = ThiefCloud(SCPM(), residual=True, inversion=inversion)
    if inversion:
        model.inversion = randomised()
    for weight in model.level_full.head.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    return model.eval()


def land(count: int = 2, *, seed: int = 0, height: int = 32, width: int = 48) -> Tensor:
    """Clear images without black pixels."""
    random = torch.Generator().manual_seed(seed)
    return 0.05 + 0.5 * torch.rand(count, 3, height, width, generator=random)
