"""Folders for results: one process at a time writes into each."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cloudkit.errors import UserError
from cloudkit.files import UNFINISHED, remove_leftovers, write_json

if TYPE_CHECKING:  # its import loads PyTorch, which files and locks do not need
    from cloudkit.processes import Processes

BEAT = 10.0  # seconds between two signs of life of a writer
SHARE = "share-"  # begins the purpose of locks that let several processes write into a folder
PATIENCE = 40.0  # seconds without one, after which a writer on another machine counts as dead
# A folder with such a suffix is more likely meant as a file.
_FILE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".webp", ".gif"}
_FILE_SUFFIXES |= {".json", ".csv", ".txt", ".pt", ".pth", ".ckpt", ".safetensors", ".zip"}


class FolderInUseError(UserError):
    """Another process writes into the folder. The message names it."""


class FolderLock:
    """Exclusive right to write into a folder, until `release`, the end of the process or a kill.

    The operating system's lock tells processes of one machine apart, and those of several where
    the file system shares locks. A file beside it names the holder. For file systems that share
    files but no locks, its time is renewed: a holder on another machine whose file grows old is
    taken for dead.

    Args:
        folder: the folder. `acquire` makes it.
        purpose: name of the right. Locks of other purposes are independent.
    """

    def __init__(self, folder: Path, purpose: str = "writing") -> None:
        self.folder, self.purpose = folder, purpose
        self._stop = threading.Event()
        self._lock: FileLock | None = None
        self._owner = 0  # process that took the right; forked ones cannot give it back

    def __del__(self) -> None:
        self.release()

    @property
    def lock_file(self) -> Path:
        """Path of the file that the operating system locks."""
        return self.folder / f".{self.purpose}.lock"

    @property
    def holder_file(self) -> Path:
        """Path of the file that names the holder."""
        return self.folder / f".{self.purpose}.json"

    def require_free(self) -> None:
        """Raise FolderInUseError if another process has the right now. Nothing is written."""
        if self.lock_file.exists():
            self._operating_system_lock().release()

    def acquire(self) -> None:
        """Take the right, also from a process that was killed.

        Raises:
            FolderInUseError: another process has it.
            OSError: the folder cannot be made or written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._operating_system_lock()
        if self._is_alive_elsewhere():
            lock.release()
            raise self._in_use()

        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        write_json(self.holder_file, holder)
        self._lock, self._owner, self._stop = lock, os.getpid(), threading.Event()
        beat = threading.Thread(target=_beat, args=(self.holder_file, self._stop), daemon=True)
        beat.start()

    def take_over(self) -> None:
        """Remove what a killed process left of its lock. Raises as `acquire`."""
        self.acquire()
        self.release()

    def release(self) -> None:
        """Give the right back. Without the right, do nothing."""
        if self._lock is None or self._owner != os.getpid():
            return
        self._stop.set()
        lock, self._lock = self._lock, None

        # Removed while locked. A waiting process then notices that its file has lost its name.
        self.holder_file.unlink(missing_ok=True)
        with suppress(OSError):  # Windows removes no open file; there the library does it
            self.lock_file.unlink()
        lock.release()

    def move_away(self, target: Path) -> None:
        """Rename the folder, then give the right back. No process can begin in it meanwhile."""
        if os.name == "nt":  # Windows renames no folder with an open file, ours or another writer's
            self.release()
        self._stop.set()
        self.folder.rename(target)
        self.folder = target
        self.release()

    def _operating_system_lock(self) -> FileLock:
        lock = FileLock(self.lock_file, thread_local=False)
        try:
            lock.acquire(timeout=0.5)  # a moment for one that is just released
        except Timeout as error:
            raise self._in_use() from error
        return lock

    def _is_alive_elsewhere(self) -> bool:
        """Tell whether a process on another machine has the right and gives signs of life."""
        holder = self._holder()
        if holder.get("host") in (None, socket.gethostname()):
            return False  # the system would not have given the lock away

        first, end = self._last_beat(), time.monotonic() + PATIENCE
        print(f"{self.folder} was left locked by {_described(holder)}; waiting for a sign of life")
        while time.monotonic() < end:
            time.sleep(min(1.0, PATIENCE / 10))
            if self._last_beat() != first:
                return self._last_beat() is not None
        return False

    def _last_beat(self) -> int | None:
        try:
            with self.holder_file.open("rb") as file:  # network file systems look anew at opening
                return os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return None

    def _holder(self) -> dict[str, object]:
        try:
            holder = json.loads(self.holder_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}

    def _in_use(self) -> FolderInUseError:
        return FolderInUseError(
            f"{self.folder} is in use by {_described(self._holder())}, expected a folder that no "
            "other process writes into. Wait for its end, or name another folder."
        )


def _described(holder: dict[str, object]) -> str:
    if not holder:
        return "another process"
    names = {"pid": "process", "host": "on", "since": "since"}
    return " ".join(f"{word} {holder.get(name, '?')}" for name, word in names.items())


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with suppress(OSError):
            os.utime(path)


def require_folder(out: Path) -> None:
    """Require a path that is a folder or can become one. Nothing is written.

    Raises:
        UserError: it is a file, is named like one, or cannot be written.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(
            f"--out {out} cannot be a folder: {there} is a file, expected a folder to write to."
        )
    if there != out and out.suffix.lower() in _FILE_SUFFIXES:
        raise UserError(
            f"--out {out} is named like a file, expected a folder to write to; name one, such as "
            f"{out.with_suffix('')}."
        )
    if not os.access(there, os.W_OK):
        raise UserError(
            f"--out {out} cannot be written to: {there} is read-only; name another folder."
        )


def is_empty(folder: Path) -> bool:
    """Return True for a folder without files but locks and what a killed process left."""
    if not folder.exists():
        return True
    lock = FolderLock(folder)
    for path in folder.iterdir():
        if path not in (lock.lock_file, lock.holder_file) and UNFINISHED not in path.name:
            return False
    return True


def locks_of_shares(folder: Path) -> list[FolderLock]:
    """Return a lock for each share that is written into a folder, or was by a killed process."""
    names = sorted(path.stem for path in folder.glob(f".{SHARE}*.lock"))
    return [FolderLock(folder, name[1:]) for name in names]


@contextmanager
def writing_to(
    folder: Path,
    processes: "Processes | None" = None,
    *,
    parts: Iterable[Path] = (),
    purpose: str = "writing",
) -> Iterator[None]:
    """Keep other processes from writing into a folder, and remove what a killed one left.

    Args:
        folder: the folder; it is made.
        processes: the processes of this run. The main one takes the right for all.
        parts: folders below it that are written, too.
        purpose: as for `FolderLock`.

    Raises:
        UserError: the path cannot be a folder, or another process writes into it.
    """
    if processes is not None and not processes.is_main:
        yield
        return

    require_folder(folder)
    lock = FolderLock(folder, purpose)
    lock.acquire()
    try:
        if purpose == "writing":
            for share in locks_of_shares(folder):
                share.take_over()
        clean(folder, parts, purpose)
        yield
    finally:
        lock.release()


def clean(folder: Path, parts: Iterable[Path], purpose: str = "writing") -> None:
    """Remove what a killed process left in a folder and in parts of it that none has locked."""
    for place in {folder, *parts}:
        if place == folder or not FolderLock(place, purpose).lock_file.exists():
            remove_leftovers(place)
