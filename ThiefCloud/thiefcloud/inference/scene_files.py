"""Restoration of a scene from file to file, which a killed run can go on with."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cloudkit.errors import UserError
from cloudkit.progress import progress_bar
from thiefcloud.inference.measuring import Progress, measure_scene
from thiefcloud.inference.planning import ScenePlan
from thiefcloud.inference.rasters import RasterTarget
from thiefcloud.inference.scene_statistics import SceneStatistics
from thiefcloud.inference.scenes import restore_scene
from thiefcloud.network.base import RemovalNetwork

_STATISTICS = "statistics.safetensors"


def restore_file(
    model: RemovalNetwork,
    target: RasterTarget,
    plan: ScenePlan,
    about: Mapping[str, Any],
    *,
    cog: bool = False,
) -> None:
    """Restore a scene tile by tile, or the rest of one that another run has begun.

    Args:
        model: the network.
        target: the files to write.
        plan: the tiles.
        about: what else the result depends on, such as a checksum of the weights, for JSON.
        cog: write a TIFF as a Cloud Optimized GeoTIFF.

    Raises:
        UserError: a block of the scene cannot be read.
        OSError: the disk is full.
    """
    source = plan.source
    target.begin({**about, **identity_of(plan), "thickness": target.thickness is not None})
    tiles = plan.tiles
    missing = [tile for tile in tiles if not target.is_finished(tile)]

    try:
        if missing:
            with _bar(source.selection.path) as show:

                def progress(step: str, done: int, total: int) -> None:
                    if step == "restoring":
                        target.finish(missing[done - 1])
                    show(step, done, total)

                statistics = _statistics(model, target, plan, progress)
                restore_scene(
                    model,
                    source,
                    target,
                    tile=plan.tile,
                    statistics=statistics,
                    windows=missing,
                    progress=progress,
                )
        target.join(tiles, cog=cog)
    except UserError:
        target.discard()  # the scene is damaged, and another copy of it begins anew
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}: free some beside {target.path} and run the same command again, "
            "which goes on with the finished tiles",
        ) from error


def identity_of(plan: ScenePlan) -> dict[str, Any]:
    """Return all that tiles depend on but the weights, for JSON."""
    selection = plan.source.selection
    file = selection.path.stat()
    return {
        "size": [plan.source.height, plan.source.width],
        "bytes": file.st_size,
        "changed": file.st_mtime_ns,
        "bands": list(selection.places),
        "low": list(selection.scaling.low),
        "high": list(selection.scaling.high),
        "tile": plan.tile,
    }


def _statistics(
    model: RemovalNetwork, target: RasterTarget, plan: ScenePlan, progress: Progress
) -> SceneStatistics | None:
    """Return the statistics of a scene: those of the earlier run, or measured ones.

    A scene in one pass needs none.
    """
    if plan.is_whole:
        return None
    path = target.folder / _STATISTICS
    if path.exists():
        return SceneStatistics.load(path)
    statistics = measure_scene(model, plan.source, progress=progress)
    statistics.save(path)
    return statistics


@contextmanager
def _bar(path: Path) -> Iterator[Progress]:
    """Show a bar for each step of the work on a scene."""
    bar: tqdm[Any]
    with progress_bar(unit="tile", leave=False) as bar:

        def show(step: str, done: int, total: int) -> None:
            bar.set_description(f"{path.name}, {step}", refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        yield show
