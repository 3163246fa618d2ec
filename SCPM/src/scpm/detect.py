"""Detection of cloud thickness in images of any size."""

from torch import Tensor, nn

from cloudkit.imaging.padding import at_any_size, check_unit_images
from scpm.network.model import FACTOR


def detect(model: nn.Module, images: Tensor) -> Tensor:
    """Return the cloud thickness of one image or of a batch.

    Args:
        model: SCPM, on any device.
        images: (C, H, W) or (N, C, H, W), floating, in [0, 1], any height and width from 1 pixel.

    Returns:
        Thickness (1, H, W) or (N, 1, H, W), clamped to [0, 1]: 0 is clear, 1 opaque. It has the
        dtype and device of `images`.

    Raises:
        ValueError: images have another type, shape or range.
    """
    check_unit_images(images, model.in_channels)  # type: ignore[arg-type]
    (thickness,) = at_any_size(model, images, FACTOR, lambda batch: [model(batch).thickness])
    return thickness.clamp(0, 1)
