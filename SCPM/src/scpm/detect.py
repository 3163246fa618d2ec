"""The thickness map of an image of any size."""

from torch import Tensor, nn

from cloudkit.padding import at_any_size
from scpm.model import FACTOR


def detect(model: nn.Module, images: Tensor) -> Tensor:
    """Cloud thickness of one image or a batch.

    Args:
        model: SCPM, on any device.
        images: (C, H, W) or (N, C, H, W), floating, in [0, 1], any height and width from 1 pixel.

    Returns:
        Thickness (1, H, W) or (N, 1, H, W), clamped to [0, 1] (0 clear, 1 opaque), with the dtype and device of `images`.

    Raises:
        ValueError: images of another type, shape or range.
    """
    (thickness,) = at_any_size(model, images, FACTOR, lambda batch: [model(batch).thickness])
    return thickness.clamp(0, 1)
