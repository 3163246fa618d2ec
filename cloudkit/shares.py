"""Parts of the work for several machines, such as the tasks of a job array.

A hash of its name decides to which part an image belongs. So parts need not know each other, and
new images do not move the others.
"""

import hashlib
import random
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from cloudkit.errors import UserError
from cloudkit.folders import (
    SHARE,
    FolderInUseError,
    FolderLock,
    clean,
    locks_of_shares,
    require_folder,
    writing_to,
)

if TYPE_CHECKING:  # its import loads PyTorch, which files and locks do not need
    from cloudkit.processes import Processes

PATIENCE = 20.0  # seconds to wait for other tasks that begin
Item = TypeVar("Item")
# Variables of the systems that start tasks: number of this task, and number of all tasks.
_SYSTEMS = {
    "AWS Batch": ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    "Kubernetes": ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
}


@dataclass(frozen=True)
class Share:
    """One of several parts of the work."""

    number: int
    """Number of this part, from 1."""
    count: int
    """Number of all parts."""

    def __post_init__(self) -> None:
        """Reject parts that do not exist."""
        if not 1 <= self.number <= self.count:
            raise ValueError(
                f"the share {self} does not exist, expected I/N with I from 1 to N; the first of "
                f"{max(self.count, 1)} is 1/{max(self.count, 1)}."
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "I/N".

        Raises:
            ValueError: the text has another form, or there is no such part.
        """
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text, re.ASCII)
        if found is None:
            raise ValueError(
                f"--share is {text!r}, expected I/N, the number of this part and of all parts, "
                "such as 1/4."
            )
        return cls(int(found[1]), int(found[2]))

    def takes(self, name: str | Path) -> bool:
        """Tell whether an image belongs to this part.

        Args:
            name: its path relative to the folder that was given, equal on every machine.
        """
        text = name.as_posix() if isinstance(name, Path) else name
        # File systems store accents in different ways.
        key = unicodedata.normalize("NFC", text).encode("utf-8", "surrogateescape")
        digest = hashlib.sha256(key).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1

    def of(self, items: Iterable[Item], name: Callable[[Item], str | Path]) -> list[Item]:
        """Return the items of this part, by their names (see `takes`)."""
        return [item for item in items if self.takes(name(item))]


def share_of_task(environment: Mapping[str, str]) -> Share | None:
    """Find the part of this process in the variables of Slurm, AWS Batch or Kubernetes.

    Kubernetes tells a task its number alone; the job's author sets JOB_COMPLETIONS beside it.

    Args:
        environment: the variables, such as `os.environ`.

    Returns:
        The part. None outside of job arrays, if a variable is missing, and for processes of
        torchrun: those share the work already, and may be the tasks of one job array.

    Raises:
        UserError: the variables contradict each other.
    """
    if "RANK" in environment:
        return None
    if "SLURM_ARRAY_TASK_ID" in environment:
        return _share_in_slurm(environment)
    for system, names in _SYSTEMS.items():
        values = _integers(environment, system, *names)
        if values is not None:
            return _existing(system, values[0], values[1])
    return None


def _share_in_slurm(environment: Mapping[str, str]) -> Share | None:
    """Return the part of a task of Slurm, whose numbers need not begin at 0 nor follow closely."""
    names = ["ID", "COUNT"]
    names += [name for name in ("MIN", "MAX", "STEP") if f"SLURM_ARRAY_TASK_{name}" in environment]
    found = _integers(environment, "Slurm", *(f"SLURM_ARRAY_TASK_{name}" for name in names))
    if found is None:
        return None

    values = dict(zip(names, found, strict=True))
    step, first, count = max(values.get("STEP", 1), 1), values.get("MIN", 0), values["COUNT"]
    last = values.get("MAX", first + step * (count - 1))
    index, rest = divmod(values["ID"] - first, step)
    if rest or (last - first) // step + 1 != count:
        raise UserError(
            f"the {count} tasks of this job array of Slurm, {first} to {last} in steps of {step}, "
            "leave gaps, expected numbers of equal distance. Name each part with --share I/N."
        )
    return _existing("Slurm", index, count)


def _existing(system: str, index: int, count: int) -> Share:
    try:
        return Share(index + 1, count)
    except ValueError as error:
        raise UserError(
            f"{system} calls this task number {index} (from 0) of {count}, expected less than "
            f"{count}. Name its part with --share I/N."
        ) from error


def _integers(environment: Mapping[str, str], system: str, *names: str) -> list[int] | None:
    """Return the values of variables, or None if one is missing or empty."""
    values = []
    for name in names:
        text = environment.get(name, "").strip()
        if not text:
            return None
        if not re.fullmatch(r"-?\d+", text, re.ASCII):
            raise UserError(
                f"the variable {name} of {system} is {text!r}, expected a whole number. Correct "
                "it, or name the part with --share I/N."
            )
        values.append(int(text))
    return values


@contextmanager
def writing_share(
    folder: Path,
    share: Share | None,
    processes: "Processes | None" = None,
    *,
    parts: Iterable[Path] = (),
) -> Iterator[None]:
    """Keep other processes from writing the same files into a folder as this part of the work.

    Other parts of the same partition may be written at the same time. What killed processes left
    is removed when no other part is at work, because its owner cannot be told.

    Args:
        folder: the folder; it is made.
        share: the part. None for all of the work, which is `writing_to`.
        processes: as for `writing_to`.
        parts: as for `writing_to`.

    Raises:
        UserError: the path cannot be a folder, or another process writes this part, a part of
            another partition, or all of the work.
    """
    if share is None:
        with writing_to(folder, processes, parts=parts):
            yield
    elif processes is not None and not processes.is_main:
        yield
    else:
        require_folder(folder)
        lock = _begin(folder, share, parts)
        try:
            yield
        finally:
            lock.release()


def _begin(folder: Path, share: Share, parts: Iterable[Path]) -> FolderLock:
    """Take the right to write a part."""
    lock = FolderLock(folder, f"{SHARE}{share.number}-of-{share.count}")
    # The right to all of the work is held for a moment, so that no two processes begin at once.
    whole = FolderLock(folder)
    _acquire_patiently(whole)
    try:
        lock.acquire()
        others = [other for other in locks_of_shares(folder) if other.purpose != lock.purpose]
        for other in others:
            if not other.purpose.endswith(f"-of-{share.count}"):
                other.take_over()
        if not others:
            clean(folder, parts)
    except BaseException:
        lock.release()
        raise
    finally:
        whole.release()
    return lock


def _acquire_patiently(lock: FolderLock) -> None:
    """Take a right that others may hold for a moment. Raises as `FolderLock.acquire`."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return lock.acquire()
        except FolderInUseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1 * random.random())
