"""Files that are written completely or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNFINISHED = ".part-"  # in the names of files and folders that are still being written


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with unchanged line ends. Raises as `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(text.encode()))


def write_json(path: Path, content: object) -> None:
    """Write indented JSON.

    Raises:
        ValueError: the content holds NaN or infinity, which JSON lacks.
        OSError: as `write_atomically`.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: the file is no JSON in UTF-8.
        OSError: the file cannot be read.
    """
    return json.loads(path.read_text(encoding="utf-8-sig"))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place at once.

    Raises:
        OSError: the folder cannot be written or the disk is full; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem[:40]}{UNFINISHED}"  # cut, because systems limit the length of names
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())

        # some writers replace the file by a private one, so its mode is set after them
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing directly into a folder. None may write there now."""
    for path in folder.glob(f".*{UNFINISHED}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
