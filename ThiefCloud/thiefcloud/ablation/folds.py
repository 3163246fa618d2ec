"""Folds of a data set: runs of neighbouring images, since neighbouring numbers are often neighbouring places."""

from itertools import pairwise
from pathlib import Path
from typing import Literal

from cloudkit.datasets import NamedSet, own_parts, part_folders
from cloudkit.errors import UserError
from cloudkit.files import write_text
from cloudkit.images import natural_key
from cloudkit.pairs import DataError, match_pairs
from cloudkit.splits import WHOLE, read_names

TRAIN, TEST = "train.txt", "test.txt"


def whole_list(dataset: NamedSet | Literal["folder"], root: Path) -> list[str]:
    """The names of all pairs of a data set, whatever parts it comes in, in natural order.

    Returns:
        Names, or "part/name" where the set has parts, as lists for --split have them.

    Raises:
        DataError: the tree is not found, its pairs do not match, or two parts share a name.
    """
    folders = own_parts(root) if dataset == "folder" else part_folders(dataset, root)
    where: dict[str, str] = {}
    for part, both in folders.items():
        for pair in match_pairs(*both)[0]:
            if pair.name in where:
                raise DataError(
                    f"{where[pair.name]} and {part} of {dataset} both hold a pair {pair.name}, expected names of their own: give "
                    "the pairs such names in one cloudy/ and one clear/, and take them as --dataset folder."
                )
            where[pair.name] = part
    return [name if where[name] == WHOLE else f"{where[name]}/{name}" for name in sorted(where, key=natural_key)]


def cut(names: list[str], folds: int) -> list[list[str]]:
    """Cut names into runs of equal length, up to one; the first ones are the longer.

    Only images at the cuts then have neighbours in another run.

    Raises:
        DataError: too few names: each fold must leave two to train on, one of which serves for validation.
    """
    if len(names) < max(folds, 4):
        raise DataError(f"there are {len(names)} pairs, expected at least {max(folds, 4)} for {folds} folds.")
    ends = [-(-len(names) * fold // folds) for fold in range(folds + 1)]
    return [names[start:end] for start, end in pairwise(ends)]


def write_folds(out: Path, tests: list[list[str]]) -> None:
    """Write train.txt and test.txt of every fold to fold-1, fold-2, ...

    Raises:
        UserError: other folds are there: of another data set or number of folds. Nothing is written then.
    """
    lists: dict[Path, list[str]] = {}
    for fold, test in enumerate(tests, start=1):
        train = [name for other in tests if other is not test for name in other]
        lists |= {fold_folder(out, fold) / TEST: test, fold_folder(out, fold) / TRAIN: train}
    other = [path for path in out.glob("fold-*/*.txt") if path not in lists or read_names(path) != lists[path]]
    if other:
        raise UserError(
            f"{out} holds an ablation over other folds than these {len(tests)} ({min(other)} differs): give it the data set and "
            "the --folds that it was begun with, or name another folder with --out."
        )
    for path, names in lists.items():
        if not path.exists():
            write_text(path, "".join(f"{name}\n" for name in names))


def fold_folder(out: Path, fold: int) -> Path:
    """The folder of a fold, counted from 1."""
    return out / f"fold-{fold}"


def block_of(name: str) -> str:
    """The block of ten neighbours that an image is of: its name with the last number divided by ten.

    The name itself where it has no number.
    """
    key = list(natural_key(name))
    for index in reversed(range(len(key))):
        if key[index][0] == 0:
            key[index] = (0, int(key[index][1]) // 10)
            break
    return "".join(str(part) for _, part in key)
