"""Pairs of a cloudy and a clear image, matched by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.imaging.finding import distinct_stems, find_images, natural_key

CLOUDY_FOLDERS = ("cloudy", "cloud", "haze", "hazy", "input")
CLEAR_FOLDERS = ("clear", "label", "reference", "gt", "target")
_ROLE = re.compile(
    r"[-_](inputs?|cloudy?|haz[ey]|targets?|clear|label|reference|gt)$", re.IGNORECASE
)


class DataError(UserError):
    """Images that cannot be found or matched. The message names their folder."""


@dataclass(frozen=True)
class Pair:
    """Two files that show the same place."""

    name: str
    """Common part of both file names, without the suffix."""
    cloudy: Path
    """The image with clouds."""
    clear: Path
    """The image without clouds; for the training of SCPM, the thickness map."""


def match_pairs(cloudy: Path, clear: Path) -> tuple[list[Pair], int]:
    """Match the images of two folders by name.

    Names may differ in a role at their end, such as "-inputs" and "-targets".

    Returns:
        The pairs in natural order of their names, and the number of images without a partner.

    Raises:
        DataError: the folders have no name in common, or one holds two images of one name.
    """
    left, right = images_by_pair(cloudy), images_by_pair(clear)
    names = sorted(left.keys() & right.keys(), key=natural_key)
    if not names:
        examples = " and ".join(next(iter(images.values())).name for images in (left, right))
        raise DataError(
            f"no image in {cloudy} has the name of one in {clear} (for example {examples}); "
            "pairs are matched by name, so name both files of a pair alike."
        )

    pairs = [Pair(name, left[name], right[name]) for name in names]
    return pairs, len(left.keys() ^ right.keys())


def images_by_pair(folder: Path) -> dict[str, Path]:
    """Return the images directly in a folder by the name of their pair.

    Raises:
        FileNotFoundError: the folder does not exist or holds no image.
        DataError: two images have one name.
    """
    images: dict[str, Path] = {}
    for path in find_images(folder, recursive=False):
        name = pair_name(path.stem)
        if name in images:
            raise DataError(
                f"{folder} holds two images named {name}: {images[name].name} and {path.name}; "
                "keep one."
            )
        images[name] = path
    return images


def named_images(folder: Path) -> dict[str, Path]:
    """Find images and name them by their path below the folder: "town/a1.png" is "town_a1".

    Neighbours that differ in their suffix alone keep it in their names, as in `distinct_stems`.

    Raises:
        DataError: there is no image, or two have one name.
    """
    try:
        paths = find_images(folder)
    except FileNotFoundError as error:
        raise DataError(str(error)) from error

    images: dict[str, Path] = {}
    taken: dict[str, Path] = {}
    for path, stem in zip(paths, distinct_stems(paths), strict=True):
        name = "_".join((*path.relative_to(folder).parts[:-1], stem))
        other = taken.setdefault(name.lower(), path)  # some file systems ignore case
        if other is not path:
            raise DataError(
                f"{folder} holds two images named {name}: {other} and {path}; rename one."
            )
        images[name] = path
    return images


def pair_name(stem: str) -> str:
    """Return the name of a pair from the stem of one of its files: "1-inputs" gives "1"."""
    return _ROLE.sub("", stem)


def pair_folders(folder: Path) -> tuple[Path, Path] | None:
    """Return the subfolders of cloudy and of clear images, or None if either is missing.

    Raises:
        DataError: there are several candidates for one of them.
    """
    cloudy, clear = _only_subfolder(folder, CLOUDY_FOLDERS), _only_subfolder(folder, CLEAR_FOLDERS)
    return (cloudy, clear) if cloudy and clear else None


def subfolders(folder: Path) -> dict[str, Path]:
    """Return the visible folders directly below `folder` by their lower-case name.

    The result is empty if `folder` is not a folder.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        path.name.lower(): path for path in paths if path.is_dir() and not path.name.startswith(".")
    }


def _only_subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    found = [path for name, path in subfolders(folder).items() if name in names]
    if len(found) > 1:
        candidates = " and ".join(path.name for path in found)
        raise DataError(f"{folder} holds {candidates}; expected one of {', '.join(names)}.")
    return found[0] if found else None
