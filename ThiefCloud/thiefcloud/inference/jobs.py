"""Files that a run reads and writes, planned before any is written."""

import os
from collections.abc import Sequence
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.imaging.finding import distinct_stems, find_images
from cloudkit.script.command_line import expand
from thiefcloud.inference.rasters import unfinished


def plan_files(
    inputs: Sequence[Path], out: Path, *, beside: Sequence[str] = ()
) -> list[tuple[Path, Path]]:
    """Return each image with the file to write.

    Args:
        inputs: images and folders.
        out: folder of the files to write.
        beside: ends of the names of further files for each image, such as "_thickness".

    Raises:
        UserError: an input is missing, two images would share a file, or a file would replace an
            input.
    """
    out = real(out)
    found: dict[Path, Path] = {}  # each image and its place below the folder that was given
    known: set[Path] = set()

    def add(path: Path, place: Path) -> None:
        """Note an image, unless it was given already, maybe by another path to its folder."""
        entry = real(path.parent) / path.name
        if entry not in known:
            known.add(entry)
            found[path] = place

    for given in expand(inputs):
        if given.is_dir():
            for path in find_images(given):
                if not real(path).is_relative_to(out):
                    add(path, path.relative_to(given))
        elif given.is_file():
            add(given, Path(given.name))
        else:
            raise UserError(f"there is no image or folder {given}.")
    if not found:
        raise UserError(f"there is no image to restore but those in {out}, where results go.")

    jobs: list[tuple[Path, Path]] = []
    for (path, place), stem in zip(found.items(), distinct_stems(list(found)), strict=True):
        jobs.append((path, out / place.with_name(stem + path.suffix)))

    # Names are compared without suffix, because formats may change.
    sources = {real(source).with_suffix(""): source for source, _ in jobs}
    writers: dict[Path, Path] = {}
    for source, target in jobs:
        names = [target.with_suffix("")]
        names += [target.with_name(f"{target.stem}{end}") for end in beside]
        for name in names:
            if name in writers:
                raise UserError(
                    f"{writers[name]} and {source} would both be written as {name}.*; "
                    "restore them into different folders."
                )
            if name in sources:
                raise UserError(
                    f"{sources[name]} is one of the images to restore and would be replaced; "
                    "choose another --out."
                )
            writers[name] = source
    return jobs


def is_there(target: Path, beside: Sequence[str]) -> bool:
    """Return True if results are complete, and no interrupted run has begun to replace them.

    Args:
        target: the file to write.
        beside: as in `plan_files`.
    """
    if unfinished(target).exists() or not target.exists():
        return False
    for end in beside:
        other = target.with_stem(f"{target.stem}{end}")
        if not (other.with_suffix(".tif").exists() or other.with_suffix(".png").exists()):
            return False
    return True


def real(path: Path) -> Path:
    """Return the path without links. Unlike `Path.resolve`, this takes links that form a cycle."""
    return Path(os.path.realpath(path))
