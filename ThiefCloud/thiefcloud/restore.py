"""Restoring images of any size."""

from torch import Tensor

from cloudkit.padding import at_any_size
from scpm import FACTOR
from thiefcloud.model import ThiefCloud


def restore(model: ThiefCloud, image: Tensor) -> Tensor:
    """Remove thin cloud from one image or a batch.

    Args:
        model: the network, on any device.
        image: (C, H, W) or (N, C, H, W), floating, in [0, 1], any height and width from 1 pixel.

    Returns:
        The restored image, clamped to [0, 1], with the shape, dtype and device of `image`.

    Raises:
        ValueError: an image of another type, shape or range.
    """
    return restore_and_detect(model, image)[0]


def restore_and_detect(model: ThiefCloud, image: Tensor, *, raw: bool = False) -> tuple[Tensor, Tensor]:
    """As `restore`, and the thickness map (1, H, W) or (N, 1, H, W), clamped to [0, 1], that guided it.

    With `raw` the restored image keeps values outside [0, 1], as some protocols of scoring want them.
    """

    def outputs_of(batch: Tensor) -> tuple[Tensor, Tensor]:
        result = model(batch)
        return result.restored, result.thickness

    restored, thickness = at_any_size(model, image, FACTOR, outputs_of)
    return restored if raw else restored.clamp(0, 1), thickness.clamp(0, 1)
