"""Runs of the ablation in several processes at a time."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudkit.folders import FolderInUseError, FolderLock
from tests.helpers import ABLATION, run_script
from tests.scripts.ablating import ARMS, Arguments, six_pairs


@pytest.fixture(scope="module")
def given(prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Arguments:
    return six_pairs(tmp_path_factory.mktemp("pairs"), prior)


def test_a_failing_run_of_several_names_its_log(
    given: Arguments, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_script(ABLATION, *given, "--crop", 64, "--out", out, "--jobs", 2) == 2
    log = re.search(r"Its output is in (.*\.log)", capfd.readouterr().err)
    assert log is not None
    assert "smaller than the crop of 64" in Path(log[1]).read_text()


def test_a_kill_ends_the_runs_at_a_time(given: Arguments, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [*given, "--out", out, "--jobs", 2, "--epochs", 10000]
    ablation = subprocess.Popen([sys.executable, ABLATION, *map(str, arguments)])
    folders = [out / "fold-1" / arm for arm in ARMS]
    wait_until(lambda: all((folder / "last.pt").exists() for folder in folders))
    for folder in folders:
        with pytest.raises(FolderInUseError):
            FolderLock(folder, "ablation").require_free()

    ablation.kill()
    ablation.wait()
    wait_until(lambda: all(map(is_free, folders)))


def is_free(folder: Path) -> bool:
    """Return whether no process works on a run."""
    try:
        FolderLock(folder, "ablation").require_free()
    except FolderInUseError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most two minutes."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
