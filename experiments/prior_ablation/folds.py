"""Folds of a dataset, or its own test part.

A fold is of neighbouring images, because neighbouring numbers often show one place.
"""

from itertools import pairwise
from pathlib import Path
from typing import Literal

from cloudkit.errors import UserError
from cloudkit.files import write_text
from cloudkit.imaging.finding import natural_key
from trainkit.data.datasets import (
    DatasetName,
    custom_part_folders,
    find_folder,
    find_named,
    part_folders,
)
from trainkit.data.matching import match_folders
from trainkit.data.pairs import DataError
from trainkit.data.roles import PART_NAMES
from trainkit.data.splits import read_names
from trainkit.data.trees import UNSPLIT

TRAIN_LIST, TEST_LIST = "train.txt", "test.txt"


Dataset = DatasetName | Literal["folder"]


def list_pairs(dataset: Dataset, root: Path) -> list[str]:
    """Return the names of all pairs of a dataset, from all its parts, in natural order.

    Returns:
        Names for a list that --split takes: "part/name" if the dataset has parts.

    Raises:
        DataError: The folders are missing, pairs do not match, or two parts have a name in common.
    """
    part_of: dict[str, str] = {}
    found = custom_part_folders(root) if dataset == "folder" else part_folders(dataset, root)
    for part, pairs in match_folders(found)[0].items():
        for pair in pairs:
            if pair.name in part_of:
                raise DataError(
                    f"{part_of[pair.name]} and {part} of {dataset} both hold a pair {pair.name}, "
                    "expected different names: rename the pairs, put them into one cloudy/ and "
                    "one clear/, and use --dataset folder."
                )
            part_of[pair.name] = part

    names = []
    for name in sorted(part_of, key=natural_key):
        names.append(name if part_of[name] == UNSPLIT else f"{part_of[name]}/{name}")
    return names


def own_test(dataset: Dataset, root: Path, names: list[str]) -> list[str]:
    """Return those of the names of `list_pairs` that belong to the dataset's own test part.

    Raises:
        DataError: The dataset has no test part, or none that leaves two images for training.
    """
    splits = find_folder(root) if dataset == "folder" else find_named(dataset, root)
    tested = {pair.name for pair in splits.test}
    if not tested or tested & {pair.name for pair in splits.train}:
        raise DataError(
            f"--folds is 1, but {root} has no test part of its own; expected train/ and test/ "
            "there: give two or more --folds."
        )

    test = [name for name in names if _without_part(name) in tested]
    if len(names) - len(test) < 2:
        raise DataError(
            f"--folds is 1, and the test part of {root} leaves {len(names) - len(test)} pairs, "
            "expected at least 2 for training: give two or more --folds."
        )
    return test


def split_into_folds(names: list[str], folds: int) -> list[list[str]]:
    """Split names into consecutive folds of equal length; the first ones may be longer by one.

    Only images at the ends of a fold then have neighbours in another fold.

    Raises:
        DataError: There are too few names. Each fold must leave two for training, one of which
            is used for validation.
    """
    least = max(folds, 4)
    if len(names) < least:
        raise DataError(
            f"there are {len(names)} pairs, expected at least {least} for {folds} folds."
        )
    ends = [-(-len(names) * fold // folds) for fold in range(folds + 1)]
    return [names[start:end] for start, end in pairwise(ends)]


def write_folds(out: Path, names: list[str], tests: list[list[str]]) -> None:
    """Write train.txt and test.txt of each fold to fold-1, fold-2, ...

    Args:
        out: Folder of the ablation.
        names: All pairs.
        tests: Test pairs of each fold. All other pairs train.

    Raises:
        UserError: The folder holds folds of another dataset or number. Nothing is written then.
    """
    lists: dict[Path, list[str]] = {}
    for fold, test in enumerate(tests, start=1):
        held_out = set(test)
        lists[fold_folder(out, fold) / TEST_LIST] = test
        lists[fold_folder(out, fold) / TRAIN_LIST] = [
            name for name in names if name not in held_out
        ]

    for path in sorted(out.glob("fold-*/*.txt")):
        if path not in lists or read_names(path) != lists[path]:
            raise UserError(
                f"{out} holds an ablation over other folds than these {len(tests)} ({path} "
                "differs): give the dataset and the --folds of its first start, or name another "
                "folder with --out."
            )

    for path, listed in lists.items():
        if not path.exists():
            write_text(path, "\n".join([*listed, ""]))


def fold_folder(out: Path, fold: int) -> Path:
    """Return the folder of a fold, counted from 1."""
    return out / f"fold-{fold}"


def _without_part(name: str) -> str:
    """Return the pair's own name of a name of `list_pairs`."""
    part, _, rest = name.partition("/")
    return rest if rest and part in PART_NAMES else name
