"""Mixtures: a file that names several data sets to train on together, and what each gives.

[[source]]
dataset = "rice1"             # as --dataset, or "clear" for a folder of clear images alone
folder = "RICE1"              # below --root; beside this file if it begins with "./" or "../"
pairs = 4                     # a pass over the mixture draws each pair four times,
simulated = 1                 # each clear image once under simulated clouds,
clear = 0.25                  # and every fourth as input and as truth: what is clear is to be left alone
split = "rice1-train.txt"     # list of names, beside this file; optional, as is held_out
keep_opaque = true            # where the cloud of a pair lets no light through, it is the truth itself; optional
validate = false              # train on all, where else some pairs would serve for validation; optional
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar, get_args

from cloudkit.datasets import LAYOUTS, NamedSet
from cloudkit.pairs import DataError
from cloudkit.splits import Choice

Use = Literal["pairs", "simulated", "clear"]
USES = get_args(Use)
_SWITCHES = ("validate", "keep_opaque")
PairSet = NamedSet | Literal["folder", "clear"]
CLEAR: Literal["clear"] = "clear"
DATASETS = (*LAYOUTS, "folder", CLEAR)
MOST = 1000  # draws of one place in a pass; more is a slip
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """One data set of a mixture."""

    dataset: PairSet
    """Its name, "folder", or "clear"."""
    folder: Path
    """Where it is."""
    draws: Mapping[Use, float]
    """How often a pass draws a place for each use, in the mean."""
    choice: Choice
    """Lists of names."""
    validate: bool
    """Whether pairs without a validation part of their own give some of training."""
    keep_opaque: bool
    """Whether the truth of its pairs is the cloud where that lets no light through."""

    def drawn(self, use: Use, places: Sequence[T]) -> list[T]:
        """Those of the places that a pass draws for a use, each as often as it is drawn; a share of them lies evenly spread."""
        count = round(self.draws[use] * len(places))
        return [places[math.floor(number * len(places) / count)] for number in range(count)]


def read_mixture(path: Path, root: Path) -> list[Source]:
    """The sources that a file names.

    Args:
        path: the TOML file; lists are found beside it.
        root: folders are found below it, but for those that begin with ./ or ../, which are found from the file.

    Raises:
        DataError: the file cannot be read, or says something that is not understood.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a mixture ({error}); expected TOML with [[source]] entries.") from error
    sources = content.get("source")
    if not isinstance(sources, list) or not sources or content.keys() != {"source"}:
        raise DataError(f"{path} holds {', '.join(content) or 'nothing'}; expected [[source]] entries and nothing else.")
    return [_source(entry, Path(path), Path(root), number) for number, entry in enumerate(sources, start=1)]


def _source(entry: object, path: Path, root: Path, number: int) -> Source:
    where = f"source {number} of {path}"
    if not isinstance(entry, dict):
        raise DataError(f"{where} is {entry!r}, expected a [[source]] entry with dataset, folder and what is drawn.")
    lists = [field.name for field in fields(Choice)]
    kinds: dict[str, tuple[type, ...]] = {
        **dict.fromkeys(("dataset", "folder", *lists), (str,)),
        **dict.fromkeys(USES, (int, float)),
        **dict.fromkeys(_SWITCHES, (bool,)),
    }
    if unknown := sorted(entry.keys() - kinds.keys()):
        raise DataError(f"{where} says {', '.join(unknown)}, expected only {', '.join(kinds)}.")
    for name, value in entry.items():
        if type(value) not in kinds[name] or (name in USES and not 0 <= value <= MOST):
            wanted = f"a number from 0 to {MOST}" if name in USES else "true or false" if name in _SWITCHES else "text in quotes"
            raise DataError(f"{where} says {name} = {value!r}, expected {wanted}.")
    if missing := [name for name in ("dataset", "folder") if name not in entry]:
        raise DataError(f'{where} has no {" and no ".join(missing)}, expected for example dataset = "rice1", folder = "RICE1".')
    if entry["dataset"] not in DATASETS:
        raise DataError(f"{where} says dataset = {entry['dataset']!r}, expected one of {', '.join(DATASETS)}.")
    draws: dict[Use, float] = {use: entry[use] for use in USES if entry.get(use)}
    if not draws:
        raise DataError(f"{where} draws nothing, expected at least one of {', '.join(USES)} with a number above 0.")
    if entry["dataset"] == CLEAR and "pairs" in draws:
        raise DataError(f"{where} holds clear images alone, which are no pairs; expected only simulated or clear.")
    if entry.get("keep_opaque") and "pairs" not in draws:
        raise DataError(
            f"{where} says keep_opaque = true, which is of pairs, and draws none; expected pairs with a number above 0."
        )
    choice = Choice(**{name: path.parent / entry[name] for name in lists if name in entry})
    beside = entry["folder"].startswith(("./", "../"))
    folder = (path.parent if beside else root) / entry["folder"]
    if beside and not folder.is_dir():
        raise DataError(
            f"{where} names {entry['folder']}, which is no folder as seen from that file: mend it, or name one below --root."
        )
    return Source(entry["dataset"], folder, draws, choice, entry.get("validate", True), entry.get("keep_opaque", False))
