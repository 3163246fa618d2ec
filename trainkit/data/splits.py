"""Division of a dataset into train, val and test: by fixed rules, or by lists of names."""

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from cloudkit.imaging.finding import natural_key
from cloudkit.imaging.formats import SUFFIXES
from trainkit.data.pairs import DataError, Pair
from trainkit.data.roles import PART_NAMES, core_name, meaning_of, normal, pair_name
from trainkit.data.trees import UNSPLIT

T = TypeVar("T")
Parts = Mapping[str, Mapping[str, T]]  # {part: {name: pair or file}}


@dataclass(frozen=True)
class Splits:
    """A dataset with its parts. Training and validation have no image in common."""

    train: list[Pair]
    val: list[Pair]
    test: list[Pair]
    note: str
    """One line: the number of pairs, and anything that is missing."""

    def at_peak(self, peak: float | None) -> "Splits":
        """Return the parts with images whose stored value `peak` means 1."""
        train, val, test = (
            [replace(pair, peak=peak) for pair in part]
            for part in (self.train, self.val, self.test)
        )
        return Splits(train, val, test, self.note)


@dataclass(frozen=True)
class SplitLists:
    """Lists of names that replace a dataset's own split. `read_names` reads the files."""

    split: Path | None = None
    """Names of all images to use. Validation is taken from them for training."""
    held_out: Path | None = None
    """Names of images that training must not use."""


NO_LISTS = SplitLists()


def divide(
    parts: Parts[T], lists: SplitLists = NO_LISTS, *, test: Collection[str] | None = None
) -> tuple[dict[str, dict[str, T]], str]:
    """Divide a dataset into train, val and test.

    Without lists, the dataset keeps its own parts. If it has no validation part,
    `validation_names` takes one from training. A list under `lists.split` is all of training and
    all of test, because train.py uses only the one and test.py only the other.

    Args:
        parts: {part: {name: pair or file}}; a dataset without parts has the one part `UNSPLIT`.
        lists: the lists.
        test: names of the test part, for a dataset without parts. Default: all images are both
            training and test.

    Returns:
        {part: {name: pair or file}} for train, val and test, and a note on the lists ("" without).

    Raises:
        DataError: a list cannot be used.
    """
    note = ""
    train, val, test_part = (dict(parts.get(part, {})) for part in PART_NAMES)
    if lists.split is not None:
        train, val = select_listed(parts, lists.split), {}
        test_part = train
        note += f"; {len(train)} named by {lists.split}"
    elif UNSPLIT in parts:
        train = test_part = dict(parts[UNSPLIT])
        if test is not None:
            train, test_part = _separate(train, test)

    if lists.held_out is not None:
        held_out, unknown = find_listed(parts, lists.held_out)
        before = len(train) + len(val)
        train = {name: item for name, item in train.items() if item not in held_out}
        val = {name: item for name, item in val.items() if item not in held_out}
        removed = before - len(train) - len(val)
        if not removed:
            raise DataError(
                f"{lists.held_out} names no training image, so it would change nothing; expected "
                "names of training images, such as those in held_out.txt of an audit."
            )
        note += f"; {removed} held out of training by {lists.held_out}{unknown}"

    if not val and len(train) > 1:
        train, val = _separate(train, validation_names(list(train)))
    return {"train": train, "val": val, "test": test_part}, note


def select_listed(parts: Parts[T], path: Path) -> dict[str, T]:
    """Return the images that a list names, in its order.

    Raises:
        DataError: a name is missing, ambiguous or listed twice.
    """
    selected: dict[str, T] = {}
    missing = []
    for line in read_names(path):
        matches = _matches(parts, line)
        if len(matches) > 1:
            holders = " and ".join(part for part, _ in matches)
            raise DataError(
                f"{path} names {line}, which {holders} hold; write {matches[0][0]}/{line}."
            )
        if not matches:
            missing.append(line)
            continue

        part, name = matches[0]
        if name in selected:
            raise DataError(
                f"{path} names {name} twice; keep one, and score parts that have names in common "
                "in separate runs."
            )
        selected[name] = parts[part][name]

    if missing:
        present = [name for part in parts.values() for name in part]
        raise DataError(
            f"{path} names {len(missing) + len(selected)} images, {len(missing)} of which are not "
            f"there ({_first(missing)}; there are for example {_first(present)}). Scores compare "
            "only on the complete list: get the complete dataset, or list the images that you have."
        )
    return selected


def find_listed(parts: Parts[T], path: Path) -> tuple[list[T], str]:
    """Return those images of a list that are there.

    Returns:
        The pairs or files, and a note about missing names, which may be misspelt ("" without any).

    Raises:
        DataError: no name of the list is there.
    """
    found: list[T] = []
    missing: list[str] = []
    for line in dict.fromkeys(read_names(path)):
        matches = _matches(parts, line)
        found += [parts[part][name] for part, name in matches]
        if not matches:
            missing.append(line)

    if not found:
        raise DataError(
            f"{path} names no image that is there, so it would change nothing; "
            "check that it is a list of this dataset."
        )
    return (
        found,
        f" ({len(missing)} more names are not there: {_first(missing)})" if missing else "",
    )


def read_names(path: Path) -> list[str]:
    """Read a list of names, one a line.

    A name may be bare ("12"), a file ("12.png", "12-inputs.png") or with its part ("test/12").
    Empty lines, and comments that begin with "#", are ignored.

    Raises:
        DataError: the file cannot be read or holds no name.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a list of names ({error}); expected text, one name a line."
        ) from error

    names = []
    for line in text.splitlines():
        name = re.sub(r"(^|\s)#.*", "", line).strip().replace("\\", "/")
        if name:
            names.append(name)
    if not names:
        raise DataError(f"{path} holds no name, expected one a line.")
    return names


def _matches(parts: Parts[T], line: str) -> list[tuple[str, str]]:
    """Return the (part, name) that a line of a list means; several if it names no part."""
    written = PurePosixPath(normal(line))
    stem = written.stem if written.suffix.lower() in SUFFIXES else written.name
    named = [meaning_of(folder).part for folder in written.parts[:-1]]
    named_parts = [part for part in PART_NAMES if part in named]
    candidates = named_parts if named_parts and UNSPLIT not in parts else list(parts)

    places = [name for name, part in zip(written.parts, named, strict=False) if part is None]
    whole, below = "_".join((*written.parts[:-1], stem)), "_".join((*places, stem))
    for name in (whole, below, stem, pair_name(stem), pair_name(below), core_name(below)):
        if matches := [(part, name) for part in candidates if name in parts.get(part, {})]:
            return matches
    return []


def _separate(items: Mapping[str, T], names: Collection[str]) -> tuple[dict[str, T], dict[str, T]]:
    """Return the items that are not among `names`, and those that are, each in their order."""
    others: dict[str, T] = {}
    selected: dict[str, T] = {}
    for name, item in items.items():
        part = selected if name in names else others
        part[name] = item
    return others, selected


def _first(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], "..."] if len(names) > 3 else names)


def hashed_order(names: Iterable[str]) -> list[str]:
    """Sort names by the SHA-256 of their UTF-8 bytes: a fixed order, unrelated to the content."""
    return sorted(names, key=_sha256)


def blocks_order(names: Iterable[str]) -> list[str]:
    """Sort names so that neighbours stay together: neighbouring numbers often show one place.

    A block has the names with an equal last number after division by ten. Blocks are in the hashed
    order of their names, and names within a block in natural order.
    """
    return sorted(names, key=lambda name: (_sha256(block_of(name)), natural_key(name)))


def validation_names(names: Sequence[str]) -> set[str]:
    """Choose the training names that serve for validation.

    They are the first tenth in `blocks_order`, at least one.

    Raises:
        DataError: there are fewer than two names.
    """
    if len(names) < 2:
        raise DataError(
            f"there is {len(names)} image to train on, expected at least 2: "
            "one of them serves for validation."
        )
    return set(blocks_order(names)[: math.ceil(len(names) / 10)])


def block_of(name: str) -> str:
    """Return a name with its last number divided by ten, to group neighbours in blocks of ten.

    A name without a number is a block of its own.
    """
    match = re.search(r"(\d+)(\D*)$", name)
    return f"{name[: match.start()]}{int(match[1]) // 10}{match[2]}" if match else name


def _sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
