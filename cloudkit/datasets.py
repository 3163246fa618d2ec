"""The field's data sets, found as their archives unpack, with their official splits or a fixed rule."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudkit.images import find_images
from cloudkit.pairs import (
    DataError,
    Pair,
    Splits,
    hashed_order,
    match_pairs,
    pair_folders,
    subfolders,
    validation_names,
)

NamedSet = Literal["rice1", "rice2", "tcloud", "satehaze1k-thin", "satehaze1k-moderate", "satehaze1k-thick"]
SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class _Layout:
    """How one data set lies on disk."""

    folder: str
    """Usual name of its folder, compared without case, "-" and "_"."""
    tree: str
    """The tree, for messages."""
    pairs: int
    """Pairs in the whole set."""
    test_of: int | None = None
    """For sets without an official split: how many of the names 0 to pairs - 1, in hashed order, are the test set."""


_LAYOUTS: dict[str, _Layout] = {
    "rice1": _Layout("RICE1", "RICE1/{cloud,label}/<n>.png", 500, test_of=100),
    "rice2": _Layout("RICE2", "RICE2/{cloud,label}/<n>.png", 736, test_of=148),
    "tcloud": _Layout("T-CLOUD", "T-CLOUD/{train,test}/{cloud,reference}/<n>.png", 2939),
    **{
        f"satehaze1k-{level}": _Layout(
            f"Haze1k_{level}",
            f"Haze1k/Haze1k_{level}/dataset/{{train,valid,test}}/{{input,target}}/<n>-inputs.png",
            400,
        )
        for level in ("thin", "moderate", "thick")
    },
}
_SEARCH_DEPTH = 3  # Kaggle and archive tools like to wrap a set in folders of its own name


def find_named(dataset: NamedSet, root: Path) -> Splits:
    """A data set of the field below `root`, which is its folder or one above it.

    Sets without an official split follow the rule: order the names 0 to count - 1 by the SHA-256 of the name; the first 100 of
    RICE1 and the first 148 of RICE2 are the test set. Validation is the official part where there is one, else
    `validation_names` of the training part. What is not there is left out.

    Raises:
        DataError: the tree is not found, or its pairs do not match.
    """
    layout, root = _LAYOUTS[dataset], Path(root)
    if layout.test_of is not None:
        folders = pair_folders(_locate(dataset, root, lambda folder: pair_folders(folder) is not None))
        assert folders is not None
        pairs, unpaired = match_pairs(*folders)
        held_out = set(hashed_order(str(n) for n in range(layout.pairs))[: layout.test_of])
        parts = {
            "train": [p for p in pairs if p.name not in held_out],
            "test": [p for p in pairs if p.name in held_out],
        }
    else:
        folder = _locate(dataset, root, lambda folder: bool(_split_pairs(_unwrap(folder))))
        parts, unpaired = _read_parts(_unwrap(folder))
    return _finish(dataset, parts, unpaired, expected=layout.pairs)


def find_folder(root: Path) -> Splits:
    """Pairs of one's own: {train,val,test}/{cloudy,clear} or flat {cloudy,clear}, and the other usual folder names.

    A flat folder is all training and all test: train.py carves its validation from it, test.py scores the whole of it.

    Raises:
        DataError: the tree is not found, or its pairs do not match.
    """
    root = _existing(Path(root))
    parts, unpaired = _read_parts(root)
    if not parts:
        folders = pair_folders(root)
        if folders is None:
            raise DataError(
                f"{root} holds no pairs; expected train/, val/ and test/, each with cloudy/ and clear/, or cloudy/ and clear/ "
                "right below it (other usual names: haze and gt, cloud and label, cloud and reference, input and target)."
            )
        pairs, unpaired = match_pairs(*folders)
        parts = {"train": pairs, "test": pairs}
    return _finish(str(root), parts, unpaired)


def find_clear(root: Path) -> dict[str, dict[str, Path]]:
    """Clear images to simulate clouds over: {part: {name: file}} of the parts train, val and test.

    `root` holds train/ and test/ (val/ too, if it likes), or images, in subfolders or not, which then are all training and all
    test. Validation that is not there is carved from training by `validation_names`.

    Raises:
        DataError: there is no image, or there are pairs.
    """
    root = _existing(Path(root))
    if pair_folders(root) or _split_pairs(root):
        raise DataError(
            f"{root} holds pairs of cloudy and clear images, expected clear ones alone: name the folder of the clear images, or "
            "the data set (--dataset folder, rice1, ...) if the pairs are meant."
        )
    parts: dict[str, dict[str, Path]] = {}
    below = subfolders(root)
    for part, names in SPLIT_FOLDERS.items():
        for name in names:
            if name in below:
                parts[part] = named_images(below[name])
    if not parts:
        images = named_images(root)
        parts = {"train": images, "test": images}
    train = parts.setdefault("train", {})
    if "val" not in parts and len(train) > 1:
        chosen = validation_names(list(train))
        parts["val"] = {name: path for name, path in train.items() if name in chosen}
        parts["train"] = {name: path for name, path in train.items() if name not in chosen}
    return {part: parts.get(part, {}) for part in SPLIT_FOLDERS}


def named_images(folder: Path) -> dict[str, Path]:
    """Images by their path below the folder, without ending, as one name: "town/a1.png" is "town_a1"."""
    try:
        paths = find_images(folder)
    except FileNotFoundError as error:
        raise DataError(str(error)) from error
    named: dict[str, Path] = {}
    taken: dict[str, Path] = {}
    for path in paths:
        name = "_".join(path.relative_to(folder).with_suffix("").parts)
        other = taken.setdefault(name.lower(), path)  # some file systems do not tell capitals apart
        if other is not path:
            raise DataError(f"{folder} holds two images named {name}: {other} and {path}; rename one.")
        named[name] = path
    return named


def _existing(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(f"{root} is no folder; --root names the folder that holds the data set.")
    return root


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def _unwrap(folder: Path) -> Path:
    """SateHaze1k keeps each level's parts in a folder "dataset"."""
    return subfolders(folder).get("dataset", folder)


def _locate(dataset: str, root: Path, fits: Callable[[Path], bool]) -> Path:
    """The data set's folder: root itself unless its name belongs to another set, else a folder of the usual name below it."""
    layout = _LAYOUTS[dataset]
    names = {_plain(other.folder): other for other in _LAYOUTS.values()}
    level = _existing(root)
    own_name = _plain(level.resolve().parent.name if level.name == "dataset" else level.resolve().name)
    if fits(root) and names.get(own_name, layout) is layout:
        return root
    below = [root]
    for _ in range(_SEARCH_DEPTH):
        below = [child for folder in below for child in subfolders(folder).values()]
        for folder in below:
            if _plain(folder.name) == _plain(layout.folder) and fits(folder):
                return folder
    raise DataError(f"no {dataset} in {root}; expected {layout.tree} there. See data/README.md for where to get it.")


def _split_pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The cloudy and clear folders of each part that is there."""
    below = subfolders(folder)
    parts = {}
    for part, names in SPLIT_FOLDERS.items():
        for name in names:
            if name in below and (folders := pair_folders(below[name])):
                parts[part] = folders
    return parts


def _read_parts(folder: Path) -> tuple[dict[str, list[Pair]], int]:
    """The pairs of each part that is there, and how many images have no partner."""
    matched = {part: match_pairs(*folders) for part, folders in _split_pairs(folder).items()}
    return {part: pairs for part, (pairs, _) in matched.items()}, sum(unpaired for _, unpaired in matched.values())


def _finish(title: str, parts: dict[str, list[Pair]], unpaired: int, expected: int | None = None) -> Splits:
    """Carve validation where there is none, and say what was found."""
    train, val, test = (parts.get(part, []) for part in SPLIT_FOLDERS)
    found = len({(pair.cloudy, pair.clear) for pairs in (train, val, test) for pair in pairs})
    if not val and len(train) > 1:
        chosen = validation_names([pair.name for pair in train])
        val = [pair for pair in train if pair.name in chosen]
        train = [pair for pair in train if pair.name not in chosen]
    note = f"{title}: {found} pairs ({len(train)} train, {len(val)} val, {len(test)} test)"
    if expected is not None and found != expected:
        note += f"; the whole set has {expected}, this part of it is used as it is"
    if unpaired:
        note += f"; {unpaired} images without a partner are left out"
    return Splits(train, val, test, note)
