"""Restoration of a scene from file to file, which a killed run can go on with."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cloudkit.errors import UserError
from cloudkit.imaging.pictures import picture_of
from cloudkit.imaging.raster import reading
from cloudkit.memory import free_memory, memory_error
from cloudkit.progress import progress_bar
from thiefcloud.inference.measuring import Progress, measure_scene
from thiefcloud.inference.planning import ScenePlan
from thiefcloud.inference.rasters import RasterTarget
from thiefcloud.inference.restore import restore_and_detect
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.scenes import SMALLEST, largest_tile, restore_scene
from thiefcloud.inference.tiles import Window
from thiefcloud.network.base import RemovalNetwork, Restorer

# Restores tiles with statistics, anywhere, and yields something after each that is finished.
Work = Callable[[SceneStatistics, list[Window]], Iterable[object]]
_STATISTICS = "statistics.safetensors"


def restore_file(
    model: Restorer,
    target: RasterTarget,
    plan: ScenePlan,
    *,
    flips: bool = False,
    cog: bool = False,
    work: Work | None = None,
    watch: Progress = lambda step, done, total: None,
) -> ScenePlan:
    """Restore an image in one pass or by tiles, as it is planned.

    If one pass runs out of memory, tiles follow; if tiles do, smaller ones.

    Args:
        model: the network. Those of `load_onnx` know no tiles.
        target: the files to write.
        plan: the tiles. Those that another run has finished are kept.
        flips: restore all eight forms of the image, which is one pass, too.
        cog: write a TIFF as a Cloud Optimized GeoTIFF.
        work: restores tiles and finishes them in the target's folder, such as on other machines.
            It computes no gain. Default: this process does. One pass is always its own.
        watch: called after each tile, beside the bar in the terminal.

    Returns:
        The plan, or that with smaller tiles.

    Raises:
        UserError: a block of the scene cannot be read. Tiles that are finished stay.
        OSError: the disk is full.
    """
    if plan.is_whole and not target.takes_gain:
        try:
            _restore_whole(model, target, plan, flips=flips, cog=cog)
        except Exception as error:
            tile = min(
                largest_tile(fast=plan.fast), max(plan.source.height, plan.source.width) // 2
            )
            has_tiles = isinstance(model, RemovalNetwork) and not flips and tile >= SMALLEST
            if memory_error(error) is None or not has_tiles:
                raise
        else:
            return plan
        free_memory()  # after the error, and with it the memory of the failed work, is gone
        tqdm.write(
            f"{plan.source.selection.path}: no memory for one pass, so tiles of {tile} pixels"
        )
        plan = replace(plan, tile=tile)

    assert isinstance(model, RemovalNetwork)  # others have no tiles
    _restore_tiles(model, target, plan, cog=cog, work=work, watch=watch)
    return plan


def _restore_whole(
    model: Restorer, target: RasterTarget, plan: ScenePlan, *, flips: bool, cog: bool
) -> None:
    """Restore an image in one pass."""
    source = plan.source
    with reading(source.selection.path):
        picture = picture_of(source.file.read(), source.selection)
    image = picture.image.to(next(model.parameters()).device)
    restored, thickness = restore_and_detect(model, image, flips=flips, fast=plan.fast)
    target.write_whole(picture, restored.cpu(), thickness.cpu(), cog=cog)


def _restore_tiles(
    model: RemovalNetwork,
    target: RasterTarget,
    plan: ScenePlan,
    *,
    cog: bool,
    work: Work | None,
    watch: Progress,
) -> None:
    """Restore a scene tile by tile, or the rest of one that another run has begun."""
    target.begin(identity_of(target, plan))
    tiles = plan.tiles
    missing = [tile for tile in tiles if not target.is_finished(tile)]

    try:
        if missing:
            with _bar(plan.source.selection.path, watch) as show:
                statistics = _statistics(model, target, plan, show)
                if work is None:
                    _restore_here(model, target, plan, statistics, missing, show)
                else:
                    for done, _ in enumerate(work(statistics, missing), 1):
                        show("restoring", done, len(missing))
        target.join(tiles, cog=cog)
    except UserError:
        if not any(map(target.is_finished, tiles)):
            target.discard()
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: free some beside {target.path} and run the same command again, "
            "which goes on with the finished tiles",
        ) from error


def _restore_here(
    model: RemovalNetwork,
    target: RasterTarget,
    plan: ScenePlan,
    statistics: SceneStatistics,
    tiles: Sequence[Window],
    show: Progress,
) -> None:
    """Restore and write tiles one after the other."""

    def progress(step: str, done: int, total: int) -> None:
        target.finish(tiles[done - 1])
        show(step, done, total)

    restore_scene(
        model,
        plan.source,
        target,
        tile=plan.tile,
        statistics=statistics,
        windows=tiles,
        fast=plan.fast,
        gain=target.takes_gain,
        progress=progress,
    )


def identity_of(target: RasterTarget, plan: ScenePlan) -> dict[str, Any]:
    """Return all that finished tiles depend on, for JSON."""
    selection = plan.source.selection
    file = selection.path.stat()
    of_run = {} if target.run is None else target.run.identity
    return {
        **of_run,
        "gain": target.takes_gain,
        "size": [plan.source.height, plan.source.width],
        "bytes": file.st_size,
        "changed": file.st_mtime_ns,
        "bands": list(selection.places),
        "low": list(selection.scaling.low),
        "high": list(selection.scaling.high),
        "tile": plan.tile,
        "fast": plan.fast,
    }


def _statistics(
    model: RemovalNetwork, target: RasterTarget, plan: ScenePlan, progress: Progress
) -> SceneStatistics:
    """Return the statistics of a scene: those of the earlier run, or measured ones."""
    path = target.folder / _STATISTICS
    if not path.exists():
        measure_scene(model, plan.source, fast=plan.fast, progress=progress).save(path)
    # At once too: other places in memory may round otherwise.
    statistics = SceneStatistics.load(path)
    plan.source.selection.require_reach(float(statistics.ground.max()))
    plan.source.selection.require_contrast(statistics.ground)
    return statistics


@contextmanager
def _bar(path: Path, watch: Progress) -> Iterator[Progress]:
    """Show a bar for each step of the work on a scene, and tell `watch` too."""
    bar: tqdm[Any]
    with progress_bar(unit="tile", leave=False) as bar:

        def show(step: str, done: int, total: int) -> None:
            bar.set_description(f"{path.name}, {step}", refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()
            watch(step, done, total)

        yield show
