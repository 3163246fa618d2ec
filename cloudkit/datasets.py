"""The field's data sets, found as their archives unpack, with their official splits or a fixed rule."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudkit.images import find_images
from cloudkit.pairs import DataError, match_pairs, pair_folders, subfolders
from cloudkit.splits import NO_LISTS, PART_NAMES, WHOLE, Choice, Splits, divide, hashed_order

NamedSet = Literal[
    "rice1", "rice2", "tcloud", "satehaze1k-thin", "satehaze1k-moderate", "satehaze1k-thick", "cuhk-cr1", "cuhk-cr2"
]
Folders = tuple[Path, Path]  # of the cloudy and of the clear images


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk."""

    folder: str
    """Usual name of its folder, compared without case, "-" and "_"."""
    tree: str
    """The tree, for messages."""
    pairs: int
    """Pairs in the whole set."""
    test_of: int | None = None
    """For sets without an official split: how many of the names 0 to pairs - 1, in hashed order, are the test set."""

    def test_names(self) -> set[str] | None:
        """The names of the test set by that rule; None where the set has its own split."""
        return None if self.test_of is None else set(hashed_order(str(n) for n in range(self.pairs))[: self.test_of])


LAYOUTS: dict[str, Layout] = {
    "rice1": Layout("RICE1", "RICE1/{cloud,label}/<n>.png", 500, test_of=100),
    "rice2": Layout("RICE2", "RICE2/{cloud,label}/<n>.png", 736, test_of=148),
    "tcloud": Layout("T-CLOUD", "T-CLOUD/{train,test}/{cloud,reference}/<n>.png", 2939),
    **{
        f"satehaze1k-{level}": Layout(
            f"Haze1k_{level}",
            f"Haze1k/Haze1k_{level}/dataset/{{train,valid,test}}/{{input,target}}/<n>-inputs.png",
            400,
        )
        for level in ("thin", "moderate", "thick")
    },
    "cuhk-cr1": Layout("CUHK-CR1", "CUHK-CR1/{train,test}/{cloud,label}/<n>.png", 668),
    "cuhk-cr2": Layout("CUHK-CR2", "CUHK-CR2/{train,test}/{cloud,label}/<n>.png", 559),
}
_SEARCH_DEPTH = 3  # Kaggle and archive tools like to wrap a set in folders of its own name


def find_named(dataset: NamedSet, root: Path, choice: Choice = NO_LISTS) -> Splits:
    """A data set of the field below `root`, which is its folder or one above it.

    Sets without an official split follow the rule: order the names 0 to count - 1 by the SHA-256 of the name; the first 100 of
    RICE1 and the first 148 of RICE2 are the test set. Validation is the official part where there is one, else
    `validation_names` of the training part. What is not there is left out. Lists in `choice` take the place of the split.

    Raises:
        DataError: the tree is not found, its pairs do not match, or a list cannot be used.
    """
    layout = LAYOUTS[dataset]
    return _splits(dataset, part_folders(dataset, root), choice, expected=layout.pairs, test=layout.test_names())


def part_folders(dataset: NamedSet, root: Path) -> dict[str, Folders]:
    """Where the cloudy and the clear images of each part lie; a set without parts has the one part `WHOLE`.

    Raises:
        DataError: the tree is not found.
    """
    folders = _parts_within(dataset, set_folder(dataset, root))
    assert folders is not None
    return folders


def set_folder(dataset: NamedSet, root: Path) -> Path:
    """The data set's own folder: `root` or one below it. What else the archive holds of the set lies there too.

    Raises:
        DataError: the tree is not found.
    """
    return _locate(dataset, Path(root), lambda folder: _parts_within(dataset, folder) is not None)


def own_parts(root: Path) -> dict[str, Folders]:
    """What `part_folders` is for a named set, for pairs of one's own in the trees that `find_folder` takes.

    Raises:
        DataError: the tree is not found.
    """
    root = _existing(Path(root))
    if folders := _parts_of(root):
        return folders
    if whole := pair_folders(root):
        return {WHOLE: whole}
    raise DataError(
        f"{root} holds no pairs; expected train/, val/ and test/, each with cloudy/ and clear/, or cloudy/ and clear/ "
        "right below it (other usual names: haze and gt, cloud and label, cloud and reference, input and target)."
    )


def find_folder(root: Path, choice: Choice = NO_LISTS) -> Splits:
    """Pairs of one's own: {train,val,test}/{cloudy,clear} or flat {cloudy,clear}, and the other usual folder names.

    A flat folder is all training and all test: train.py carves its validation from it, test.py scores the whole of it.

    Raises:
        DataError: the tree is not found, its pairs do not match, or a list cannot be used.
    """
    return _splits(str(root), own_parts(root), choice)


def find_clear(root: Path, choice: Choice = NO_LISTS) -> dict[str, dict[str, Path]]:
    """Clear images to simulate clouds over: {part: {name: file}} of the parts train, val and test.

    `root` holds train/ and test/ (val/ too, if it likes), or images, in subfolders or not, which then are all training and all
    test. Validation that is not there is carved from training by `validation_names`.

    Raises:
        DataError: there is no image, there are pairs, or a list cannot be used.
    """
    root = _existing(Path(root))
    if pair_folders(root) or _parts_of(root):
        raise DataError(
            f"{root} holds pairs of cloudy and clear images, expected clear ones alone: name the folder of the clear images, or "
            "the data set (--dataset folder, rice1, ...) if the pairs are meant."
        )
    below = subfolders(root)
    parts = {part: named_images(below[name]) for part, names in PART_NAMES.items() for name in names if name in below} or {
        WHOLE: named_images(root)
    }
    return divide(parts, choice)[0]


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
    """SateHaze1k keeps each level's parts in a folder "dataset"; CUHK-CR may keep RGB and near infrared apart."""
    below = subfolders(folder)
    return below.get("dataset", below.get("rgb", folder))


def _locate(dataset: str, root: Path, fits: Callable[[Path], bool]) -> Path:
    """The data set's folder: root itself unless its name belongs to another set, else a folder of the usual name below it."""
    layout = LAYOUTS[dataset]
    names = {_plain(other.folder): other for other in LAYOUTS.values()}
    level = _existing(root)
    own_name = _plain(level.resolve().parent.name if level.name.lower() in ("dataset", "rgb") else level.resolve().name)
    if fits(root) and names.get(own_name, layout) is layout:
        return root
    below = [root]
    for _ in range(_SEARCH_DEPTH):
        below = [child for folder in below for child in subfolders(folder).values()]
        for folder in below:
            if _plain(folder.name) == _plain(layout.folder) and fits(folder):
                return folder
    raise DataError(f"no {dataset} in {root}; expected {layout.tree} there. See data/README.md for where to get it.")


def _parts_within(dataset: NamedSet, folder: Path) -> dict[str, Folders] | None:
    """The parts that lie in a folder as they do in that of the data set; None where there are none."""
    if LAYOUTS[dataset].test_of is None:
        return _parts_of(_unwrap(folder)) or None
    whole = pair_folders(folder)
    return {WHOLE: whole} if whole else None


def _parts_of(folder: Path) -> dict[str, Folders]:
    """The folders of the cloudy and of the clear images of each part that is there."""
    below = subfolders(folder)
    parts = {}
    for part, names in PART_NAMES.items():
        for name in names:
            if name in below and (folders := pair_folders(below[name])):
                parts[part] = folders
    return parts


def _splits(
    title: str,
    folders: Mapping[str, Folders],
    choice: Choice,
    *,
    expected: int | None = None,
    test: Collection[str] | None = None,
) -> Splits:
    """Match the pairs, divide them, and say what was found."""
    matched = {part: match_pairs(*both) for part, both in folders.items()}
    found, unpaired = (sum(counts) for counts in zip(*((len(pairs), rest) for pairs, rest in matched.values()), strict=True))
    parts = {part: {pair.name: pair for pair in pairs} for part, (pairs, _) in matched.items()}
    chosen, lists = divide(parts, choice, test=test)
    train, val, test_pairs = (list(chosen[part].values()) for part in PART_NAMES)
    note = f"{title}: {found} pairs{lists} ({len(train)} train, {len(val)} val, {len(test_pairs)} test)"
    if expected is not None and found != expected:
        note += f"; the whole set has {expected}, this part of it is used as it is"
    if unpaired:
        note += f"; {unpaired} images without a partner are left out"
    return Splits(train, val, test_pairs, note)
