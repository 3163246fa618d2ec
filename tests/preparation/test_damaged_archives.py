"""Archives that are damaged, nested, or meet a full disk."""

import errno
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from preparation.archives import ArchiveError, OtherArchiveError
from tests.helpers import Killed, break_at
from tests.preparation.test_archives import assert_refused, unpack, zipped


def test_the_disk_must_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": bytes(1000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert len(unpack(archive, tmp_path / "root")) == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    with pytest.raises(
        ArchiveError,
        match=r"has 0\.0 GiB free, expected 0\.0 GiB .* Free some space, or name another",
    ):
        unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize("flag", [0x1, 0x41])
def test_encrypted_archives(tmp_path: Path, flag: int) -> None:
    content = bytearray(zipped(tmp_path / "a.zip", {"a.png": b"secret"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", content, content.index(signature) + offset, flag)
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(
        tmp_path / "a.zip",
        tmp_path / "root",
        "cannot unpack .*encrypt.* It must be unpacked by hand",
        OtherArchiveError,
    )


def test_methods_that_python_does_not_know(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "a.zip", {"a.png": b"x"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into(
            "<H", content, content.index(signature) + offset, 9
        )  # Deflate64, which Windows takes for large files
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(
        tmp_path / "a.zip",
        tmp_path / "root",
        "cannot unpack .*compression method is not supported",
        OtherArchiveError,
    )


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
def test_zips_that_are_whole_but_beyond_python(
    tmp_path: Path, field: tuple[int, int], value: int, message: str, wrapped: bool
) -> None:
    """Fetching them anew, as damaged ones, would not help."""
    archive = zipped(tmp_path / "a.zip", {"a.png": b"x"})
    content = bytearray(archive.read_bytes())
    for signature, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), field, strict=True):
        struct.pack_into("<H", content, content.index(signature) + offset, value)
    archive.write_bytes(content)
    if wrapped:
        archive = zipped(tmp_path / "outer.zip", {"a.zip": archive.read_bytes()})
    assert_refused(archive, tmp_path / "root", message, OtherArchiveError)


def test_a_python_without_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": b"x"}, zipfile.ZIP_LZMA)
    monkeypatch.setattr(zipfile, "lzma", None)
    assert_refused(
        archive,
        tmp_path / "root",
        "cannot unpack .*lzma.* It must be unpacked by hand",
        OtherArchiveError,
    )


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    place = content.index(b"PAYLOAD")
    return content[:place] + b"q" + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is no complete zip archive"),
        (flip, "cannot be unpacked .*CRC.*delete it and download it again"),
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
    content[start : start + 100] = (
        b"\xff" * 100
    )  # the packed file, past its header and name, begins at 35
    archive.write_bytes(content)
    assert_refused(archive, tmp_path / "root", "cannot be unpacked")


@pytest.mark.parametrize(
    ("content", "message", "kind"),
    [
        (
            b"Rar!\x1a\x07\x01\x00",
            "is an archive of another kind, expected a zip. It must be unpacked by hand",
            OtherArchiveError,
        ),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "is an archive of another kind", OtherArchiveError),
        (
            b"\n<!DOCTYPE html><html>Quota exceeded",
            "is a web page, expected a zip.*try again in a day",
            ArchiveError,
        ),
        (b"<HTML><head>", "is a web page", ArchiveError),
        (b"", "has 0 bytes and is no complete zip .*Delete it and download it again", ArchiveError),
        (b"some text", "has 9 bytes and is no complete zip archive", ArchiveError),
        (b"PK\x03\x04 and no more", "is no complete zip archive", ArchiveError),
    ],
)
def test_what_is_no_zip_is_named(
    tmp_path: Path, content: bytes, message: str, kind: type[ArchiveError]
) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, kind)


@pytest.mark.parametrize("name", ["absent.zip", "."])
def test_an_archive_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match=r"there is no archive .*; expected a zip file"):
        unpack(tmp_path / name, tmp_path / "root")


def test_zips_within_the_zip_are_unpacked_in_its_place(tmp_path: Path) -> None:
    own = zipped(tmp_path / "1", {"RICE1/cloud/0.png": b"a", "__MACOSX/x": b"junk"}).read_bytes()
    bare = zipped(
        tmp_path / "2", {"cloud/0.png": b"b", "deep.zip": b"no zip, and left alone"}
    ).read_bytes()
    archive = zipped(
        tmp_path / "a.zip", {"SET/RICE1.zip": own, "SET/RICE2.ZIP": bare, "SET/readme.txt": b"c"}
    )
    assert unpack(archive, tmp_path / "root") == {
        "SET/RICE1/cloud/0.png": b"a",
        "SET/RICE2/cloud/0.png": b"b",
        "SET/RICE2/deep.zip": b"no zip, and left alone",
        "SET/readme.txt": b"c",
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"0.png": b"x", "0.PNG": b"y"},
            "outer.zip: SET/RICE1.zip holds 0.PNG, which would overwrite",
        ),
        ({"cloud.png": b"x"}, "outer.zip: SET/RICE1.zip holds cloud.png, which would overwrite"),
    ],
)
def test_zips_within_the_zip_are_checked_alike(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    inner = zipped(tmp_path / "inner", members).read_bytes()
    archive = zipped(tmp_path / "outer.zip", {"SET/RICE1.zip": inner, "SET/RICE1/cloud.png": b"x"})
    assert_refused(archive, tmp_path / "root", message)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_tar_archives_are_left_to_other_programs(tmp_path: Path, mode: Any) -> None:
    with tarfile.open(tmp_path / "a.zip", mode) as archive:
        archive.add(__file__, "a.py")
    assert_refused(
        tmp_path / "a.zip", tmp_path / "root", "is an archive of another kind", OtherArchiveError
    )


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.png": bytes(1000) for n in range(5)})

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", fail)
        with pytest.raises(ArchiveError, match=r"No space left on device.*free some space"):
            unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    assert len(unpack(archive, tmp_path / "root")) == 5


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{n}.png": bytes(1000) for n in range(5)})
    with monkeypatch.context() as patched:
        break_at(patched, zipfile.ZipExtFile, "read", 4)
        with pytest.raises(Killed):
            unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    assert len(unpack(archive, tmp_path / "root")) == 5
