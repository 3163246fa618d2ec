import json
import multiprocessing
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cloudkit import folders
from cloudkit.errors import UserError
from cloudkit.folders import FolderInUseError, FolderLock, require_folder, writing_to

HOLD = """
import sys, time
from pathlib import Path
from cloudkit.folders import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("locked", flush=True)
time.sleep(60)
"""
COUNT = """
import sys, time
from pathlib import Path
from cloudkit.folders import FolderInUseError, writing_to
folder, counter = Path(sys.argv[1]), Path(sys.argv[2])
done = 0
while done < 15:
    try:
        with writing_to(folder):
            count = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(count + 1))
            done += 1
    except FolderInUseError:
        pass
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def acquired(folder: Path) -> FolderLock:
    lock = FolderLock(folder)
    lock.acquire()
    return lock


def test_the_second_is_told_who_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        host = re.escape(socket.gethostname())
        message = rf"in use by process {process.pid} on {host} since 20\d\d-\d\d-\d\d \d\d:\d\d:"
        with pytest.raises(FolderInUseError, match=message):
            acquired(tmp_path)
        with pytest.raises(FolderInUseError, match=message):
            FolderLock(tmp_path).require_free()

        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [".writing.json", ".writing.lock"]
    FolderLock(tmp_path).require_free()
    acquired(tmp_path).release()
    assert names(tmp_path) == []


def test_nothing_stays_of_a_lock(tmp_path: Path) -> None:
    with writing_to(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
        with writing_to(tmp_path / "new", purpose="other"):
            pass
    assert names(tmp_path / "new") == []

    with writing_to(tmp_path / "new"):
        (tmp_path / "new" / "result").touch()
    assert names(tmp_path / "new") == ["result"]
    acquired(tmp_path / "new")  # and lost at once
    assert names(tmp_path / "new") == ["result"]


def test_one_at_a_time_among_processes_that_take_turns(tmp_path: Path) -> None:
    """A file that is removed and made anew by another is where locks go wrong."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "out"), str(counter)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert counter.read_text() == "30"
    assert names(tmp_path / "out") == []


def test_a_forked_process_does_not_give_the_right_back(tmp_path: Path) -> None:
    lock = acquired(tmp_path)
    child = multiprocessing.get_context("fork").Process(target=lock.release)
    child.start()
    child.join()
    with pytest.raises(FolderInUseError):
        acquired(tmp_path)
    lock.release()


@pytest.mark.parametrize("alive", [True, False])
def test_a_process_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """On a file system that shares files, but no locks."""
    holder = tmp_path / ".writing.json"
    holder.write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "noon"}))
    monkeypatch.setattr(folders, "PATIENCE", 0.3)
    monkeypatch.setattr(folders, "BEAT", 0.05)

    stop = threading.Event()
    if alive:
        threading.Thread(target=folders._beat, args=(holder, stop)).start()
    try:
        if alive:
            with pytest.raises(FolderInUseError, match="in use by process 1 on elsewhere since"):
                acquired(tmp_path)
        else:
            with writing_to(tmp_path):
                assert json.loads(holder.read_text())["host"] == socket.gethostname()
    finally:
        stop.set()


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "BEAT", 0.05)
    lock = acquired(tmp_path)
    first, end = lock.holder_file.stat().st_mtime_ns, time.monotonic() + 10
    while lock.holder_file.stat().st_mtime_ns == first:
        assert time.monotonic() < end
        time.sleep(0.01)
    lock.release()


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"host": 3}'])
def test_a_damaged_name_of_the_holder(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "PATIENCE", 0.1)
    lock = acquired(tmp_path)
    lock.holder_file.write_text(content)
    with pytest.raises(FolderInUseError, match="in use by"):
        acquired(tmp_path)
    lock.release()
    (tmp_path / ".writing.json").write_text(content)
    acquired(tmp_path).release()


def test_a_folder_is_moved_away_with_its_lock(tmp_path: Path) -> None:
    lock = acquired(tmp_path / "run")
    (tmp_path / "run" / "last.pt").touch()
    lock.move_away(tmp_path / "kept")
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["last.pt"]
    acquired(tmp_path / "run").release()


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for folder in (out, out / "part", out / "other", out / "in-use"):
        (folder / ".simulated.part-x1").mkdir(parents=True)
        (folder / ".a.part-x1.png").touch()
        (folder / ".mine.png").touch()
    other = acquired(out / "in-use")
    with writing_to(out, parts=[out / "part", out / "absent", out / "in-use"]):
        pass
    other.release()
    assert names(out) == [".mine.png", "in-use", "other", "part"]
    assert names(out / "part") == [".mine.png"]
    for folder in (out / "other", out / "in-use"):
        assert names(folder) == [".a.part-x1.png", ".mine.png", ".simulated.part-x1"]


@pytest.mark.parametrize("name", ["cleared.png", "A.TIF", "best.pt", "metrics.json"])
def test_a_folder_named_like_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} is named like a file, expected a folder"):
        require_folder(tmp_path / name)
    (tmp_path / name).mkdir()
    require_folder(tmp_path / name)
    require_folder(tmp_path / name / "new" / "v1.5")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(UserError, match=r"file is a file, expected a folder to write to"):
            require_folder(path)
    assert names(tmp_path) == ["file"]
