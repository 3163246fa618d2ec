"""Runs of the examples as their users start them, with workers that are killed."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def await_workers(
    running: subprocess.Popen[bytes], is_worker: Callable[[str], bool], count: int
) -> list[Any]:
    """Wait until a process has so many workers, known by their commands, and return them."""
    while True:
        workers = []
        for child in psutil.Process(running.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # a helper that has ended meanwhile
                if is_worker(" ".join(child.cmdline())):
                    workers.append(child)
        if len(workers) == count:
            return workers
        assert running.poll() is None, "it ended too early"
        time.sleep(0.02)
