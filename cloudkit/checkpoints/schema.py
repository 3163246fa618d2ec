"""Structure of files of ours, declared as types and checked in one place.

typeguard compares nested values with the types. A file with more entries than declared at its top
is accepted, because later versions may note more.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from cloudkit.errors import CheckpointError

FORMAT = "thiefcloud-1"
_FAMILY = FORMAT.rstrip("0123456789")
_LONGEST = 300  # characters of a foreign text in a message


class Checkpoint(TypedDict, total=False):
    """A checkpoint, or released weights."""

    format: str
    network: str
    config: dict[str, Any]
    """Arguments that build the network; the network's own package declares them."""
    model: dict[str, Tensor]
    score: float
    step: int
    options: dict[str, Any]
    about: dict[str, Any]
    """Description of released weights."""
    training: dict[str, Any]
    """Only in last.pt; `trainkit.training.state` declares it."""


def check_checkpoint(content: Mapping[Any, Any], path: Path) -> None:
    """Raise CheckpointError unless a file of ours is of this version and has its structure."""
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has the format {content['format'][:40]!r}, expected {FORMAT!r}: a newer "
            "version of this project wrote it, so update the project, or name another file."
        )
    declared = {}
    for name, value in content.items():
        if name in Checkpoint.__annotations__:
            declared[name] = value
    check_structure(declared, Checkpoint, f"{path} is damaged or was changed: its content")


def check_structure(value: object, kind: Any, subject: str) -> None:
    """Compare a value from a file with a type, in depth.

    Args:
        value: anything.
        kind: type, such as a TypedDict.
        subject: begin of the message, which names the file and the part of it.

    Raises:
        CheckpointError: the value is of another type.
    """
    if problem := structure_problem(value, kind):
        raise CheckpointError(f"{subject} {problem}. Fetch it anew, or name another file.")


def structure_problem(value: object, kind: Any) -> str | None:
    """Return the first difference of a value from a type, in words; None if it has the type."""
    try:
        check_type(value, kind, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError as error:
        return " ".join(str(error).split())[:_LONGEST]
    return None


def has_our_format(content: Mapping[Any, Any]) -> bool:
    """Tell whether a file was written by this version of the project, or by another."""
    noted = content.get("format")
    return isinstance(noted, str) and noted.startswith(_FAMILY)


def first_line(error: BaseException) -> str:
    """Return the start of an error's message, or its type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0][:_LONGEST] if text else type(error).__name__
