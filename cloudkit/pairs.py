"""Pairs of a cloudy and a clear image, matched by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.images import find_images, natural_key

CLOUDY_FOLDERS = ("cloudy", "cloud", "haze", "hazy", "input")
CLEAR_FOLDERS = ("clear", "label", "reference", "gt", "target")
_ROLE = re.compile(r"[-_](inputs?|cloudy?|haz[ey]|targets?|clear|label|reference|gt)$", re.IGNORECASE)


class DataError(UserError):
    """Images cannot be found or matched; the message names the folder, what is wrong and what was expected."""


@dataclass(frozen=True)
class Pair:
    """Two files that show the same place."""

    name: str
    """Name of the pair: what both files' names share, without ending."""
    cloudy: Path
    """The image with cloud."""
    clear: Path
    """The same without; for training SCPM, the thickness map."""


def match_pairs(cloudy: Path, clear: Path) -> tuple[list[Pair], int]:
    """Pairs of the images of two folders whose names are equal, or equal but for a role such as "-inputs" and "-targets".

    Returns:
        The pairs in natural order of their names, and how many images of either folder have no partner.

    Raises:
        DataError: no name is common, or one folder holds two images of one name.
    """
    left, right = images_by_pair(cloudy), images_by_pair(clear)
    names = sorted(left.keys() & right.keys(), key=natural_key)
    if not names:
        raise DataError(
            f"no image in {cloudy} has the name of one in {clear} (for example {_example(left)} and {_example(right)}); "
            "pairs are matched by name, so name both files of a pair alike."
        )
    return [Pair(name, left[name], right[name]) for name in names], len(left.keys() ^ right.keys())


def images_by_pair(folder: Path) -> dict[str, Path]:
    """The images right in a folder by the name of their pair: the file's stem without a role such as "-inputs".

    Raises:
        FileNotFoundError: the folder is not there or holds no image.
        DataError: two images have one name.
    """
    named: dict[str, Path] = {}
    for path in find_images(folder, recursive=False):
        name = pair_name(path.stem)
        if name in named:
            raise DataError(f"{folder} holds two images named {name}: {named[name].name} and {path.name}; keep one.")
        named[name] = path
    return named


def pair_name(stem: str) -> str:
    """The name of a pair from that of one of its files: "1-inputs" is "1"."""
    return _ROLE.sub("", stem)


def pair_folders(folder: Path) -> tuple[Path, Path] | None:
    """The subfolders that hold cloudy and clear images under one of their usual names, or None where either is missing.

    Raises:
        DataError: there are several candidates for one of them.
    """
    cloudy, clear = (_only_subfolder(folder, names) for names in (CLOUDY_FOLDERS, CLEAR_FOLDERS))
    return (cloudy, clear) if cloudy and clear else None


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders right below `folder` by their lower-case name; empty where it is no folder."""
    if not folder.is_dir():
        return {}
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}


def _only_subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    found = [path for name, path in subfolders(folder).items() if name in names]
    if len(found) > 1:
        raise DataError(f"{folder} holds {' and '.join(path.name for path in found)}; expected one of {', '.join(names)}.")
    return found[0] if found else None


def _example(named: Mapping[str, Path]) -> str:
    return next(iter(named.values())).name
