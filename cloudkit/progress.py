"""Progress bars for long work."""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress_bar(
    items: Iterable[Item] | None = None, *, show: bool = True, **options: Any
) -> "tqdm[Item]":
    """Return tqdm's bar over items, which is drawn on a terminal alone.

    So a log file is not flooded. TQDM_DISABLE=1 in the environment hides it everywhere.

    Args:
        items: the items to iterate over; without them, count by `update`.
        show: False hides the bar, as in all processes but the main one.
        options: of `tqdm.tqdm`, such as desc and unit.
    """
    hidden = not show or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    return tqdm(iter(()) if items is None else items, disable=True if hidden else None, **options)
