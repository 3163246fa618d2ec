"""Image files in folders, and their order."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloudkit.imaging.formats import SUFFIXES


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that puts "2.png" before "10.png"."""
    parts = filter(None, re.split(r"(\d+)", name))
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def find_images(folder: Path, *, recursive: bool = True) -> list[Path]:
    """Find all visible image files in a folder, in natural order of their paths.

    Links to folders are followed. A folder that is reached in two ways is searched once, so links
    may form a cycle. What is named like an image and is none, such as a broken link or a folder
    without images, is among the results: whoever reads it names it.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no image.
        PermissionError: a folder may not be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(
            f"{folder} {problem}; expected a folder of images ({', '.join(SUFFIXES)})."
        )

    found: list[Path] = []
    doubtful: list[Path] = []
    for place in _folders_below(folder) if recursive else [folder]:
        for path in _visible(place):
            if path.is_dir():
                doubtful += [path] if _is_named_as_image(path) else []
            elif _is_named_as_image(path) or _may_be_a_lost_folder(path):
                found.append(path)
    for path in doubtful:
        if not any(image.is_relative_to(path) for image in found):
            found.append(path)

    if not found:
        raise FileNotFoundError(
            f"{folder} holds no image; expected files ending in {', '.join(SUFFIXES)}."
        )
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def distinct_stems(paths: Sequence[Path]) -> list[str]:
    """Return a name without suffix for each path, such as "a".

    Files of one folder that differ in their suffix alone get it as part of their name: "a_jpg" and
    "a_tif".
    """
    alike = Counter(path.with_suffix("") for path in set(paths))
    stems = []
    for path in paths:
        is_alone = alike[path.with_suffix("")] == 1
        stems.append(path.stem if is_alone else f"{path.stem}_{path.suffix[1:].lower()}")
    return stems


def _folders_below(folder: Path) -> Iterator[Path]:
    """Yield a folder and all visible ones below it, each once; links come last."""
    searched: set[str] = set()
    waiting, links = [folder], list[Path]()
    while waiting or links:
        place = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(place)
        if real in searched:
            continue
        searched.add(real)
        yield place

        for path in _visible(place):
            if path.is_dir():
                (links if path.is_symlink() else waiting).append(path)


def _visible(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    return [folder / name for name in names if not name.startswith(".")]


def _is_named_as_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _may_be_a_lost_folder(path: Path) -> bool:
    """Tell whether a link may have led to a folder that is no longer there."""
    return not path.suffix and path.is_symlink() and not path.exists()
