"""Damaged checkpoints are refused in words or load soundly; a longer run: python tests/fuzz.py."""

import os
import time

from tests.fuzzing import checkpoints
from tests.fuzzing.running import run_cases


def test_damaged_checkpoints_are_refused_or_sound() -> None:
    report = run_cases(checkpoints.check, 40, seed=7)
    assert report.faults == []
    assert report.outcomes["refused"] > 10
    assert report.outcomes["sound"] > 2


def ill(seed: int, number: int) -> str:
    """Stand for a reader with each fault."""
    faults = {2: lambda: 1 / 0, 3: lambda: os.abort(), 4: lambda: time.sleep(60)}
    if number in faults:
        faults[number]()
    kept = b"x" * (number * 100 * 2**20) if number == 6 else b""
    return "sound" if len(kept) >= 0 else "refused"


def test_faults_are_found_and_the_rest_goes_on() -> None:
    report = run_cases(ill, 7, seed=0, seconds=5, megabytes=100)
    assert report.outcomes == {"sound": 3, "fault": 2}
    found = "\n".join(report.faults)
    for fault in (
        "case 2: Traceback",
        "case 3: the process crashed",
        "case 4: takes longer than 5 seconds",
        "case 6: takes ",
    ):
        assert fault in found
