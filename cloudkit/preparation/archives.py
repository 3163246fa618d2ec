"""Zip archives from strangers: checked whole, unpacked into a temporary folder, moved into place by the caller.

Nothing is unpacked from an archive with a member that would leave the folder, overwrite another or is no plain file, nor from one
that is encrypted, of an unknown method, or larger than the limits below and the free disk space.
"""

import errno
import lzma
import os
import shutil
import stat
import tempfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from cloudkit.errors import UserError

MOST_BYTES = 200 * 2**30  # unpacked; the largest set of the field has some ten GiB
MOST_MEMBERS = 200_000
MOST_RATIO = 50  # of unpacked to packed bytes; images hardly shrink, so what does is a bomb
RATIO_FROM = 2**30  # bytes unpacked, below which the ratio does no harm
WORKING = ".unpacking-"  # prefix of temporary folders; hidden ones are passed over when data sets are searched
STALE_AFTER = 3600  # seconds after which nobody works in such a folder any more
JUNK = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")  # what systems leave in folders, lower case
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: of the member, by strong encryption, of the directory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_BLOCK = 2**20
_KINDS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
}


class ArchiveError(UserError):
    """An archive cannot be unpacked; the message names it, what is wrong and what to do."""


class OtherArchiveError(ArchiveError):
    """An archive is of a kind that other programs can unpack, though not Python."""


@dataclass(frozen=True)
class _Member:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    target: PurePosixPath


@contextmanager
def unpacked(archive: Path, root: Path) -> Iterator[Path]:
    """A temporary folder in `root` with what a zip archive holds, and what zips within it hold (one level of them).

    It is removed in the end, whatever happens: move out of it what shall stay. Junk such as __MACOSX is left out.

    Raises:
        ArchiveError: it is no zip, damaged, encrypted, too large for the limits or the disk, or not to be trusted.
    """
    archive = Path(archive)
    with ExitStack() as stack:
        members = _checked_members(stack, archive, str(archive))
        working = stack.enter_context(working_folder(root))
        inner = stack.enter_context(ExitStack())  # closed before the folder goes: Windows deletes no open file
        _require_space(members, root)
        (working / "content").mkdir()
        plain = [member for member in members if not _is_zip(member)]
        with _explained(archive, root):
            for index, member in enumerate(filter(_is_zip, members)):
                packed = working / f"{index}.zip"
                _write(working, {packed: member})
                plain += _rebased(_checked_members(inner, packed, f"{archive}: {member.target}"), member.target)
            _require_within_limits(plain, archive, archive.stat().st_size)
            _require_distinct(plain, str(archive))
            _require_space(plain, root)
            _write(working, {working / "content" / member.target: member for member in plain})
        inner.close()
        yield working / "content"


@contextmanager
def working_folder(root: Path) -> Iterator[Path]:
    """A new hidden folder in `root`, removed in the end. What killed runs left there is removed too, once it is stale."""
    root.mkdir(parents=True, exist_ok=True)
    for leftover in root.glob(f"{WORKING}*"):
        if time.time() - leftover.stat().st_mtime > STALE_AFTER:
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=WORKING, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_junk(path: PurePosixPath) -> bool:
    """Whether a system left it: __MACOSX, .DS_Store, Thumbs.db and the like."""
    return any(part.lower() in JUNK or part.startswith("._") for part in path.parts)


def require_zip(path: Path, title: str | None = None) -> None:
    """Raise ArchiveError, which says what the file is instead and what to do, unless it is a whole zip archive."""
    title = title or str(path)
    if not path.is_file():
        raise ArchiveError(f"there is no archive {title}; expected a zip file.")
    with path.open("rb") as file:
        start = file.read(512)
    kind = "a tar archive" if start[257:262] == b"ustar" else None
    kind = next((name for magic, name in _KINDS.items() if start.startswith(magic)), kind)
    if kind:
        raise OtherArchiveError(f"{title} is {kind}, expected a zip; it must be unpacked by hand.")
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head")):
        raise ArchiveError(
            f"{title} is a web page, expected a zip: the server sent a notice in place of the file, often because too many "
            "fetched it lately. Delete it and try again in a day, or fetch the file in a browser while signed in."
        )
    if not zipfile.is_zipfile(path):
        what = "a zip archive whose end is missing (a download broken off?)" if start.startswith(b"PK") else "no zip archive"
        raise ArchiveError(f"{title} is {what if start else 'empty'}, expected a whole zip; delete it and fetch it anew.")


def _checked_members(stack: ExitStack, path: Path, title: str) -> list[_Member]:
    """The members of an archive that are to be unpacked, each of them and all together found harmless."""
    require_zip(path, title)
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except RuntimeError as error:
        raise _beyond_python(title, error) from error
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ArchiveError(f"{title} is damaged ({error}); delete it and fetch it anew.") from error
    if len(archive.infolist()) > MOST_MEMBERS:
        raise ArchiveError(f"{title} has {len(archive.infolist())} members, expected at most {MOST_MEMBERS}; is it a data set?")
    members = [_Member(archive, info, _safe_path(info, title)) for info in archive.infolist()]
    _require_within_limits(members, path, path.stat().st_size)
    members = [member for member in members if not is_junk(member.target)]
    _require_distinct(members, title)
    return members


def _safe_path(info: zipfile.ZipInfo, title: str) -> PurePosixPath:
    name = info.orig_filename  # as written there; `filename` is already changed by the rules of this system
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(c in "\\:" or ord(c) < 32 for c in name):
        raise ArchiveError(
            f"{title} holds {name!r}, a path that could leave the folder, so nothing was unpacked; expected relative paths "
            'without "..", "\\" and ":". Do not trust it, or have it packed anew.'
        )
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(
            f"{title} holds {name!r}, a link or device, expected plain files; nothing was unpacked. Have it packed anew."
        )
    if info.flag_bits & _ENCRYPTED:
        raise OtherArchiveError(f"{title} is encrypted; it must be unpacked by hand, with its password.")
    if info.compress_type not in _METHODS:
        raise OtherArchiveError(
            f"{title} is packed by method {info.compress_type}, which Python does not know; it must be unpacked by hand."
        )
    return path


def _require_within_limits(members: Sequence[_Member], archive: Path, packed: int) -> None:
    total = sum(member.info.file_size for member in members)
    if len(members) > MOST_MEMBERS or total > MOST_BYTES:
        raise ArchiveError(
            f"{archive} would unpack to {len(members)} files of {_gib(total)}, expected at most {MOST_MEMBERS} of "
            f"{_gib(MOST_BYTES)}; nothing was unpacked. Is it a data set?"
        )
    if total > RATIO_FROM and total > MOST_RATIO * packed:
        raise ArchiveError(
            f"{archive} would unpack to {total / packed:.0f} times its size, expected at most {MOST_RATIO} times: images do not "
            "shrink so, it is no data set but a zip bomb. Nothing was unpacked."
        )


def _require_space(members: Sequence[_Member], root: Path) -> None:
    total, free = sum(member.info.file_size for member in members), shutil.disk_usage(root).free
    if total > free:
        raise ArchiveError(
            f"{root} has {_gib(free)} free, expected {_gib(total)} to unpack into; free some, or name another --root."
        )


def _require_distinct(members: Sequence[_Member], title: str) -> None:
    """No two files of one path, even where capitals and accents are not told apart, and no file where a folder must be."""
    seen: dict[str, tuple[PurePosixPath, bool]] = {}
    for member in members:
        for path in (*reversed(member.target.parents), member.target):
            is_file = path == member.target and not member.info.is_dir()
            key = unicodedata.normalize("NFC", str(path)).casefold()
            known, known_is_file = seen.get(key, (path, False))
            if (key in seen and (is_file or known_is_file)) or known != path:
                raise ArchiveError(f"{title} holds both {known} and {path}, one of which would overwrite the other; repack it.")
            seen[key] = (path, is_file)


def _is_zip(member: _Member) -> bool:
    return member.target.suffix.lower() == ".zip" and not member.info.is_dir()


def _rebased(members: Sequence[_Member], packed: PurePosixPath) -> list[_Member]:
    """Members of a zip within the zip: below a folder of its name, unless they bring that folder themselves."""
    own = all(member.target.parts[:1] == (packed.stem,) for member in members)
    base = packed.parent if own else packed.with_suffix("")
    return [_Member(member.archive, member.info, base / member.target) for member in members]


def _write(working: Path, members: Mapping[Path, _Member]) -> None:
    """Write each member to its path within the folder `working`; zipfile compares it with its check sum."""
    total = sum(member.info.file_size for member in members.values())
    with tqdm(total=total, desc="unpacking", unit="B", unit_scale=True, leave=False) as bar:
        for target, member in members.items():
            if member.info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.archive.open(member.info) as source, target.open("xb") as file:
                while block := source.read(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
            os.utime(working)  # tells other runs that it is in use


@contextmanager
def _explained(archive: Path, root: Path) -> Iterator[None]:
    """Turn what goes wrong in unpacking into one error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        raise _beyond_python(str(archive), error) from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{archive} is damaged ({error}); nothing was unpacked. Delete it and fetch it anew.") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error type of its own
            raise ArchiveError(f"{archive} is damaged ({error}); nothing was unpacked. Delete it and fetch it anew.") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ArchiveError(f"{root} has no space left; nothing was unpacked. Free some, or name another --root.") from error
        raise


def _beyond_python(title: str, error: RuntimeError) -> OtherArchiveError:
    """What a RuntimeError of zipfile means: the archive may be whole, but is of a version or kind that this Python lacks."""
    return OtherArchiveError(f"{title} is a zip that this Python cannot read ({error}); it must be unpacked by hand.")


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
