"""Work on images one by one, where a bad image does not end the work on the others."""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cloudkit.errors import UserError, describe_error
from cloudkit.memory import free_memory, memory_error
from cloudkit.processes import Processes
from cloudkit.progress import progress_bar

Item = TypeVar("Item")
Result = TypeVar("Result")
# Errors of the disk for results. They would come back with each of the other images.
_END_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class LeftOut:
    """Result for an image that cannot be used."""

    reason: str
    """Sentence that names the image and says what to do."""


def for_each_image(
    items: Sequence[Item],
    work: Callable[[Item], Result],
    processes: Processes,
    *,
    title: str,
    name: Callable[[Item], object] = str,
    leave: bool = True,
) -> list[Result | LeftOut]:
    """Do the same work for each image; the processes share the images.

    Args:
        items: one item for each image.
        work: reads the image of an item and returns a small result.
        processes: the processes; each image is the work of one of them.
        title: title of the progress bar.
        name: returns the name of an item for messages.
        leave: keep the bar on the screen at the end.

    Returns:
        A result for each image, the same in every process.
    """
    outcomes: list[Result | LeftOut] = []
    for item in progress_bar(
        processes.split(items), desc=title, unit="image", show=processes.is_main, leave=leave
    ):
        outcomes.append(attempt(lambda item=item: work(item), name(item)))  # type: ignore[misc]
    return processes.gather(outcomes)


def attempt(work: Callable[[], Result], name: object) -> Result | LeftOut:
    """Do the work for one image.

    Returns:
        Its result, or a reason if the image is damaged, does not fit, or needs too much memory.

    Raises:
        OSError: the disk for results is full or read-only.
        Exception: an error of the program.
    """
    try:
        return work()
    except (UserError, OSError, MemoryError, RuntimeError) as error:
        if refused := memory_error(error):
            reason = f"{name} needs more memory than there is{_asked(refused)}; "
            reason += "cut it into smaller images."
        elif not isinstance(error, UserError | OSError) or _ends_all(error):
            raise
        else:
            reason = describe_error(error)
        refused = None
    free_memory()  # after the error, and with it the memory of the failed work, is gone
    return LeftOut(reason)


def refuse_left_out(outcomes: Iterable[object], *, title: str = "these were left out") -> None:
    """Raise an error that names all images that were left out, if there are any.

    Args:
        outcomes: results of `for_each_image`.
        title: beginning of the message.
    """
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, LeftOut)]
    if reasons:
        raise UserError("\n  ".join([f"{title}:", *reasons]))


def _ends_all(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _END_ALL


def _asked(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f" ({lines[0]})" if lines else ""
