"""Published datasets, found as their archives unpack, and folders of a user's own.

To add a dataset, add one entry to `DATASETS`: the options' choices and `find_named` follow from it.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainkit.data.matching import match_folders
from trainkit.data.pairs import DataError, named_images
from trainkit.data.roles import PART_NAMES, meaning_of
from trainkit.data.splits import NO_LISTS, SplitLists, Splits, divide, hashed_order
from trainkit.data.trees import (
    UNSPLIT,
    PairFolders,
    find_pair_folders,
    side_by_side_hint,
    subfolders,
)


@dataclass(frozen=True)
class DatasetInfo:
    """Layout on disk, size, split and source of one dataset."""

    folder: str
    """Usual name of its folder, compared without case, "-" and "_"."""
    tree: str
    """Folders and file names, for messages and documents alone. It is no pattern: `find_named` goes
    by the words in `trainkit/data/roles.py` and by `test_count`, so a new word is added there."""
    pairs: int
    """Number of pairs in the complete dataset."""
    url: str
    """Page to download it from."""
    test_count: int | None = None
    """Number of test pairs, for a dataset without an official split; see `test_names`."""
    family: str | None = None
    """Name in data/prepare.py, which datasets of one archive may share. Default: its own name."""

    def test_names(self) -> set[str] | None:
        """Return the names of the test pairs, or None if the dataset has an official split.

        They are the first `test_count` of the names 0 to `pairs` - 1 in the order of their SHA-256.
        """
        if self.test_count is None:
            return None
        return set(hashed_order(map(str, range(self.pairs)))[: self.test_count])


_RICE = "https://drive.google.com/file/d/1CricZtIj28BGFvkD_x-W8fSexPiDtgHk"
_TCLOUD = "https://pan.baidu.com/s/1LtkcdxMbJQTgEr-JvTM1Ug"
_HAZE = "https://www.kaggle.com/datasets/mohit3430/haze1k"
_HAZE_TREE = "dataset/{train,valid,test}/{input,target}/<n>-inputs.png"
_CUHK = "https://huggingface.co/datasets/littlebeen/DE"

DATASETS: dict[str, DatasetInfo] = {
    "rice1": DatasetInfo("RICE1", "RICE1/{cloud,label}/<n>.png", 500, _RICE, test_count=100),
    "rice2": DatasetInfo("RICE2", "RICE2/{cloud,label}/<n>.png", 736, _RICE, test_count=148),
    "tcloud": DatasetInfo(
        "T-CLOUD", "T-CLOUD/{train,test}/{cloud,reference}/<n>.png", 2939, _TCLOUD
    ),
    "satehaze1k-thin": DatasetInfo(
        "Haze1k_thin", f"Haze1k/Haze1k_thin/{_HAZE_TREE}", 400, _HAZE, family="satehaze1k"
    ),
    "satehaze1k-moderate": DatasetInfo(
        "Haze1k_moderate", f"Haze1k/Haze1k_moderate/{_HAZE_TREE}", 400, _HAZE, family="satehaze1k"
    ),
    "satehaze1k-thick": DatasetInfo(
        "Haze1k_thick", f"Haze1k/Haze1k_thick/{_HAZE_TREE}", 400, _HAZE, family="satehaze1k"
    ),
    "cuhk-cr1": DatasetInfo(
        "CUHK-CR1", "CUHK-CR1/{train,test}/{cloud,label}/<n>.png", 668, _CUHK, family="cuhk-cr"
    ),
    "cuhk-cr2": DatasetInfo(
        "CUHK-CR2", "CUHK-CR2/{train,test}/{cloud,label}/<n>.png", 559, _CUHK, family="cuhk-cr"
    ),
}

if TYPE_CHECKING:
    DatasetName = str  # a type checker cannot read the names from the table
else:
    DatasetName = Literal[tuple(DATASETS)]

_SEARCH_DEPTH = 3  # archives often wrap a dataset in folders of its own name
_INNER_FOLDERS = ("dataset", "rgb")  # of SateHaze1k, and of CUHK-CR if near infrared is kept apart


def find_named(dataset: DatasetName, root: Path, lists: SplitLists = NO_LISTS) -> Splits:
    """Find the pairs of a published dataset in `root`, its own folder or one above it.

    The split is the official one, or that of `DatasetInfo.test_names`. Without an official
    validation part, `validation_names` takes one from training. Missing images are left out.

    Raises:
        DataError: the folder is not found, its pairs do not match, or a list cannot be used.
    """
    info = DATASETS[dataset]
    folders = part_folders(dataset, root)
    return _splits(dataset, folders, lists, expected=info.pairs, test=info.test_names())


def part_folders(dataset: DatasetName, root: Path) -> list[PairFolders]:
    """Find the folders of each part; a dataset without parts has the one part `UNSPLIT`.

    Raises:
        DataError: the dataset is not found.
    """
    return _parts_in(set_folder(dataset, root), dataset)


def set_folder(dataset: DatasetName, root: Path) -> Path:
    """Find the folder of a dataset: `root`, unless its name is another dataset's, or one below.

    Raises:
        DataError: the dataset is not found.
    """
    info = DATASETS[dataset]
    root = _existing(root)
    resolved = root.resolve()
    own_folder = resolved.parent if root.name.lower() in _INNER_FOLDERS else resolved
    owners = {_plain(other.folder): name for name, other in DATASETS.items()}
    if _parts_in(root, dataset) and owners.get(_plain(own_folder.name), dataset) == dataset:
        return root

    folders = [root]
    for _ in range(_SEARCH_DEPTH):
        folders = [child for folder in folders for child in subfolders(folder).values()]
        for folder in folders:
            if _plain(folder.name) == _plain(info.folder) and _parts_in(folder, dataset):
                return folder
    raise DataError(
        f"no {dataset} in {root}; expected {info.tree} there. "
        f"Get it from {info.url}; `python data/prepare.py get {info.family or dataset}` unpacks "
        "and checks it."
    )


def custom_part_folders(root: Path) -> list[PairFolders]:
    """Find the folders of each part of a user's own pairs, laid out as `find_folder` describes.

    Raises:
        DataError: there are no such folders.
    """
    root = _existing(root)
    if folders := find_pair_folders(root):
        return folders
    raise DataError(
        f"{root} holds no pairs; expected train/, val/ and test/, each with cloudy/ and clear/, or "
        "cloudy/ and clear/ right below it (other usual names: haze and gt, cloud and label, cloud "
        f"and reference, input and target).{side_by_side_hint(root)}"
    )


def find_folder(root: Path, lists: SplitLists = NO_LISTS) -> Splits:
    """Find a user's own pairs in {train,val,test}/{cloudy,clear} or {cloudy,clear}.

    Other usual names of folders are known, too, and the trees of `find_pair_folders`. All pairs of
    a folder without parts are both training and test: train.py takes its validation from them, and
    test.py scores all of them.

    Raises:
        DataError: there are no such folders, their pairs do not match, or a list cannot be used.
    """
    return _splits(str(root), custom_part_folders(root), lists)


def find_clear(root: Path, lists: SplitLists = NO_LISTS) -> dict[str, dict[str, Path]]:
    """Find clear images, to simulate clouds over them.

    `root` holds train/ and test/, and val/ if there is one. Otherwise all images in it and its
    subfolders are both training and test. `validation_names` takes a missing validation part from
    training.

    Returns:
        {part: {name: file}} for train, val and test.

    Raises:
        DataError: there is no image, there are pairs, or a list cannot be used.
    """
    root = _existing(root)
    require_clear(root)
    parts: dict[str, dict[str, Path]] = {}
    for name, folder in subfolders(root).items():
        meaning = meaning_of(name)
        if meaning.part and not meaning.role:
            parts.setdefault(meaning.part, {}).update(named_images(folder))
    return divide(parts or {UNSPLIT: named_images(root)}, lists)[0]


def require_clear(root: Path) -> None:
    """Raise DataError if a folder that should hold only clear images holds pairs."""
    for found in find_pair_folders(root, places=False):
        raise DataError(
            f"{root} holds pairs of cloudy and clear images, expected only clear ones. Name the "
            f"folder of the clear images: {found.clear}."
        )


def _existing(root: Path) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} is no folder; name the one that holds the images.")
    return root


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def _parts_in(folder: Path, dataset: DatasetName) -> list[PairFolders]:
    """Return the folders of each part, if `folder` is laid out like the dataset, else []."""
    if DATASETS[dataset].test_count is not None:
        found = find_pair_folders(folder, places=False)
        return [pair for pair in found if pair.part == UNSPLIT] or found

    below = subfolders(folder)
    for name in _INNER_FOLDERS:
        if name in below:
            folder = below[name]
            break
    found = find_pair_folders(folder, places=False)
    return [pair for pair in found if pair.part != UNSPLIT]


def _splits(
    title: str,
    folders: Sequence[PairFolders],
    lists: SplitLists,
    *,
    expected: int | None = None,
    test: Collection[str] | None = None,
) -> Splits:
    """Match the pairs, divide them, and describe them in a note."""
    parts, matching_note = match_folders(folders)
    found = sum(map(len, parts.values()))

    named = {part: {pair.name: pair for pair in pairs} for part, pairs in parts.items()}
    divided, lists_note = divide(named, lists, test=test)
    train, val, test_pairs = (list(divided[part].values()) for part in PART_NAMES)

    counts = f"{len(train)} train, {len(val)} val, {len(test_pairs)} test"
    note = f"{title}: {found} pairs{lists_note} ({counts})"
    if expected is not None and found != expected:
        note += f"; the whole set has {expected}, this part of it is used as it is"
    if test is not None and UNSPLIT not in parts and lists.split is None:
        note += "; divided by its folders, not by the rule of data/README.md"
    return Splits(train, val, test_pairs, note + matching_note)
