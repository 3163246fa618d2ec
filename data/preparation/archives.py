"""Unpacking of zip archives from the internet.

`zipfile` keeps every member inside the folder, writes links as plain files and compares checksums.
This module adds limits of size, refuses members that overwrite each other, and explains errors.
"""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cloudkit.errors import UserError
from cloudkit.progress import progress_bar

MAX_BYTES = 200 * 2**30  # unpacked; the largest dataset has about ten GiB
MAX_FILES = 200_000
MAX_RATIO = 50  # unpacked to packed bytes; images hardly compress, so more means a zip bomb
RATIO_FROM = 2**30  # unpacked bytes; less does no harm at any ratio
JUNK = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")
_OTHER_ARCHIVES = (b"Rar!", b"7z\xbc\xaf\x27\x1c")
_WEB_PAGES = (b"<!doctype html", b"<html", b"<head")


class ArchiveError(UserError):
    """Error for an archive that cannot be unpacked. The message says what to do."""


class OtherArchiveError(ArchiveError):
    """Error for an archive that other programs can unpack, but Python cannot."""


@contextmanager
def unpacked(archive: Path, root: Path) -> Iterator[Path]:
    """Unpack a zip archive, and the zips in it, into a temporary folder below `root`.

    The folder is removed in the end: the caller moves out what shall stay. Junk such as __MACOSX
    is skipped. Zips inside the inner zips stay packed.

    Yields:
        The folder.

    Raises:
        ArchiveError: the archive is no zip, damaged, encrypted or too large, or members overwrite
            each other.
    """
    require_zip(archive, str(archive))
    root.mkdir(parents=True, exist_ok=True)

    with TemporaryDirectory(prefix=".unpacking-", dir=root, ignore_cleanup_errors=True) as working:
        folder = Path(working) / "content"
        folder.mkdir()
        sizes: dict[str, int] = {}
        _extract(archive, folder, str(archive), sizes)

        for inner in sorted(folder.rglob("*")):
            if inner.is_file() and inner.suffix.lower() == ".zip":
                title = f"{archive}: {inner.relative_to(folder).as_posix()}"
                _extract(inner, inner.parent, title, sizes, wrapper=inner.stem)
                inner.unlink()
        yield folder


def is_junk(path: PurePosixPath) -> bool:
    """Return whether an operating system made the file: __MACOSX, .DS_Store and the like."""
    return any(part.lower() in JUNK or part.startswith("._") for part in path.parts)


def require_zip(path: Path, title: str) -> None:
    """Raise ArchiveError unless the file is a complete zip archive."""
    if not path.is_file():
        raise ArchiveError(f"there is no archive {title}; expected a zip file.")
    if zipfile.is_zipfile(path):
        return

    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(_OTHER_ARCHIVES) or (start and tarfile.is_tarfile(path)):
        raise OtherArchiveError(
            f"{title} is an archive of another kind, expected a zip. It must be unpacked by hand."
        )
    if start.lstrip().lower().startswith(_WEB_PAGES):
        raise ArchiveError(
            f"{title} is a web page, expected a zip. Servers send one after too many downloads: "
            "delete it and try again in a day, or download the file in a browser while signed in."
        )
    raise ArchiveError(
        f"{title} has {path.stat().st_size} bytes and is no complete zip archive. "
        "Delete it and download it again."
    )


def _extract(
    archive: Path, folder: Path, title: str, sizes: dict[str, int], wrapper: str = ""
) -> None:
    """Extract an archive, and add the size of each file by its lower-case path to `sizes`.

    If members lie outside a folder named `wrapper`, they are extracted into a new one.
    """
    require_zip(archive, title)
    try:
        with zipfile.ZipFile(archive) as file:
            members = []
            for member in file.infolist():
                if not is_junk(PurePosixPath(member.filename)):
                    members.append(member)
            _require_limits(members, archive, title, sizes)
            _require_space(members, folder)

            if not all(member.filename.startswith(f"{wrapper}/") for member in members):
                folder = folder / wrapper
            for member in progress_bar(members, desc="unpacking", unit="file", leave=False):
                path = file.extract(member, folder)
                key = path.casefold()  # some file systems do not tell capitals apart
                if key in sizes and not member.is_dir():
                    raise ArchiveError(
                        f"{title} holds {member.filename}, which would overwrite another member. "
                        "Have it packed again."
                    )
                sizes[key] = member.file_size
    except ArchiveError:
        raise
    except RuntimeError as error:  # encrypted, or of a version or method that Python does not know
        raise OtherArchiveError(
            f"{title} is a zip that Python cannot unpack ({error}). It must be unpacked by hand."
        ) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise ArchiveError(
            f"{title} cannot be unpacked ({error}). If it is damaged, delete it and download it "
            "again; if the disk is full, free some space."
        ) from error


def _require_limits(
    members: Sequence[zipfile.ZipInfo], archive: Path, title: str, sizes: dict[str, int]
) -> None:
    count = len(sizes) + len(members)
    unpacked_bytes = _total(members)
    total = sum(sizes.values()) + unpacked_bytes
    if count > MAX_FILES or total > MAX_BYTES:
        raise ArchiveError(
            f"{title} would unpack to {count} files of {_gib(total)}, expected at most {MAX_FILES} "
            f"files of {_gib(MAX_BYTES)}. Is it a dataset?"
        )

    ratio = unpacked_bytes / archive.stat().st_size
    if unpacked_bytes > RATIO_FROM and ratio > MAX_RATIO:
        raise ArchiveError(
            f"{title} would unpack to {ratio:.0f} times its size, expected at most {MAX_RATIO} "
            "times. Images do not compress so well: it is a zip bomb."
        )


def _require_space(members: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    needed, free = _total(members), shutil.disk_usage(folder).free
    if needed > free:
        raise ArchiveError(
            f"{folder} has {_gib(free)} free, expected {_gib(needed)} to unpack into. "
            "Free some space, or name another --root."
        )


def _total(members: Sequence[zipfile.ZipInfo]) -> int:
    return sum(member.file_size for member in members)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
