"""Restoration of images of any size."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.padding import at_any_size, check_unit_images
from scpm import FACTOR
from thiefcloud.inference.borders import Borders, find_borders
from thiefcloud.inference.fast import SCALE, has_inversion, prior_of_reduced, require_inversion
from thiefcloud.inference.gaps import without_gaps
from thiefcloud.inference.impulses import without_impulses
from thiefcloud.network.base import Restorer
from thiefcloud.network.overlay import uncover
from thiefcloud.network.statistics import scene_statistics as statistics_of


def restore(model: Restorer, image: Tensor, *, flips: bool = False, fast: bool = False) -> Tensor:
    """Remove thin cloud from one image or a batch.

    Args:
        model: the network, on any device, or one of `load_onnx`.
        image: (C, H, W) or (N, C, H, W), floating, in [0, 1], any height and width from 1 pixel.
        flips: restore all eight flipped and rotated forms of the image and take the mean: a little
            better, eight times slower.
        fast: restore by the inversion alone, without the network behind it, from a prior that sees
            the image at half its scale: a little worse, about seven times faster.

    Returns:
        The restored image, clamped to [0, 1], with the shape, dtype and device of `image`.

    Raises:
        ValueError: an image of another type, shape or range.
        UserError: `fast` with a network without an inversion, or no network.
    """
    return restore_and_detect(model, image, flips=flips, fast=fast)[0]


def restore_and_detect(
    model: Restorer,
    image: Tensor,
    *,
    raw: bool = False,
    flips: bool = False,
    fast: bool = False,
) -> tuple[Tensor, Tensor]:
    """Remove thin cloud, and return the thickness map that guided the removal.

    Args:
        model: as in `restore`.
        image: as in `restore`.
        raw: keep restored values outside [0, 1], because some protocols score them.
        flips: as in `restore`.
        fast: the same.

    Pixels that are 0 in all bands hold no data: they stay 0, the network sees them filled
    (`without_gaps`), and their thickness is 0.

    If statistics of the image guide the network, borders of one colour and single odd pixels take
    no part (`find_borders`, `without_impulses`). Borders stay as they are.

    Returns:
        The restored image, as `restore` returns it unless raw, and the thickness map (1, H, W) or
        (N, 1, H, W), clamped to [0, 1].

    Raises:
        ValueError: an image of another type, shape or range.
        UserError: `fast` with a network without an inversion, or no network.
    """
    if not hasattr(model, "reads_statistics"):
        raise UserError(
            f"the model is {type(model).__name__}, expected a network of thiefcloud.load or "
            "thiefcloud.load_onnx, before the image."
        )
    if fast:
        require_inversion(model)
    check_unit_images(image, model.in_channels)
    if model.reads_statistics:
        images = image if image.ndim == 4 else image[None]
        borders = [find_borders(one) for one in images]
        if any(map(any, borders)):
            return _restore_inside(model, image, borders, raw=raw, flips=flips, fast=fast)
    return _restore_ground(model, image, raw=raw, flips=flips, fast=fast)


def _restore_ground(
    model: Restorer, image: Tensor, *, raw: bool, flips: bool, fast: bool
) -> tuple[Tensor, Tensor]:
    """Restore images without borders, as `restore_and_detect`."""
    given, valid = image, image.any(-3, keepdim=True)
    batch = image if image.ndim == 4 else image[None]
    if model.reads_statistics:
        batch = without_impulses(batch)
    statistics = scene_statistics(model, batch)
    image = without_gaps(batch).view_as(image)

    def maps_of(batch: Tensor) -> list[Tensor]:
        if fast and has_inversion(model):
            uncovered = uncover(model.overlay, batch, statistics)
            prior = prior_of_reduced(model.prior, uncovered.images)
            return [model.invert(uncovered, prior), uncovered.with_overlay(prior.thickness)]
        result = model(batch, statistics=statistics)
        return [result.restored, result.thickness]

    outputs_of = partial(in_all_orientations, maps_of) if flips else maps_of
    restored, thickness = at_any_size(model, image, FACTOR * SCALE if fast else FACTOR, outputs_of)

    # An odd pixel changes as those around it do.
    restored = restored + (given - image)
    restored = restored if raw else restored.clamp(0, 1)
    return torch.where(valid, restored, given), torch.where(valid, thickness.clamp(0, 1), 0)


def _restore_inside(
    model: Restorer,
    image: Tensor,
    borders: Sequence[Borders],
    *,
    raw: bool,
    flips: bool,
    fast: bool,
) -> tuple[Tensor, Tensor]:
    """Restore what borders enclose, as `restore_and_detect`. The borders stay; there is no cloud.

    Args:
        model: as in `restore_and_detect`.
        image: the same.
        borders: those of each image.
        raw: as in `restore_and_detect`.
        flips: the same.
        fast: the same.
    """
    restored, thickness = image.clone(), torch.zeros_like(image[..., :1, :, :])
    restored_each = restored if image.ndim == 4 else restored[None]
    thickness_each = thickness if image.ndim == 4 else thickness[None]

    for one, its_thickness, its_borders in zip(restored_each, thickness_each, borders, strict=True):
        inside = its_borders.inside(one)
        found = _restore_ground(model, inside, raw=raw, flips=flips, fast=fast)
        inside.copy_(found[0])
        its_borders.inside(its_thickness).copy_(found[1])
    return restored, thickness


def scene_statistics(model: Restorer, image: Tensor) -> Tensor | None:
    """Compute the statistics of whole images that a network reads.

    Args:
        model: the network, on any device.
        image: (C, H, W) or (N, C, H, W).

    Returns:
        (N, 2 C - 1, 9), float32, on the network's device. None if the network reads none.
    """
    if not model.reads_statistics:
        return None
    batch = image if image.ndim == 4 else image[None]
    # Not in the network's dtype: sums over an image leave the range of float16.
    return statistics_of(batch.to(next(model.parameters()).device, torch.float32))


def in_all_orientations(maps_of: Callable[[Tensor], list[Tensor]], batch: Tensor) -> list[Tensor]:
    """Average the maps of the eight flipped and rotated forms of a batch.

    Args:
        maps_of: function of a batch (N, C, H, W) that returns maps (N, any, H, W).
        batch: (N, C, H, W).

    Returns:
        The mean of each map, after it is rotated and flipped back.
    """
    sums: list[Tensor] = []
    for rotations in range(4):
        for flipped, form in ((False, batch), (True, batch.flip(-1))):
            maps = []
            for one in maps_of(torch.rot90(form, rotations, (-2, -1))):
                upright = torch.rot90(one, -rotations, (-2, -1))
                maps.append(upright.flip(-1) if flipped else upright)

            sums = list(map(torch.add, sums, maps)) if sums else maps

    return [total / 8 for total in sums]
