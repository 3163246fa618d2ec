"""Mixtures: a TOML file that names several datasets for one training, and how to sample them.

[[source]]
dataset = "rice1"             # as --dataset, or "clear" for a folder of clear images alone
folder = "RICE1"              # below --root; beside this file if it begins with "./" or "../"
pairs = 4                     # each pair four times in a pass over the mixture,
veiled = 1                    # once more with a simulated cloud over the cloudy image,
simulated = 1                 # each clear image once under simulated clouds,
clear = 0.25                  # and every fourth as both input and truth: it must stay as it is
split = "rice1-train.txt"     # list of names, beside this file; optional, as is held_out
peak = 10000                  # optional: stored value that means 1; default that of --peak
keep_opaque = true            # optional: where a cloud is opaque, the truth is the cloud itself
overlay = true                # optional: its clouds are overlays of a map program, as RICE1's, for
                              # ThiefCloud/fit_overlay.py
validate = false              # train on all images; optional, default true for a source of pairs.
                              # true: some images serve for validation, clear ones under fixed
                              # simulated clouds; "all": all of them do, and none is for training
"""

import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from trainkit.data.datasets import DATASETS, DatasetName, find_clear, find_folder, find_named
from trainkit.data.pairs import DataError, Pair
from trainkit.data.splits import NO_LISTS, SplitLists, Splits

Use = Literal["pairs", "veiled", "simulated", "clear"]
USES = get_args(Use)
CLEAR_USES: tuple[Use, ...] = ("simulated", "clear")  # those that need only the clear image
SourceName = DatasetName | Literal["folder", "clear"]
CLEAR: Literal["clear"] = "clear"
MAX_REPEATS = 1000  # a larger number is taken for a mistake
_SOURCE_NAMES = (*DATASETS, "folder", CLEAR)
_LIST_KEYS = [field.name for field in fields(SplitLists)]
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """One dataset of a mixture."""

    dataset: SourceName
    """Name of a published dataset, "folder", or "clear"."""
    folder: Path
    """Folder of the dataset."""
    repeats: Mapping[Use, float]
    """Mean number of times that one image is sampled in a pass, for each use."""
    lists: SplitLists
    """Lists of names."""
    validate: bool | Literal["all"]
    """Use some of the training images for validation, or all of them."""
    keep_opaque: bool
    """Take the cloud of a pair as truth where it is opaque."""
    peak: float | None = None
    """Stored value that means 1."""
    overlay: bool = False
    """Take the clouds of its pairs for overlays."""

    def sample(self, use: Use, items: Sequence[T]) -> list[T]:
        """Return the items of one pass for a use, evenly spread if only a fraction is sampled."""
        count = round(self.repeats[use] * len(items))
        return [items[math.floor(number * len(items) / count)] for number in range(count)]


def read_mixture(path: Path, root: Path, peak: float | None = None) -> list[Source]:
    """Read the sources of a mixture.

    Args:
        path: the TOML file. Its lists are found beside it.
        root: the folder that holds the sources, except those that begin with ./ or ../, which are
            found from the file.
        peak: peak of the sources that give none.

    Raises:
        DataError: the file cannot be read, or an entry is wrong.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a mixture ({error}); expected TOML with [[source]] entries."
        ) from error

    entries = content.get("source")
    if not isinstance(entries, list) or not entries or content.keys() != {"source"}:
        keys = ", ".join(content) or "nothing"
        raise DataError(f"{path} holds {keys}; expected [[source]] entries and nothing else.")
    sources = []
    for number, entry in enumerate(entries, start=1):
        source = _source(entry, Path(path), Path(root), f"source {number} of {path}")
        sources.append(replace(source, peak=peak) if source.peak is None else source)
    return sources


def _source(entry: object, path: Path, root: Path, title: str) -> Source:
    if not isinstance(entry, dict):
        raise DataError(
            f"{title} is {entry!r}, expected a [[source]] entry with dataset, folder and uses."
        )
    _check_values(entry, title)

    repeats: dict[Use, float] = {use: entry[use] for use in USES if entry.get(use)}
    uses_pairs = bool(repeats.keys() - set(CLEAR_USES))
    _check_uses(entry, repeats, title, uses_pairs=uses_pairs)

    beside_file = entry["folder"].startswith(("./", "../"))
    folder = (path.parent if beside_file else root) / entry["folder"]
    if beside_file and not folder.is_dir():
        raise DataError(
            f"{title} names {entry['folder']}, which is no folder as seen from that file: "
            "correct it, or name one below --root."
        )
    lists = {name: path.parent / entry[name] for name in _LIST_KEYS if name in entry}
    return Source(
        entry["dataset"],
        folder,
        repeats,
        SplitLists(**lists),
        validate=entry.get("validate", uses_pairs),
        keep_opaque=entry.get("keep_opaque", False),
        peak=entry.get("peak"),
        overlay=entry.get("overlay", False),
    )


def _check_values(entry: Mapping[str, Any], title: str) -> None:
    """Raise DataError unless all keys are known, all values are valid and none is missing."""
    number = ((int, float), f"a number from 0 to {MAX_REPEATS}")
    keys: dict[str, tuple[tuple[type, ...], str]] = {
        **dict.fromkeys(("dataset", "folder", *_LIST_KEYS), ((str,), "text in quotes")),
        **dict.fromkeys(USES, number),
        "peak": ((int, float), "a finite number above 0"),
        "keep_opaque": ((bool,), "true or false"),
        "overlay": ((bool,), "true or false"),
        "validate": ((bool, str), 'true, false or "all"'),
    }
    if unknown := sorted(entry.keys() - keys.keys()):
        raise DataError(f"{title} says {', '.join(unknown)}, expected only {', '.join(keys)}.")

    for name, value in entry.items():
        types, expected = keys[name]
        valid = type(value) in types  # not isinstance: true is no number
        if valid and name in USES:
            valid = 0 <= value <= MAX_REPEATS
        elif valid and name == "peak":
            valid = 0 < value < math.inf
        elif valid and name == "validate":
            valid = value in (True, False, "all")
        if not valid:
            raise DataError(f"{title} says {name} = {value!r}, expected {expected}.")

    if missing := [name for name in ("dataset", "folder") if name not in entry]:
        raise DataError(
            f"{title} has no {' and no '.join(missing)}, "
            'expected for example dataset = "rice1", folder = "RICE1".'
        )
    if entry["dataset"] not in _SOURCE_NAMES:
        raise DataError(
            f"{title} says dataset = {entry['dataset']!r}, "
            f"expected one of {', '.join(_SOURCE_NAMES)}."
        )


def _check_uses(
    entry: Mapping[str, Any], repeats: Mapping[Use, float], title: str, *, uses_pairs: bool
) -> None:
    """Raise DataError if the uses of a source contradict its other values."""
    if bool(repeats) == (entry.get("validate") == "all"):
        raise DataError(
            f"{title} draws {', '.join(repeats) or 'nothing'}, expected at least one of "
            f'{", ".join(USES)} with a number above 0, or none of them and validate = "all".'
        )
    if entry["dataset"] == CLEAR and uses_pairs:
        raise DataError(
            f"{title} holds clear images alone, which are no pairs; "
            "expected only simulated or clear."
        )
    for name in ("keep_opaque", "overlay"):
        if entry.get(name) and not uses_pairs:
            raise DataError(
                f"{title} says {name} = true, which is of pairs, and draws none; "
                "expected pairs with a number above 0."
            )


def open_source(source: Source) -> tuple[list[Pair], list[Pair], Splits]:
    """Find the pairs of a source.

    Returns:
        The pairs for training, those for validation, and all parts of the dataset.

    Raises:
        DataError: they are not found.
    """
    splits = find_pairs(source.dataset, source.folder, source.lists, source.peak)
    train, val = splits.train, splits.val
    if source.validate == "all":
        train, val = [], train + val
    elif not source.validate:
        train, val = train + val, []
    return train, val, splits


def find_pairs(
    dataset: SourceName, folder: Path, lists: SplitLists = NO_LISTS, peak: float | None = None
) -> Splits:
    """Find the pairs of a published dataset or of a user's own.

    Of "clear", each image is both halves of its pair.

    Args:
        dataset: name of the dataset.
        folder: its folder, or one above it.
        lists: lists of names.
        peak: stored value that means 1 in all images.

    Raises:
        DataError: they are not found.
    """
    if dataset == "folder":
        return find_folder(folder, lists).at_peak(peak)
    if dataset != CLEAR:
        return find_named(dataset, folder, lists).at_peak(peak)

    pairs, counts = {}, []
    for part, files in find_clear(folder, lists).items():
        pairs[part] = [Pair(name, path, path) for name, path in files.items()]
        counts.append(f"{len(files)} {part}")
    note = f"{folder}: clear images ({', '.join(counts)})"
    return Splits(**pairs, note=note).at_peak(peak)


def with_unique_names(sources: Iterable[tuple[str, Sequence[Pair]]]) -> list[Pair]:
    """Return the pairs of all sources, named "TITLE_NAME".

    Titles are numbered where two sources would give equal names.

    Args:
        sources: the title and the pairs of each source.
    """
    found: list[Pair] = []
    for title, pairs in sources:
        taken = {pair.name.casefold() for pair in found}
        for number in itertools.count(1):
            prefix = title if number == 1 else f"{title}-{number}"
            renamed = [replace(pair, name=f"{prefix}_{pair.name}") for pair in pairs]
            if taken.isdisjoint(pair.name.casefold() for pair in renamed):
                found += renamed
                break
    return found
