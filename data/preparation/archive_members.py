"""Members of zip archives from the internet, checked before any of them is unpacked.

An archive is refused if a member leaves the folder, overwrites another one or is no plain file. It
is also refused if it is encrypted, or too large for the limits or the disk.
"""

import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from preparation.archive_formats import (
    ArchiveError,
    OtherArchiveError,
    damaged,
    require_zip,
    unsupported,
)

MAX_BYTES = 200 * 2**30  # unpacked; the largest dataset has about ten GiB
MAX_FILES = 200_000
MAX_RATIO = 50  # unpacked to packed bytes; images hardly compress, so more means a zip bomb
RATIO_FROM = 2**30  # unpacked bytes; less does no harm at any ratio
JUNK = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")
_UNSAFE = re.compile(r"[:\x00-\x1f]")  # a colon names a drive or a stream on Windows
_PLAIN_TYPES = (0, stat.S_IFREG, stat.S_IFDIR)
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # of the member, by strong encryption, of the directory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@dataclass(frozen=True)
class Member:
    """File or folder in an open zip archive."""

    archive: zipfile.ZipFile
    """Archive that holds it."""
    info: zipfile.ZipInfo
    """Entry in the archive."""
    path: PurePosixPath
    """Relative path to unpack it to."""

    @property
    def is_folder(self) -> bool:
        """Flag for a folder."""
        return self.info.orig_filename.endswith(("/", "\\"))

    @property
    def is_zip(self) -> bool:
        """Flag for a zip archive inside the archive."""
        return self.path.suffix.lower() == ".zip" and not self.is_folder


def is_junk(path: PurePosixPath) -> bool:
    """Return whether an operating system made the file: __MACOSX, .DS_Store and the like."""
    return any(part.lower() in JUNK or part.startswith("._") for part in path.parts)


def open_members(path: Path, title: str, stack: ExitStack) -> list[Member]:
    """Open an archive and return its members, without junk, after all checks but of the space.

    Args:
        path: the archive.
        title: name of the archive in messages.
        stack: stack that closes the archive.

    Raises:
        ArchiveError: the archive is refused, or is no zip.
    """
    require_zip(path, title)
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except RuntimeError as error:
        raise unsupported(title, error) from error
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise damaged(title, error) from error

    require_limits(archive.infolist(), title, path.stat().st_size)
    members = []
    for info in archive.infolist():
        member = Member(archive, info, _safe_path(info, title))
        if not is_junk(member.path):
            members.append(member)
    require_distinct(members, title)
    return members


def require_limits(infos: Sequence[zipfile.ZipInfo], title: str, packed_bytes: int) -> None:
    """Raise ArchiveError if the members of an archive of `packed_bytes` are too many or too large.

    Members of archives inside it may be among them.
    """
    total = _total_bytes(infos)
    if len(infos) > MAX_FILES or total > MAX_BYTES:
        raise ArchiveError(
            f"{title} would unpack to {len(infos)} files of {_gib(total)}, expected at most "
            f"{MAX_FILES} files of {_gib(MAX_BYTES)}. Nothing was unpacked: is it a dataset?"
        )

    ratio = total / packed_bytes
    if total > RATIO_FROM and ratio > MAX_RATIO:
        raise ArchiveError(
            f"{title} would unpack to {ratio:.0f} times its size, expected at most {MAX_RATIO} "
            "times. Images do not compress so well: it is a zip bomb. Nothing was unpacked."
        )


def require_space(infos: Iterable[zipfile.ZipInfo], root: Path) -> None:
    """Raise ArchiveError if the disk of `root` has no room for the members."""
    needed, free = _total_bytes(infos), shutil.disk_usage(root).free
    if needed > free:
        raise ArchiveError(
            f"{root} has {_gib(free)} free, expected {_gib(needed)} to unpack into. "
            "Free some space, or name another --root."
        )


def require_distinct(members: Iterable[Member], title: str) -> None:
    """Raise ArchiveError if two members share a path, or a file lies where a folder must be.

    Paths count as one if they differ in capitals or in the Unicode form of accents alone, because
    some file systems do not tell these apart.
    """
    found: dict[str, tuple[PurePosixPath, bool]] = {}
    for member in members:
        for path in (*reversed(member.path.parents), member.path):
            is_file = path == member.path and not member.is_folder
            key = unicodedata.normalize("NFC", str(path)).casefold()
            known, known_is_file = found.get(key, (path, False))
            if known != path or (key in found and (is_file or known_is_file)):
                raise ArchiveError(
                    f"{title} holds both {known} and {path}, one of which would overwrite the "
                    "other. Have it packed again."
                )
            found[key] = (path, is_file)


def _safe_path(info: zipfile.ZipInfo, title: str) -> PurePosixPath:
    """Return the path of a member that can be unpacked without harm."""
    # zipfile changes `filename` by the rules of this system; some programs of Windows write "\"
    name = info.orig_filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _UNSAFE.search(name):
        raise ArchiveError(
            f"{title} holds {name!r}, a path that could leave the folder, so nothing was unpacked. "
            'Expected relative paths without ".." and ":". Do not trust it, or have it packed '
            "again."
        )
    if stat.S_IFMT(info.external_attr >> 16) not in _PLAIN_TYPES:
        raise ArchiveError(
            f"{title} holds {name!r}, a link or device, expected plain files. "
            "Nothing was unpacked: have it packed again."
        )

    if info.flag_bits & _ENCRYPTED:
        raise OtherArchiveError(
            f"{title} is encrypted. It must be unpacked by hand, with its password."
        )
    if info.compress_type not in _METHODS:
        raise OtherArchiveError(
            f"{title} is packed by method {info.compress_type}, which Python does not know. "
            "It must be unpacked by hand."
        )
    return path


def _total_bytes(infos: Iterable[zipfile.ZipInfo]) -> int:
    return sum(info.file_size for info in infos)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
