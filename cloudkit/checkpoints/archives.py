"""Zip archives as PyTorch writes them: claims are compared with the file before it is unpacked."""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

_MOST_ENTRIES = 20_000  # a training's state of the networks here has about 2,000
_LARGEST_RECORD = 2**26  # bytes, of a record that is no storage of numbers
_TAIL = 2**16 + 98  # bytes that end an archive: its comment and both records of its directory
_PIECE = 2**20

# Everything that zipfile raises for damaged archives.
ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    OSError,
    ValueError,  # UnicodeDecodeError among them
    KeyError,
    IndexError,
    NotImplementedError,
    EOFError,
    OverflowError,
    RuntimeError,
)


def list_entries(path: Path) -> list[zipfile.ZipInfo]:
    """Read the directory of an archive, unless it has too many entries to be sound.

    Raises:
        One of `ERRORS`: it cannot be read.
    """
    count = _entry_count(path)
    if count > _MOST_ENTRIES:
        raise zipfile.BadZipFile(f"it has {count} entries, expected at most {_MOST_ENTRIES}")
    with zipfile.ZipFile(path) as archive:
        return archive.infolist()


def _entry_count(path: Path) -> int:
    """Return the number of entries that an archive claims, or more if its directory is longer."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        tail = file.read()

    count = 0
    end, large_end = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    if end >= 0 and len(tail) >= end + 22:
        entries, length = struct.unpack_from("<HI", tail, end + 10)
        count = 0 if entries == 2**16 - 1 else entries
        count = max(count, 0 if length == 2**32 - 1 else length // 128)
    if large_end >= 0 and len(tail) >= large_end + 56:
        entries, length = struct.unpack_from("<QQ", tail, large_end + 32)
        count = max(count, entries, length // 128)
    return count


def read_small_records(path: Path) -> tuple[dict[str, int], bytes]:
    """Check an archive of PyTorch, and read its pickle.

    PyTorch stores its records without compression, so they cannot claim more than the file has.
    Checksums tell damaged weights from sound ones.

    Returns:
        The size of each record by its name without the folder, and the content of data.pkl.

    Raises:
        One of `ERRORS`: the archive is damaged, or was made to do harm.
    """
    entries = list_entries(path)
    _check_claims(entries, path.stat().st_size)

    folder = entries[0].filename.partition("/")[0]
    sizes: dict[str, int] = {}
    pickled = b""
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            name = entry.filename.removeprefix(f"{folder}/")
            sizes[name] = entry.file_size
            content = _read_checked(archive, entry, keep=name == "data.pkl")
            if name == "data.pkl":
                pickled = content
    return sizes, pickled


def _check_claims(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    if not entries:
        raise zipfile.BadZipFile("it is an empty archive")
    folder = entries[0].filename.partition("/")[0]
    names, total = set(), 0
    for entry in entries:
        if not entry.filename.startswith(f"{folder}/"):
            raise zipfile.BadZipFile("its records lie in different folders")
        names.add(entry.filename.lower())  # PyTorch's reader ignores case
        total += entry.file_size
        if entry.filename == f"{folder}/data.pkl" and entry.file_size > _LARGEST_RECORD:
            raise zipfile.BadZipFile(f"its data.pkl claims {entry.file_size} bytes")

    if len(names) < len(entries):
        raise zipfile.BadZipFile("it has two records of one name")
    if total > size:
        raise zipfile.BadZipFile(
            f"it unpacks to {total} bytes, but has {size}: PyTorch does not compress"
        )
    if any(entry.flag_bits & 1 for entry in entries):
        raise zipfile.BadZipFile("it is encrypted")


def _read_checked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, keep: bool) -> bytes:
    """Read a record to compare its checksum, and return it if it is to be kept.

    A checksum of 0 is none: `torch.serialization.set_crc32_options(False)` writes it.
    """
    if entry.CRC == 0 and not keep:
        return b""
    if entry.CRC == 0:
        del entry.CRC  # so that zipfile compares none

    kept = b""
    with archive.open(entry) as record:
        while piece := record.read(_PIECE):
            kept += piece if keep else b""
    return kept
