"""Restoration of scenes of any size, with memory bounded by the tile."""

import math
from collections.abc import Sequence

import torch

from cloudkit.errors import UserError
from cloudkit.memory import available_memory, free_memory, memory_error, return_memory
from thiefcloud.inference.fast import require_inversion
from thiefcloud.inference.measuring import Progress, measure_scene
from thiefcloud.inference.restore import restore_and_detect
from thiefcloud.inference.scene_statistics import SceneStatistics, prior_halo
from thiefcloud.inference.tiles import GainTarget, Source, Target, Window, whole
from thiefcloud.inference.windows import require_scene, restore_with_gain
from thiefcloud.network.base import RemovalNetwork

SMALLEST = 32  # side of a tile in pixels
_LARGEST = 640  # scenes of any size then take less than 3 GB; larger ones save a fifth of the time
_LARGEST_FAST = 1536  # the same for the fast restoration, whose halo is wider
_PER_PIXEL = 1800  # bytes that a network takes on a CPU
_PER_PIXEL_FAST = 500  # the same without the network behind the inversion
_FRACTION = 0.5  # of the free memory that is used
_STEP = 64  # tiles are multiples of it


def restore_scene(
    model: RemovalNetwork,
    source: Source,
    target: Target,
    *,
    tile: int | None = None,
    statistics: SceneStatistics | None = None,
    windows: Sequence[Window] | None = None,
    fast: bool = False,
    gain: bool = False,
    progress: Progress = lambda step, done, total: None,
) -> None:
    """Restore a scene tile by tile, equal to one pass over the whole.

    Each pixel is written once. Results depend neither on the tiles nor on their order.

    Args:
        model: the network, on any device.
        source: the scene.
        target: what is written.
        tile: side of the tiles in pixels. Default: `fitting_tile`.
        statistics: those of the scene; see `measure_scene`. Default: measured, unless the scene is
            one tile.
        windows: what to restore, in this order: a part of the work, or what an interrupted run has
            left of `tiles_of`. Default: all tiles.
        fast: restore by the inversion alone; see `restore`.
        gain: write the gain of the inversion, too; `target` is a `GainTarget`.
        progress: called after each tile; the window is written then.

    Raises:
        ValueError: valid pixels are not in [0, 1].
        UserError: a tile too small, statistics of another scene or for another `fast`, or `fast`
            or `gain` without an inversion.
        RuntimeError, MemoryError: there is no memory even for the smallest tiles.
    """
    require_scene(model, source)
    if fast:
        require_inversion(model)
    if gain and model.inversion is None:
        raise UserError("a gain is part of the inversion, which this network lacks: leave it out.")
    if statistics is not None and statistics.fast != fast:
        raise UserError(
            f"the statistics were measured with fast={statistics.fast}, but fast is {fast}: "
            "measure them anew with the same."
        )
    if tile is None:
        tile = fitting_tile(model, source, fast=fast)
    if windows is None:
        windows = tiles_of(source, tile)

    # A scene that is one tile needs no statistics.
    if statistics is None and not gain and list(windows) == [whole(source)]:
        try:
            _restore_whole(model, source, target, fast=fast)
        except Exception as error:
            if memory_error(error) is None:
                raise
        else:
            progress("restoring", 1, 1)
            return
        free_memory()
        tile = min(largest_tile(fast=fast), max(source.height, source.width) // 2)

    if statistics is None:
        statistics = measure_scene(model, source, fast=fast, progress=progress)
    for done, window in enumerate(windows, 1):
        tile = _restore_within_memory(model, source, target, statistics, window, tile, gain=gain)
        return_memory()
        progress("restoring", done, len(windows))


def tiles_of(source: Source, tile: int) -> list[Window]:
    """Divide a scene into tiles.

    Raises:
        UserError: a tile too small.
    """
    if tile < SMALLEST:
        raise UserError(f"tiles of {tile} pixels are too small, expected at least {SMALLEST}.")
    return list(whole(source).tiles(tile))


def fitting_tile(model: RemovalNetwork, source: Source, *, fast: bool = False) -> int:
    """Return the side of the tiles that free memory allows; the whole scene if it fits."""
    device = next(model.parameters()).device
    pixels = _FRACTION * available_memory(device) / bytes_per_pixel(fast=fast)
    if source.height * source.width <= pixels:
        return max(source.height, source.width, SMALLEST)

    side = int(math.sqrt(pixels)) - 2 * prior_halo(fast=fast)
    return min(max(side // _STEP * _STEP, _STEP), largest_tile(fast=fast))


def bytes_per_pixel(*, fast: bool) -> int:
    """Return the memory that a pixel takes."""
    return _PER_PIXEL_FAST if fast else _PER_PIXEL


def largest_tile(*, fast: bool) -> int:
    """Return the side of the largest tiles, beyond which little time is saved."""
    return _LARGEST_FAST if fast else _LARGEST


def _restore_whole(model: RemovalNetwork, source: Source, target: Target, *, fast: bool) -> None:
    """Restore a scene in one pass."""
    window = whole(source)
    pixels, valid = source.read(window)
    image = torch.where(valid, pixels, 0)
    valid = image.any(0)

    thickness = torch.zeros_like(image[:1])
    if valid.any():
        restored, found = restore_and_detect(model, image, fast=fast)
        pixels = torch.where(valid, restored, pixels)
        thickness = torch.where(valid, found, thickness)
    target.write(window, pixels, thickness)


def _restore_within_memory(
    model: RemovalNetwork,
    source: Source,
    target: Target,
    statistics: SceneStatistics,
    window: Window,
    tile: int,
    *,
    gain: bool,
) -> int:
    """Restore and write a window, in smaller tiles if memory runs out.

    Returns:
        The side of the tiles that fit.
    """
    for part in window.tiles(tile):
        try:
            restored = restore_with_gain(model, source, statistics, part, gain=gain)
        except Exception as error:
            if memory_error(error) is None or tile // 2 < SMALLEST:
                raise
            restored = None
        if restored is not None:
            if gain:
                assert isinstance(target, GainTarget)
                target.write_gain(part, restored[2])
            target.write(part, *restored[:2])
            continue

        free_memory()  # after the error, and with it the memory of the failed work, is gone
        tile = tile // 2
        for smaller in part.tiles(tile):
            tile = _restore_within_memory(
                model, source, target, statistics, smaller, tile, gain=gain
            )
    return tile
