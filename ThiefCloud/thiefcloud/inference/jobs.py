"""Files that a run reads and writes, planned before any is written."""

import os
from collections.abc import Sequence
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.imaging.finding import distinct_stems, find_images
from cloudkit.script.command_line import expand
from thiefcloud.inference.rasters import unfinished


def plan_files(inputs: Sequence[Path], out: Path, *, thickness: bool) -> list[tuple[Path, Path]]:
    """Return each image with the file to write.

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
    sources = {real(source).with_suffix("") for source, _ in jobs}
    writers: dict[Path, Path] = {}
    for source, target in jobs:
        names = [target.with_suffix("")]
        if thickness:
            names.append(target.with_name(f"{target.stem}_thickness"))
        for name in names:
            if name in writers:
                raise UserError(
                    f"{writers[name]} and {source} would both be written as {name}; "
                    "restore them into different folders."
                )
            if name in sources:
                raise UserError(
                    f"{name} is one of the images to restore and would be replaced; "
                    "choose another --out."
                )
            writers[name] = source
    return jobs


def is_there(target: Path, thickness: Path | None) -> bool:
    """Return True if results are complete, and no interrupted run has begun to replace them."""
    files = [target]
    if thickness is not None:
        files.append(thickness.with_suffix(".tif"))
        if not files[-1].exists():
            files[-1] = thickness.with_suffix(".png")
    return all(file.exists() for file in files) and not unfinished(target).exists()


def real(path: Path) -> Path:
    """Return the path without links. Unlike `Path.resolve`, this takes links that form a cycle."""
    return Path(os.path.realpath(path))
