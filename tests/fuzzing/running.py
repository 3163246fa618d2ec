"""Running of numbered cases in another process."""

import contextlib
import multiprocessing
import resource
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

Check = Callable[[int, int], str]  # seed and number of a case, to its outcome

_ENOUGH = 40  # faults
_START = 120  # seconds in which a process starts and imports


class Report(NamedTuple):
    """Outcomes of many cases."""

    outcomes: Counter[str]
    """Number of cases by outcome, such as "refused" and "sound"."""
    faults: list[str]
    """Cases that ended otherwise, each with its number."""


def run_cases(
    check: Check,
    count: int,
    *,
    seed: int,
    first: int = 0,
    seconds: float = 20,
    megabytes: int = 600,
) -> Report:
    """Try cases, and start again behind one that crashes or hangs.

    Args:
        check: tries a case; returns its outcome, or raises.
        count: number of cases.
        seed: all random choices depend on it and the case's number.
        first: number of the first case.
        seconds: that a case may take.
        megabytes: by which a case may raise the peak of memory.
    """
    report = Report(Counter(), [])
    number = first
    while number < first + count and len(report.faults) < _ENOUGH:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        worker = context.Process(
            target=_work, args=(theirs, check, seed, number, first + count, megabytes), daemon=True
        )
        worker.start()
        theirs.close()

        number = _listen(ours, report, number, first + count, seconds)
        if number == first + count:
            worker.join(_START)  # it ends by itself
        worker.kill()
        worker.join()
    return report


def _listen(ours: Connection, report: Report, number: int, end: int, seconds: float) -> int:
    """Collect outcomes until the process ends. Return the number of the next case."""
    limit: float = _START
    while number < end and len(report.faults) < _ENOUGH:
        if not ours.poll(limit):
            report.faults.append(f"case {number}: takes longer than {seconds:g} seconds")
            return number + 1
        try:
            outcome, fault = ours.recv()
        except EOFError:
            report.faults.append(f"case {number}: the process crashed")
            return number + 1

        limit = seconds
        if outcome == "started":
            continue
        report.outcomes[outcome] += 1
        if fault:
            report.faults.append(f"case {number}: {fault}")
        number += 1
    return number


def _work(
    theirs: Connection, check: Check, seed: int, first: int, end: int, megabytes: int
) -> None:
    theirs.send(("started", ""))
    with contextlib.suppress(Exception):
        check(seed, -1)  # in advance, so that imports and sources do not count
    for number in range(first, end):
        before = _peak_memory()
        try:
            outcome, fault = check(seed, number), ""
        except Exception:
            outcome, fault = "fault", traceback.format_exc()

        raised = (_peak_memory() - before) / 1024
        if raised > megabytes and not fault:
            outcome, fault = "fault", f"takes {raised:.0f} MB"
        theirs.send((outcome, fault))


def _peak_memory() -> int:
    """Return the peak of this process's memory in kilobytes."""
    status = Path("/proc/self/status")
    if status.exists():  # the system's own count begins with the peak of the parent process
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
