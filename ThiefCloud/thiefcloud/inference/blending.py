"""Blending: what the thickness map calls clear stays bit-equal."""

import torch
from torch import Tensor

# Thickness up to which nothing changes, and from which all does. The prior reads at most CLEAR at
# 95 % of the pixels of clear Sentinel-2 tiles, and more at 93 % of those under the haze of RICE1.
CLEAR, CLOUD = 0.08, 0.2


def blend(image: Tensor, restored: Tensor, thickness: Tensor) -> Tensor:
    """Keep of a restoration what it changes under cloud.

    Args:
        image: (..., C, H, W), the cloudy image.
        restored: of the same shape.
        thickness: (..., 1, H, W), the thickness map, 0 clear, 1 opaque.

    Returns:
        The image up to the thickness `CLEAR`, the restored one from `CLOUD` on, and between them
        a smooth passage.
    """
    fraction = ((thickness - CLEAR) / (CLOUD - CLEAR)).clamp(0, 1)
    weight = fraction**2 * (3 - 2 * fraction)
    return torch.where(weight > 0, torch.lerp(image, restored, weight), image)
