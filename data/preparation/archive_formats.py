"""Errors about archives that cannot be unpacked, and the check that a file is a zip archive."""

import zipfile
from pathlib import Path

from cloudkit.errors import UserError

_FORMATS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
}
_WEB_PAGES = (b"<!doctype html", b"<html", b"<head")


class ArchiveError(UserError):
    """Error for an archive that cannot be unpacked. The message says what to do."""


class OtherArchiveError(ArchiveError):
    """Error for an archive that other programs can unpack, but Python cannot."""


def require_zip(path: Path, title: str) -> None:
    """Raise an error unless the file is a complete zip archive.

    Args:
        path: the file.
        title: name of the file in messages.

    Raises:
        OtherArchiveError: it is an archive of another format.
        ArchiveError: it is missing, empty, incomplete, a web page or any other file.
    """
    if not path.is_file():
        raise ArchiveError(f"there is no archive {title}; expected a zip file.")
    with path.open("rb") as file:
        start = file.read(512)

    other = _other_format(start)
    if other:
        raise OtherArchiveError(f"{title} is {other}, expected a zip. It must be unpacked by hand.")
    if start.lstrip().lower().startswith(_WEB_PAGES):
        raise ArchiveError(
            f"{title} is a web page, expected a zip. Servers send one after too many downloads: "
            "delete it and try again in a day, or download the file in a browser while signed in."
        )
    if zipfile.is_zipfile(path):
        return

    problem = "no zip archive" if start else "empty"
    if start.startswith(b"PK"):
        problem = "a zip archive whose end is missing, as after an interrupted download"
    raise ArchiveError(
        f"{title} is {problem}; expected a complete zip. Delete it and download it again."
    )


def damaged(title: str, error: Exception) -> ArchiveError:
    """Return the error for a damaged archive; `error` says what is wrong."""
    return ArchiveError(
        f"{title} is damaged ({error}), so nothing was unpacked. Delete it and download it again."
    )


def unsupported(title: str, error: RuntimeError) -> OtherArchiveError:
    """Return the error for a zip of a version or kind that this Python lacks.

    `zipfile` raises RuntimeError for such a zip, which may be complete.
    """
    return OtherArchiveError(
        f"{title} is a zip that this Python cannot unpack ({error}). It must be unpacked by hand."
    )


def _other_format(start: bytes) -> str:
    """Return the format of an archive other than zip by its first 512 bytes, or ""."""
    for signature, name in _FORMATS.items():
        if start.startswith(signature):
            return name
    return "a tar archive" if start[257:262] == b"ustar" else ""
