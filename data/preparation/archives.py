"""Unpacking of zip archives from the internet into temporary folders."""

import errno
import lzma
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from cloudkit.progress import progress_bar
from preparation.archive_formats import ArchiveError, damaged, unsupported
from preparation.archive_members import (
    Member,
    open_members,
    require_distinct,
    require_limits,
    require_space,
)

WORKING = ".unpacking-"  # prefix of temporary folders; a search for datasets skips hidden ones
STALE_AFTER = 3600  # seconds without a new file, after which no run works in such a folder
_BLOCK = 2**20  # bytes to copy at once


@contextmanager
def unpacked(archive: Path, root: Path) -> Iterator[Path]:
    """Unpack a zip archive, and the zips in it, into a temporary folder below `root`.

    The folder is removed in the end: the caller moves out what shall stay. Junk such as __MACOSX
    is skipped. Zips inside the inner zips stay packed.

    Yields:
        The folder.

    Raises:
        ArchiveError: the archive is no zip, damaged, encrypted, too large for the limits or the
            disk, or holds members that could do harm.
    """
    title = str(archive)
    with ExitStack() as stack:
        members = open_members(archive, title, stack)
        working = stack.enter_context(working_folder(root))
        inner = stack.enter_context(ExitStack())  # closed first: Windows removes no open file
        require_space([member.info for member in members], root)
        folder = working / "content"
        folder.mkdir()

        with _explain_errors(title, root):
            members = _open_inner_zips(members, title, working, inner)
            infos = [member.info for member in members]
            require_limits(infos, title, archive.stat().st_size)
            require_distinct(members, title)
            require_space(infos, root)
            _write({folder / member.path: member for member in members}, working)
        inner.close()
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


def _open_inner_zips(
    members: Sequence[Member], title: str, working: Path, stack: ExitStack
) -> list[Member]:
    """Replace each zip among the members by its own members, after the same checks."""
    opened = []
    for index, member in enumerate(members):
        if not member.is_zip:
            opened.append(member)
            continue
        packed = working / f"{index}.zip"
        _write({packed: member}, working)
        inner = open_members(packed, f"{title}: {member.path}", stack)

        base = member.path.with_suffix("")
        if all(each.path.parts[:1] == (base.name,) for each in inner):
            base = base.parent  # they bring the folder themselves
        for each in inner:
            opened.append(Member(each.archive, each.info, base / each.path))
    return opened


def _write(members: Mapping[Path, Member], working: Path) -> None:
    """Write each member to its path inside the folder `working`; zipfile compares the checksums."""
    total = sum(member.info.file_size for member in members.values())
    progress: tqdm[int] = progress_bar(
        total=total, desc="unpacking", unit="B", unit_scale=True, leave=False
    )
    with progress as bar:
        for path, member in members.items():
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                continue

            path.parent.mkdir(parents=True, exist_ok=True)
            with member.archive.open(member.info) as source, path.open("xb") as file:
                while block := source.read(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
            os.utime(working)  # tells other runs that the folder is in use


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
