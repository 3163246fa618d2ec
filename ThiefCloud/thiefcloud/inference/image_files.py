"""Restoration of an image file, of any format and size, as predict.py and the web page do it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from cloudkit.imaging.formats import format_of, read_header
from cloudkit.imaging.pictures import thickness_suffix
from cloudkit.imaging.raster import open_image, reading
from cloudkit.imaging.selection import select
from cloudkit.imaging.writing import result_suffix
from thiefcloud.inference.jobs import is_there
from thiefcloud.inference.layers import LayerTarget
from thiefcloud.inference.measuring import Progress
from thiefcloud.inference.options import PredictOptions
from thiefcloud.inference.planning import InOnePass, ScenePlan, plan_scene
from thiefcloud.inference.provenance import Run
from thiefcloud.inference.rasters import RasterSource, RasterTarget
from thiefcloud.inference.scene_files import identity_of, restore_file
from thiefcloud.network.base import Restorer

Outcome = Literal["restored", "kept", "planned"] | InOnePass


@contextmanager
def open_scene(path: Path, options: PredictOptions) -> Iterator[RasterSource]:
    """Open an image file with the bands and the scale that the options name.

    Raises:
        UserError: the image cannot be used.
    """
    with open_image(path) as file:
        selection = select(
            file.properties, path, bands=options.bands, peak=options.peak, limits=options.scale
        )
        yield RasterSource(file, selection)


def result_file(source: Path, target: Path, options: PredictOptions) -> Path:
    """Return the file that an image is restored to: the target with its suffix.

    Raises:
        ImageError: the source is no image.
    """
    with reading(source):
        suffix = result_suffix(format_of(read_header(source)))
    return target.with_suffix(".vrt" if options.layer else suffix)


def thickness_file(result: Path, scene: RasterSource) -> Path:
    """Return the file of the thickness map beside a restored scene."""
    suffix = thickness_suffix(scene.file.properties)
    return result.with_name(f"{result.stem}_thickness{suffix}")


def restore_image(
    model: Restorer,
    source: Path,
    target: Path,
    options: PredictOptions,
    run: Run,
    *,
    say: Callable[[ScenePlan], object] = lambda plan: tqdm.write(str(plan)),
    progress: Progress = lambda step, done, total: None,
) -> Outcome:
    """Restore one image, in one pass or by tiles.

    Args:
        model: the network.
        source: the image.
        target: the file to write, but for its suffix.
        options: bands, scale, tiles and kinds of files. Their inputs are not read.
        run: what restores it, to be noted in TIFF files.
        say: called with the plan before tiles are restored, and in a dry run.
        progress: called after each tile.

    Raises:
        UserError: the image cannot be used.
    """
    target = result_file(source, target, options)
    if is_there(target, options.beside) and not (options.overwrite or options.dry_run):
        return "kept"

    with open_scene(source, options) as scene:
        # Plan. An interrupted run goes on with its own tiles.
        thickness = thickness_file(target, scene) if options.thickness else None
        target_of = LayerTarget if options.layer else RasterTarget
        results = target_of(target, scene, thickness, run)
        planned = partial(
            plan_scene,
            model,
            scene,
            flips=options.flips,
            fast=options.fast,
            measure=options.dry_run,
        )
        earlier = results.earlier()
        plan = planned(tile=options.tile or earlier.get("tile"))
        if earlier and earlier != identity_of(results, plan):  # one of other options
            plan = planned(tile=options.tile)
        if options.dry_run or not plan.is_whole:
            say(plan)
        if options.dry_run:
            return "planned"

        # Restore.
        plan = restore_file(
            model, results, plan, flips=options.flips, cog=options.cog, watch=progress
        )
        return InOnePass(plan.kind) if plan.is_whole else "restored"
