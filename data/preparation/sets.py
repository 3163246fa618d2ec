"""Datasets that are published together, as data/prepare.py names them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainkit.data.datasets import DATASETS, DatasetName, set_folder
from trainkit.data.pairs import DataError

SETS: dict[str, tuple[DatasetName, ...]] = {}  # datasets that are published together
for _name, _info in DATASETS.items():
    _family = _info.family or _name
    SETS[_family] = (*SETS.get(_family, ()), _name)

if TYPE_CHECKING:
    SetName = str  # a type checker cannot read the names from the table
else:
    SetName = Literal[tuple(SETS)]


def find_set(name: DatasetName, root: Path) -> Path | None:
    """Return the folder of a dataset in `root` or below it, or None if there is none."""
    try:
        return set_folder(name, root)
    except DataError:
        return None


def find_sets(dataset: SetName, root: Path) -> tuple[dict[DatasetName, Path], list[str]]:
    """Find the folders of datasets that are published together, and a line for each missing one.

    Raises:
        DataError: none is there.
    """
    found: dict[DatasetName, Path] = {}
    errors = []
    for name in SETS[dataset]:
        try:
            found[name] = set_folder(name, root)
        except DataError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found, [f"not there: {error}" for error in errors]
