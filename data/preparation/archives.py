"""Unpacking of zip archives from the internet into temporary folders.

`zipfile` keeps every member within the folder, writes links as plain files, and compares checksums.
"""

import errno
import lzma
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cloudkit.progress import progress_bar
from preparation.archive_formats import ArchiveError, damaged, require_zip, unsupported

WORKING = ".unpacking-"  # prefix of temporary folders; a search for datasets skips hidden ones
STALE_AFTER = 3600  # seconds without a new file, after which no run works in such a folder
_ROOT = re.compile(r"^(?:[A-Za-z]:)?[\\/]+")
_JUNK = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")


def is_junk(path: PurePosixPath) -> bool:
    """Return whether an operating system made the file: __MACOSX, .DS_Store and the like."""
    return any(part.lower() in _JUNK or part.startswith("._") for part in path.parts)


@contextmanager
def unpacked(archive: Path, root: Path) -> Iterator[Path]:
    """Unpack a zip archive, and the zips in it, into a temporary folder below `root`.

    The folder is removed in the end: the caller moves out what shall stay. Junk such as __MACOSX
    is skipped. Zips inside the inner zips stay packed.

    Yields:
        The folder.

    Raises:
        ArchiveError: the archive is no zip, damaged, encrypted or too large for the disk.
    """
    require_zip(archive, str(archive))
    with working_folder(root) as working:
        folder = working / "content"
        _unpack(archive, str(archive), folder, working)

        for inner in sorted(folder.rglob("*")):
            if inner.suffix.lower() == ".zip" and inner.is_file():
                title = f"{archive}: {inner.relative_to(folder).as_posix()}"
                require_zip(inner, title)
                _unpack(inner, title, inner.with_suffix(""), working)
                inner.unlink()
        yield folder


@contextmanager
def working_folder(root: Path) -> Iterator[Path]:
    """Make a hidden temporary folder in `root`, and remove the stale ones of killed runs.

    Yields:
        The folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    for leftover in root.glob(f"{WORKING}*"):
        with suppress(FileNotFoundError):  # another run removes its own
            if time.time() - leftover.stat().st_mtime > STALE_AFTER:
                shutil.rmtree(leftover, ignore_errors=True)

    with TemporaryDirectory(prefix=WORKING, dir=root, ignore_cleanup_errors=True) as working:
        yield Path(working)


def _unpack(path: Path, title: str, folder: Path, working: Path) -> None:
    """Unpack one archive into a folder within the folder `working`."""
    with _explain_errors(title, working.parent), zipfile.ZipFile(path) as archive:
        members = []
        for info in archive.infolist():
            # Some programs of Windows write "\\", or whole paths from the top of a drive.
            info.filename = _ROOT.sub("", info.filename).replace("\\", "/")
            if not is_junk(PurePosixPath(info.filename)):
                members.append(info)
        _require_space(sum(info.file_size for info in members), working.parent)

        folder.mkdir(exist_ok=True)
        for info in progress_bar(members, desc="unpacking", unit="file", leave=False):
            archive.extract(info, folder)
            os.utime(working)  # tells other runs that the folder is in use


def _require_space(needed: int, root: Path) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise ArchiveError(
            f"{root} has {free / 2**30:.1f} GiB free, expected {needed / 2**30:.1f} GiB to unpack "
            "into. Free some space, or name another --root."
        )


@contextmanager
def _explain_errors(title: str, root: Path) -> Iterator[None]:
    """Convert the errors of unpacking to one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        raise unsupported(title, error) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise damaged(title, error) from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error type of its own
            raise damaged(title, error) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ArchiveError(
                f"{root} has no space left, so nothing was unpacked. Free some space, or name "
                "another --root."
            ) from error
        raise
