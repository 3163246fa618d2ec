"""Archives that are damaged, no zip, or beyond this Python."""

import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preparation.archive_formats import ArchiveError, OtherArchiveError
from tests.preparation.packing import assert_refused, unpack, zipped


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ((4, 6), 99, r"cannot unpack \(zip file version 9\.9\)\. It must be unpacked by hand"),
        (
            (6, 8),
            0x20,
            r"cannot unpack \(compressed patched data .*\)\. It must be unpacked by hand",
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_zips_that_are_complete_but_beyond_python(
    tmp_path: Path, field: tuple[int, int], value: int, message: str, wrapped: bool
) -> None:
    """Downloading them again, as damaged ones, would not help."""
    archive = zipped(tmp_path / "a.zip", {"a.png": b"x"})
    content = bytearray(archive.read_bytes())
    for signature, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), field, strict=True):
        struct.pack_into("<H", content, content.index(signature) + offset, value)
    archive.write_bytes(content)
    if wrapped:
        archive = zipped(tmp_path / "outer.zip", {"a.zip": archive.read_bytes()})
    assert_refused(archive, tmp_path / "root", message, OtherArchiveError)


@pytest.mark.parametrize(
    ("offsets", "value", "message"),
    [
        ((6, 8), 0x1, "encrypted, password required"),
        ((6, 8), 0x41, "strong encryption"),
        # Deflate64, which Windows takes for large files.
        ((8, 10), 9, "compression method is not supported"),
    ],
)
def test_other_programs_unpack_what_python_cannot(
    tmp_path: Path, offsets: tuple[int, int], value: int, message: str
) -> None:
    content = bytearray(zipped(tmp_path / "a.zip", {"a.png": b"x"}).read_bytes())
    for signature, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets, strict=True):
        struct.pack_into("<H", content, content.index(signature) + offset, value)
    (tmp_path / "a.zip").write_bytes(content)
    message = f"cannot unpack .*{message}.* It must be unpacked by hand"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, OtherArchiveError)


def test_a_python_without_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": b"x"}, zipfile.ZIP_LZMA)
    monkeypatch.setattr(zipfile, "lzma", None)
    message = "cannot unpack .*lzma.* It must be unpacked by hand"
    assert_refused(archive, tmp_path / "root", message, OtherArchiveError)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    place = content.index(b"PAYLOAD")
    return content[:place] + b"q" + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "whose end is missing"),
        (flip, "is damaged .*CRC.*nothing was unpacked. Delete it and download it again"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_damaged_archives(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str, wrapped: bool
) -> None:
    archive = zipped(tmp_path / "a.zip", {"first.png": bytes(500), "a.png": b"PAYLOAD" * 100})
    archive.write_bytes(damage(archive.read_bytes()))
    if wrapped:
        archive = zipped(tmp_path / "outer.zip", {"a.zip": archive.read_bytes()})
    assert_refused(archive, tmp_path / "root", message)


@pytest.mark.parametrize(
    ("method", "start"),
    [(zipfile.ZIP_DEFLATED, 35), (zipfile.ZIP_BZIP2, 35), (zipfile.ZIP_LZMA, 40)],
)
def test_damage_that_a_decoder_stumbles_over(tmp_path: Path, method: int, start: int) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": os.urandom(5000)}, method)
    content = bytearray(archive.read_bytes())
    # The packed file begins at 35, after its header and name.
    content[start : start + 100] = b"\xff" * 100
    archive.write_bytes(content)
    assert_refused(archive, tmp_path / "root", "is damaged .*nothing was unpacked")


def test_a_member_larger_than_it_says_is_damage(tmp_path: Path) -> None:
    content = bytearray(
        zipped(tmp_path / "a.zip", {"a.png": bytes(100_000)}, zipfile.ZIP_DEFLATED).read_bytes()
    )
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + offset
        assert content[place : place + 4] == struct.pack("<L", 100_000)
        content[place : place + 4] = struct.pack("<L", 10)
    (tmp_path / "a.zip").write_bytes(content)
    message = r"is damaged \(Bad CRC.*nothing was unpacked"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message)


@pytest.mark.parametrize(
    ("content", "message", "kind"),
    [
        (
            b"Rar!\x1a\x07\x01\x00",
            "is a RAR archive, expected a zip. It must be unpacked by hand",
            OtherArchiveError,
        ),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "is a 7z archive", OtherArchiveError),
        (b"\x1f\x8b\x08\x00", "is a gzip archive", OtherArchiveError),
        (b"BZh91AY&SY", "is a bzip2 archive", OtherArchiveError),
        (b"\xfd7zXZ\x00", "is an xz archive", OtherArchiveError),
        (b"a.png".ljust(257, b"\0") + b"ustar\x0000", "is a tar archive", OtherArchiveError),
        (
            b"\n<!DOCTYPE html><html>Quota exceeded",
            "is a web page, expected a zip.*try again in a day",
            ArchiveError,
        ),
        (b"<HTML><head>", "is a web page", ArchiveError),
        (
            b"",
            "is empty; expected a complete zip. Delete it and download it again",
            ArchiveError,
        ),
        (b"some text", "is no zip archive", ArchiveError),
        (b"PK\x03\x04 and no more", "a zip archive whose end is missing", ArchiveError),
    ],
)
def test_what_is_no_zip_is_named(
    tmp_path: Path, content: bytes, message: str, kind: type[ArchiveError]
) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, kind)


@pytest.mark.parametrize(
    ("mode", "name"), [("w", "a tar"), ("w:gz", "a gzip"), ("w:bz2", "a bzip2"), ("w:xz", "an xz")]
)
def test_tar_archives_are_left_to_other_programs(tmp_path: Path, mode: Any, name: str) -> None:
    with tarfile.open(tmp_path / "a.zip", mode) as archive:
        archive.add(__file__, "a.py")
    message = f"is {name} archive"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, OtherArchiveError)


def test_a_tar_that_ends_like_a_zip_is_a_tar(tmp_path: Path) -> None:
    """Programs find the end of a zip in any file that ends with one."""
    inner = zipped(tmp_path / "inner", {"a.png": b"x"})
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(inner, "inner.zip")
    content = (tmp_path / "a.tar").read_bytes() + inner.read_bytes()
    (tmp_path / "a.zip").write_bytes(content)
    assert zipfile.is_zipfile(tmp_path / "a.zip")
    message = "is a tar archive"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, OtherArchiveError)


@pytest.mark.parametrize("name", ["absent.zip", "."])
def test_an_archive_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match=r"there is no archive .*; expected a zip file"):
        unpack(tmp_path / name, tmp_path / "root")
