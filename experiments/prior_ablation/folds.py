"""Folds of a dataset, each of neighbouring images: neighbouring numbers often show one place."""

from itertools import chain, pairwise
from pathlib import Path
from typing import Literal

from cloudkit.errors import UserError
from cloudkit.files import write_text
from cloudkit.imaging.finding import natural_key
from trainkit.data.datasets import DatasetName, custom_part_folders, part_folders
from trainkit.data.matching import match_folders
from trainkit.data.pairs import DataError
from trainkit.data.splits import read_names
from trainkit.data.trees import UNSPLIT

TRAIN_LIST, TEST_LIST = "train.txt", "test.txt"


def list_pairs(dataset: DatasetName | Literal["folder"], root: Path) -> list[str]:
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


def write_folds(out: Path, tests: list[list[str]]) -> None:
    """Write train.txt and test.txt of each fold to fold-1, fold-2, ...

    Raises:
        UserError: The folder holds folds of another dataset or number. Nothing is written then.
    """
    lists: dict[Path, list[str]] = {}
    for fold, test in enumerate(tests, start=1):
        train = chain(*tests[: fold - 1], *tests[fold:])
        lists[fold_folder(out, fold) / TEST_LIST] = test
        lists[fold_folder(out, fold) / TRAIN_LIST] = list(train)

    for path in sorted(out.glob("fold-*/*.txt")):
        if path not in lists or read_names(path) != lists[path]:
            raise UserError(
                f"{out} holds an ablation over other folds than these {len(tests)} ({path} "
                "differs): give the dataset and the --folds of its first start, or name another "
                "folder with --out."
            )

    for path, names in lists.items():
        if not path.exists():
            write_text(path, "\n".join([*names, ""]))


def fold_folder(out: Path, fold: int) -> Path:
    """Return the folder of a fold, counted from 1."""
    return out / f"fold-{fold}"
