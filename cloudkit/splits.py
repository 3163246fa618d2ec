"""How a data set is divided into training, validation and test: by fixed rules, or by lists of names."""

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from cloudkit.images import SUFFIXES, natural_key
from cloudkit.pairs import DataError, Pair, pair_name

PART_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
WHOLE = "whole"  # the one part of a set that has none
T = TypeVar("T")
Parts = Mapping[str, Mapping[str, T]]  # {part: {name: pair or file}}


@dataclass(frozen=True)
class Splits:
    """A data set, split; images of one part never stand in another."""

    train: list[Pair]
    val: list[Pair]
    test: list[Pair]
    note: str
    """One line: what was found, and what of the whole set is not there."""


@dataclass(frozen=True)
class Choice:
    """Lists of names that stand in for a data set's own split; each is a file as `read_names` takes it."""

    split: Path | None = None
    """All that is used: for training, with validation carved from it, or for scoring."""
    held_out: Path | None = None
    """What training must not see."""


NO_LISTS = Choice()


def divide(
    parts: Parts[T], choice: Choice = NO_LISTS, *, test: Collection[str] | None = None
) -> tuple[dict[str, dict[str, T]], str]:
    """Divide what a data set holds into train, val and test.

    Without lists the set's own parts stand, and validation that is not there is carved from training by `validation_names`. A
    list under `choice.split` is all of training and all of test: train.py uses the one, test.py the other.

    Args:
        parts: {part: {name: pair or file}}; a set without parts holds the one part `WHOLE`.
        choice: the lists.
        test: of a set without parts, the names of its test part; default: all of it is training and all of it test.

    Returns:
        {part: {name: pair or file}} for train, val and test, and what the lists did, for the note ("" without lists).

    Raises:
        DataError: a list cannot be used; the message says why.
    """
    note = ""
    if choice.split is not None:
        listed = pick(parts, choice.split)
        chosen = {"train": listed, "val": {}, "test": listed}
        note += f"; {len(listed)} named by {choice.split}"
    elif WHOLE in parts:
        whole = dict(parts[WHOLE])
        chosen = {"train": whole, "val": {}, "test": whole}
        if test is not None:
            chosen["train"], chosen["test"] = _without(whole, test), _without(whole, whole.keys() - set(test))
    else:
        chosen = {part: dict(parts.get(part, {})) for part in PART_NAMES}
    if choice.held_out is not None:
        held_out, unknown = named(parts, choice.held_out)
        before = len(chosen["train"]) + len(chosen["val"])
        for part in ("train", "val"):
            chosen[part] = {name: item for name, item in chosen[part].items() if item not in held_out}
        removed = before - len(chosen["train"]) - len(chosen["val"])
        if not removed:
            raise DataError(
                f"{choice.held_out} names no training image, so it would change nothing; expected names of training images, such "
                "as held_out.txt of an audit holds."
            )
        note += f"; {removed} held out of training by {choice.held_out}{unknown}"
    if not chosen["val"] and len(chosen["train"]) > 1:
        validation = validation_names(list(chosen["train"]))
        chosen["val"] = _without(chosen["train"], chosen["train"].keys() - validation)
        chosen["train"] = _without(chosen["train"], validation)
    return chosen, note


def pick(parts: Parts[T], path: Path) -> dict[str, T]:
    """What a list names, in its order. Raises DataError unless every name is there, once, and clear in what it means."""
    picked: dict[str, T] = {}
    missing = []
    for line in read_names(path):
        places = _places(parts, line)
        if len(places) > 1:
            raise DataError(
                f"{path} names {line}, which {' and '.join(part for part, _ in places)} hold; write {places[0][0]}/{line}."
            )
        for part, name in places:
            if name in picked:
                raise DataError(f"{path} names {name} twice; keep one, and score parts that share names in runs of their own.")
            picked[name] = parts[part][name]
        missing += [] if places else [line]
    if missing:
        count = len(missing) + len(picked)
        raise DataError(
            f"{path} names {count} images, {len(missing)} of which are not there ({_some(missing)}; there are for example "
            f"{_some([name for part in parts.values() for name in part])}). A score compares only on the whole list: get the "
            "whole data set, or write a list of what is there."
        )
    return picked


def named(parts: Parts[T], path: Path) -> tuple[list[T], str]:
    """What a list names of what is there, and for the user what it names besides: a name that is not there may be a slip.

    Returns:
        The pairs or files, and a note ("" if all are there).

    Raises:
        DataError: nothing that it names is there.
    """
    lines = {line: [parts[part][name] for part, name in _places(parts, line)] for line in read_names(path)}
    found, missing = [item for items in lines.values() for item in items], [line for line, items in lines.items() if not items]
    if not found:
        raise DataError(f"{path} names no image that is there, so it would change nothing; is it of another data set?")
    return found, f" ({len(missing)} more names are not there: {_some(missing)})" if missing else ""


def read_names(path: Path) -> list[str]:
    """Read a list of names, one a line.

    A name may be written bare ("12"), as a file ("12.png", "12-inputs.png") or with its part ("test/12"); empty lines and what
    follows a "#" are passed over.

    Raises:
        DataError: the file cannot be read or holds no name.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of names ({error}); expected text, one name a line.") from error
    lines = [re.sub(r"(^|\s)#.*", "", line).strip().replace("\\", "/") for line in text.splitlines()]
    if not any(lines):
        raise DataError(f"{path} holds no name, expected one a line.")
    return [line for line in lines if line]


def _places(parts: Parts[T], line: str) -> list[tuple[str, str]]:
    """Where a line of a list points: (part, name), more than one if it does not say which part."""
    written = PurePosixPath(line)
    stem = written.stem if written.suffix.lower() in SUFFIXES else written.name
    spellings = ("_".join((*written.parts[:-1], stem)), stem, pair_name(stem))
    folders = {folder.lower() for folder in written.parts[:-1]}
    wanted = [part for part, names in PART_NAMES.items() if folders.intersection(names) and WHOLE not in parts]
    for name in spellings:
        if places := [(part, name) for part in (wanted or parts) if name in parts.get(part, {})]:
            return places
    return []


def _without(items: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    return {name: item for name, item in items.items() if name not in names}


def _some(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def hashed_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the SHA-256 of their UTF-8 bytes: fixed for all time, unrelated to what the images show."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


def blocks_order(names: Iterable[str]) -> list[str]:
    """Names in an order that keeps neighbours together, since neighbouring numbers are often neighbouring places.

    Blocks of ten (a name's last number divided by 10) follow in the hashed order of the block's name, the names of a block in
    natural order. What is cut off at the front shares few neighbours with the rest.
    """
    blocks: dict[str, list[str]] = {}
    for name in names:
        blocks.setdefault(_block(name), []).append(name)
    return [name for block in hashed_order(blocks) for name in sorted(blocks[block], key=natural_key)]


def validation_names(names: Sequence[str]) -> set[str]:
    """Which of the training names serve for validation: the first tenth in `blocks_order`, at least one.

    Raises:
        DataError: fewer than two names.
    """
    if len(names) < 2:
        raise DataError(f"there is {len(names)} image to train on, expected at least 2: one of them serves for validation.")
    return set(blocks_order(names)[: math.ceil(len(names) / 10)])


def _block(name: str) -> str:
    """The name with its last number divided by ten; the name itself where it has no number."""
    match = re.search(r"(\d+)(\D*)$", name)
    return f"{name[: match.start()]}{int(match[1]) // 10}{match[2]}" if match else name
