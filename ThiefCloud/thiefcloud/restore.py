"""Restoring images of any size."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cloudkit.padding import at_any_size, check_unit_images
from scpm import FACTOR
from thiefcloud.inversion import fill, has_data, image_statistics
from thiefcloud.model import ThiefCloud
from thiefcloud.unet import UNet


def restore(model: ThiefCloud | UNet, image: Tensor, *, flips: bool = False) -> Tensor:
    """Remove thin cloud from one image or a batch.

    Args:
        model: the network, on any device.
        image: (C, H, W) or (N, C, H, W), floating, in [0, 1], any height and width from 1 pixel.
        flips: restore all eight mirrored and turned forms of the image and take the mean: a little better, eight times slower.

    Returns:
        The restored image, clamped to [0, 1], with the shape, dtype and device of `image`.

    Raises:
        ValueError: an image of another type, shape or range.
    """
    return restore_and_detect(model, image, flips=flips)[0]


def restore_and_detect(
    model: ThiefCloud | UNet, image: Tensor, *, raw: bool = False, flips: bool = False
) -> tuple[Tensor, Tensor]:
    """As `restore`, and the thickness map (1, H, W) or (N, 1, H, W), clamped to [0, 1], that guided it.

    With `raw` the restored image keeps values outside [0, 1], as some protocols of scoring want them.
    """

    check_unit_images(image)
    statistics = scene_statistics(model, image)

    def maps_of(batch: Tensor) -> list[Tensor]:
        result = model(batch, statistics=statistics)
        return [result.restored, result.thickness]

    outputs_of = partial(in_all_orientations, maps_of) if flips else maps_of
    restored, thickness = at_any_size(model, image, FACTOR, outputs_of)
    return restored if raw else restored.clamp(0, 1), thickness.clamp(0, 1)


def scene_statistics(model: ThiefCloud | UNet, image: Tensor) -> Tensor | None:
    """Statistics of an image, or a batch, for the inversion of a network, on its device; None where it has no inversion."""
    if model.inversion is None:
        return None
    batch = (image if image.ndim == 4 else image[None]).to(next(model.parameters()))
    return image_statistics(fill(batch, has_data(batch)))


def in_all_orientations(maps_of: Callable[[Tensor], list[Tensor]], batch: Tensor) -> list[Tensor]:
    """Mean of the maps (N, any, H, W) of the eight mirrored and turned forms of a batch (N, C, H, W), each turned back."""
    sums: list[Tensor] = []
    for turns in range(4):
        for form in (batch, batch.flip(-1)):
            maps = [torch.rot90(turned, -turns, (-2, -1)) for turned in maps_of(torch.rot90(form, turns, (-2, -1)))]
            maps = maps if form is batch else [mirrored.flip(-1) for mirrored in maps]
            sums = [total + one for total, one in zip(sums, maps, strict=True)] if sums else maps
    return [total / 8 for total in sums]
