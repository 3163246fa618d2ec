"""Time of the parts of a work, each without those within it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Seconds(NamedTuple):
    """Time of a part."""

    cpu: float = 0.0
    """Time of all threads of this process."""
    wall: float = 0.0


class Clock:
    """Stopwatch that one part has at a time; what no part has goes to `other`."""

    def __init__(self) -> None:
        self.parts: dict[str, Seconds] = {}
        self._part, self._since = "other", self._now()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the time to a part until the end of the block, then back to the outer one."""
        outer = self._part
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, name: str) -> None:
        now, before = self._now(), self.parts.get(self._part, Seconds())
        cpu, wall = now.cpu - self._since.cpu, now.wall - self._since.wall
        self.parts[self._part] = Seconds(before.cpu + cpu, before.wall + wall)
        self._part, self._since = name, now

    @staticmethod
    def _now() -> Seconds:
        return Seconds(time.process_time(), time.perf_counter())
