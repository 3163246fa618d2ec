"""Pairs of a cloudy and a clear image, matched by name, and the fixed rules that split them."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True)
class Splits:
    """A data set, split; images of one part never stand in another."""

    train: list[Pair]
    val: list[Pair]
    test: list[Pair]
    note: str
    """One line: what was found, and what of the whole set is not there."""


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
    paths = find_images(folder, recursive=False)
    named: dict[str, Path] = {}
    for path in paths:
        name = _ROLE.sub("", path.stem)
        if name in named:
            raise DataError(f"{folder} holds two images named {name}: {named[name].name} and {path.name}; keep one.")
        named[name] = path
    return named


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


def hashed_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the SHA-256 of their UTF-8 bytes: fixed for all time, unrelated to what the images show."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def validation_names(names: Sequence[str]) -> set[str]:
    """Which of the training names serve for validation: about a tenth, at least one, by a rule that depends on names alone.

    Neighbouring numbers are often neighbouring places, so names are taken in runs: blocks of ten (a name's last number divided
    by 10) follow in the hashed order of the block's name, the names of a block in natural order, until a tenth is reached.

    Raises:
        DataError: fewer than two names.
    """
    if len(names) < 2:
        raise DataError(f"there is {len(names)} image to train on, expected at least 2: one of them serves for validation.")
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(_block(name), []).append(name)
    order = [name for block in hashed_order(blocks) for name in sorted(blocks[block], key=natural_key)]
    return set(order[: math.ceil(len(names) / 10)])


def _block(name: str) -> str:
    """The name with its last number divided by ten; the name itself where it has no number."""
    match = re.search(r"(\d+)(\D*)$", name)
    return f"{name[: match.start()]}{int(match[1]) // 10}{match[2]}" if match else name


def _only_subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    found = [path for name, path in subfolders(folder).items() if name in names]
    if len(found) > 1:
        raise DataError(f"{folder} holds {' and '.join(path.name for path in found)}; expected one of {', '.join(names)}.")
    return found[0] if found else None


def _example(named: Mapping[str, Path]) -> str:
    return next(iter(named.values())).name
