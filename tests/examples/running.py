"""Runs of the examples as their users start them, with workers that are killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

psutil = pytest.importorskip("psutil")

# One thread, as workers have: with others, sums may differ in the last bit.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def start(script: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a script as a process of its own."""
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)


def run(script: Path, *arguments: object) -> None:
    """Run a script to its end."""
    assert start(script, *arguments).wait() == 0


def await_file(running: subprocess.Popen[bytes], folder: Path, pattern: str) -> None:
    """Wait until a process has written the first file of a pattern."""
    while not list(folder.glob(pattern)):
        assert running.poll() is None, "it ended too early"
        time.sleep(0.02)


def kill_worker(running: subprocess.Popen[bytes], is_worker: Callable[[str], bool]) -> int:
    """Kill the first worker below a process by SIGKILL, and return how many there were."""
    workers = []
    for child in psutil.Process(running.pid).children(recursive=True):
        if is_worker(" ".join(child.cmdline())):
            workers.append(child)
    workers[0].kill()
    return len(workers)
