"""Work on one uploaded image: its files in a folder of its own, and the pictures to show."""

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cloudkit.errors import UserError
from cloudkit.imaging.images import peak_hint
from cloudkit.imaging.sizes import read_size
from thiefcloud.inference.image_files import (
    open_scene,
    restore_image,
    result_file,
    thickness_file,
)
from thiefcloud.inference.jobs import plan_files
from thiefcloud.inference.measuring import Progress
from thiefcloud.inference.options import PredictOptions
from thiefcloud.inference.provenance import Run
from thiefcloud.inference.rasters import RasterSource
from thiefcloud.network.base import Restorer
from webpage.options import Work
from webpage.views import (
    Limits,
    highest,
    marked,
    overview,
    picture_of,
    shown_limits,
    step_of,
    window_around,
)

Pair = tuple[np.ndarray, np.ndarray]  # before and after
View = tuple[Pair, np.ndarray, str]  # a window, its place in the map, and a line about it


@dataclass(frozen=True)
class Finished:
    """A restored image."""

    work: Work
    """Its files."""
    options: PredictOptions
    """Options that it was restored with."""
    result: Path
    """The restored image."""
    thickness: Path | None
    """The thickness map, of a network that sees it."""
    limits: Limits
    """Values that are black and white on the screen."""
    pair: Pair
    """Overviews before and after."""
    map: np.ndarray
    """Overview of the thickness, or of the restored image if there is none."""
    note: str
    """Sentences for the user."""


def take(upload: Path, root: Path, *, megapixels: float) -> Work:
    """Begin the work on an uploaded file.

    Args:
        upload: the file, which somebody else may remove later.
        root: folder for the folders of all users.
        megapixels: largest size in millions of pixels.

    Raises:
        UserError: the file is no image, or too large.
    """
    height, width = read_size(upload)
    if height * width > megapixels * 1e6:
        raise UserError(
            f"{upload} has {width} x {height} pixels ({height * width / 1e6:.1f} megapixels), "
            f"expected at most {megapixels:g} megapixels on this page. Restore it on the command "
            f"line: python ThiefCloud/predict.py {upload.name} --out cleared"
        )
    work = Work(Path(tempfile.mkdtemp(dir=root)), Path())
    work = replace(work, source=work.folder / upload.name)
    try:
        os.link(upload, work.source)
    except OSError:  # another disk, or one without links
        shutil.copyfile(upload, work.source)
    return work


def describe(options: PredictOptions, source: Path) -> str:
    """Say what is known of an image before it is restored.

    Raises:
        UserError: the image cannot be restored with these options.
    """
    with open_scene(source, options) as scene:
        properties = scene.file.properties
        count = len(properties.bands)
        return (
            f"{source.name}: {scene.width} x {scene.height} pixels, "
            f"{count} band{'s' * (count > 1)} of {properties.dtype}, "
            f"{'with' if properties.place.is_known else 'without'} a place on Earth, "
            f"black to white {scene.selection.scaling}."
        )


def restore(
    model: Restorer, work: Work, options: PredictOptions, run: Run, progress: Progress
) -> Finished:
    """Restore an image as predict.py does, and make its overviews.

    Args:
        model: the network.
        work: the image.
        options: those of predict.py for it.
        run: what restores it, to be noted in TIFF files.
        progress: called after each tile.

    Raises:
        UserError: the image cannot be restored with these options.
    """
    shutil.rmtree(work.out, ignore_errors=True)  # of other options
    ((source, target),) = plan_files(options.inputs, work.out, beside=options.beside)
    restore_image(model, source, target, options, run, say=lambda plan: None, progress=progress)

    result = result_file(source, target, options)
    with open_scene(source, options) as before, open_scene(result, options) as after:
        images = overview(before), overview(after)
        limits = shown_limits(before, images[1])
        note = _note(before, limits)
        thickness = thickness_file(result, before) if options.thickness else None

    pair = picture_of(images[0], limits), picture_of(images[1], limits)
    shown = pair[1]
    if thickness is not None:
        plain = PredictOptions(inputs=(thickness,))
        with open_scene(thickness, plain) as scene:
            shown = picture_of(overview(scene))
    return Finished(work, options, result, thickness, limits, pair, shown, note)


def look(finished: Finished, row: int, column: int) -> View:
    """Return a window at full resolution, its place in the map, and a line about it.

    Args:
        finished: the restored image.
        row: row in the overview that is near the centre of the window.
        column: column of the same.
    """
    files = (finished.work.source, finished.result)
    pictures = []
    for path in files:
        with open_scene(path, finished.options) as scene:
            step = step_of(scene)
            window = window_around(scene, row * step, column * step)
            pictures.append(picture_of(scene.read(window)[0], finished.limits))
    text = (
        f"**Full resolution**: rows {window.top} to {window.bottom - 1}, columns {window.left} to "
        f"{window.right - 1}. Move the slider."
    )
    return (pictures[0], pictures[1]), marked(finished.map, window, step), text


def _note(scene: RasterSource, limits: Limits) -> str:
    """Say what a user may not expect of a restored image."""
    parts = [f"{scene.selection.path.name} is restored."]
    scaling, dtype = scene.selection.scaling, scene.file.properties.dtype
    if not scaling.is_found and dtype.endswith("int16"):
        white = scaling.high[0]
        if hint := peak_hint(highest(scene) * white, white):
            parts.append(f"But it {hint}")
    if limits != (0.0, 1.0):
        parts.append("The screen shows it brighter than it is; the file keeps its values.")
    return " ".join(parts)
