"""Temporary folders: nothing stays of them, whatever happens."""

import errno
import itertools
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from preparation.archive_formats import ArchiveError
from preparation.archives import WORKING, unpacked, working_folder
from tests.helpers import Killed, break_at
from tests.preparation.packing import unpack, zipped


def fail_at(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Let the third member fail."""
    extract, calls = zipfile.ZipFile.extract, itertools.count(1)

    def failing(*arguments: Any) -> str:
        if next(calls) == 3:
            raise error
        return extract(*arguments)

    monkeypatch.setattr(zipfile.ZipFile, "extract", failing)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.png": bytes(1000) for n in range(5)})
    with monkeypatch.context() as patched:
        fail_at(patched, OSError(number, "No space left on device"))
        message = "root has no space left, so nothing was unpacked. Free some space"
        with pytest.raises(ArchiveError, match=message):
            unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    assert len(unpack(archive, tmp_path / "root")) == 5


def test_other_errors_of_the_system_are_not_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.png": bytes(1000) for n in range(5)})
    fail_at(monkeypatch, PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(PermissionError):
        unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.png": bytes(1000) for n in range(5)})
    with monkeypatch.context() as patched:
        break_at(patched, zipfile.ZipExtFile, "read", 4)
        with pytest.raises(Killed):
            unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    assert len(unpack(archive, tmp_path / "root")) == 5


def test_a_folder_in_use_is_known_by_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.png": bytes(10) for n in range(3)})
    touched: list[Path] = []
    monkeypatch.setattr(os, "utime", touched.append)
    with unpacked(archive, tmp_path / "root") as folder:
        assert touched == [folder.parent] * 3


def test_folders_of_killed_runs_go_once_they_are_stale(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": b"x"})
    stale, alive = (tmp_path / f"{WORKING}{name}" for name in ("stale", "alive"))
    for folder in (stale, alive):
        (folder / "RICE1").mkdir(parents=True)
    hours_ago = time.time() - 2 * 3600
    os.utime(stale, (hours_ago, hours_ago))
    unpack(archive, tmp_path)
    assert not stale.exists()
    assert alive.exists()


def test_a_stale_folder_that_another_run_removes_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / f"{WORKING}gone"]))
    with working_folder(tmp_path) as folder:
        assert folder.is_dir()
