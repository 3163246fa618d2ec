"""Mixtures: a file that names several data sets to train on together, and what each gives.

[[source]]
dataset = "rice1"             # as --dataset, or "clear" for a folder of clear images alone
folder = "RICE1"              # below --root; beside this file if it begins with "./" or "../"
pairs = 4                     # a pass over the mixture draws each pair four times,
veiled = 1                    # once more with a simulated cloud over the cloudy image,
simulated = 1                 # each clear image once under simulated clouds,
clear = 0.25                  # and every fourth as input and as truth: what is clear is to be left alone
split = "rice1-train.txt"     # list of names, beside this file; optional, as is held_out
keep_opaque = true            # where the cloud of a pair lets no light through, it is the truth itself; optional
validate = false              # train on all images; optional. Default: true where pairs are drawn, so that some images serve
                              # for validation: pairs, or clear ones under fixed simulated clouds; "all": they all do, none trains
"""

import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from cloudkit.datasets import LAYOUTS, NamedSet, find_clear, find_folder, find_named
from cloudkit.pairs import DataError, Pair
from cloudkit.splits import Choice, Splits

Use = Literal["pairs", "veiled", "simulated", "clear"]
USES = get_args(Use)
CLEAR_USES: tuple[Use, ...] = ("simulated", "clear")  # of which a clear image is all that is needed
PairSet = NamedSet | Literal["folder", "clear"]
CLEAR: Literal["clear"] = "clear"
DATASETS = (*LAYOUTS, "folder", CLEAR)
ALLOWED = (True, False, "all")  # values of validate
LISTS = [field.name for field in fields(Choice)]
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
    validate: bool | Literal["all"]
    """Some of the training images serve for validation, or all: pairs, or clear ones under fixed simulated clouds."""
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
    _check_values(entry, where)
    draws: dict[Use, float] = {use: entry[use] for use in USES if entry.get(use)}
    if bool(draws) == (entry.get("validate") == "all"):
        raise DataError(
            f"{where} draws {', '.join(draws) or 'nothing'}, expected at least one of {', '.join(USES)} with a number above 0, "
            'or none of them and validate = "all".'
        )
    of_pairs = draws.keys() & {"pairs", "veiled"}
    if entry["dataset"] == CLEAR and of_pairs:
        raise DataError(f"{where} holds clear images alone, which are no pairs; expected only simulated or clear.")
    if entry.get("keep_opaque") and not of_pairs:
        raise DataError(
            f"{where} says keep_opaque = true, which is of pairs, and draws none; expected pairs with a number above 0."
        )
    choice = Choice(**{name: path.parent / entry[name] for name in LISTS if name in entry})
    beside = entry["folder"].startswith(("./", "../"))
    folder = (path.parent if beside else root) / entry["folder"]
    if beside and not folder.is_dir():
        raise DataError(
            f"{where} names {entry['folder']}, which is no folder as seen from that file: mend it, or name one below --root."
        )
    validate = entry.get("validate", bool(of_pairs))
    return Source(entry["dataset"], folder, draws, choice, validate, entry.get("keep_opaque", False))


def _check_values(entry: Mapping[str, Any], where: str) -> None:
    """Raise DataError unless every key of an entry is known and says what it may, and none is missing."""
    kinds: dict[str, tuple[type, ...]] = {
        **dict.fromkeys(("dataset", "folder", *LISTS), (str,)),
        **dict.fromkeys(USES, (int, float)),
        "keep_opaque": (bool,),
        "validate": (bool, str),
    }
    if unknown := sorted(entry.keys() - kinds.keys()):
        raise DataError(f"{where} says {', '.join(unknown)}, expected only {', '.join(kinds)}.")
    for name, value in entry.items():
        too_many = name in USES and type(value) in kinds[name] and not 0 <= value <= MOST
        if type(value) not in kinds[name] or too_many or (name == "validate" and value not in ALLOWED):
            raise DataError(f"{where} says {name} = {value!r}, expected {_wanted(name)}.")
    if missing := [name for name in ("dataset", "folder") if name not in entry]:
        raise DataError(f'{where} has no {" and no ".join(missing)}, expected for example dataset = "rice1", folder = "RICE1".')
    if entry["dataset"] not in DATASETS:
        raise DataError(f"{where} says dataset = {entry['dataset']!r}, expected one of {', '.join(DATASETS)}.")


def _wanted(name: str) -> str:
    """Describe what a key of a source may say, for messages."""
    if name in USES:
        return f"a number from 0 to {MOST}"
    return {"validate": 'true, false or "all"', "keep_opaque": "true or false"}.get(name, "text in quotes")


def open_source(source: Source) -> tuple[list[Pair], list[Pair], Splits]:
    """The pairs of a source that train, those that serve for validation, and all parts. Raises DataError."""
    splits = find_pairs(source.dataset, source.folder, source.choice)
    if source.validate == "all":
        return [], splits.train + splits.val, splits
    if source.validate:
        return splits.train, splits.val, splits
    return splits.train + splits.val, [], splits


def find_pairs(dataset: PairSet, folder: Path, choice: Choice) -> Splits:
    """The pairs of a data set of the field, or of one's own; of clear images alone each is both halves of its pair.

    Raises:
        DataError: they are not as expected.
    """
    if dataset == CLEAR:
        parts = find_clear(folder, choice)
        counts = ", ".join(f"{len(files)} {part}" for part, files in parts.items())
        pairs = {part: [Pair(name, path, path) for name, path in files.items()] for part, files in parts.items()}
        return Splits(**pairs, note=f"{folder}: clear images ({counts})")
    return find_folder(folder, choice) if dataset == "folder" else find_named(dataset, folder, choice)


def named_apart(sources: Iterable[tuple[str, Sequence[Pair]]]) -> list[Pair]:
    """The pairs of titled sources under names that begin with the title, which is numbered where names would be alike."""
    found: list[Pair] = []
    for title, pairs in sources:
        taken = {pair.name.casefold() for pair in found}
        for distinct in itertools.chain([title], (f"{title}-{number}" for number in itertools.count(2))):
            named = [replace(pair, name=f"{distinct}_{pair.name}") for pair in pairs]
            if taken.isdisjoint(pair.name.casefold() for pair in named):
                found += named
                break
    return found
