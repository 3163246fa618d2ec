"""Archives that are refused because of their members, before anything is unpacked."""

import shutil
import stat
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from preparation import archive_members
from preparation.archive_formats import ArchiveError, OtherArchiveError
from tests.preparation.packing import assert_refused, unpack, zipped


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "a/../../evil.png",
        "/evil.png",
        "//server/evil.png",
        "C:/evil.png",
        "C:evil.png",
        "C:\\evil.png",
        "a\\..\\..\\evil.png",
        "..\\evil.png",
        "\\evil.png",
        "\\\\server\\evil.png",
        "a/b.png:stream",
        "a/\nb.png",
        "a/..",
        "a\\..",
    ],
)
def test_members_that_would_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {"good.png": b"x", name: b"evil"})
    message = "a path that could leave the folder, so nothing was unpacked"
    assert_refused(archive, tmp_path / "deep" / "root", message)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.png", b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = (kind | 0o777) << 16
        archive.writestr(link, b"/etc")
    message = "'link', a link or device, expected plain files"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message)


@pytest.mark.parametrize(
    "names",
    [
        ("a/1.png", "a/1.PNG"),
        ("Cloud/1.png", "cloud/2.png"),
        ("Cloud\\1.png", "cloud\\2.png"),
        ("a", "a/b.png"),
        ("a/b.png", "a"),
        ("é.png", "e\u0301.png"),
        ("é/1.png", "e\u0301/2.png"),
        ("a.png", "./a.png"),
        ("a/b.png", "a\\b.png"),
    ],
)
def test_members_that_would_overwrite_each_other_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    archive = zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    message = "would overwrite the other. Have it packed again"
    assert_refused(archive, tmp_path / "root", message)


def test_the_same_member_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"y")
    assert_refused(tmp_path / "a.zip", tmp_path / "root", "would overwrite the other")


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2000])
def test_encrypted_archives(tmp_path: Path, flag: int) -> None:
    content = bytearray(zipped(tmp_path / "a.zip", {"a.png": b"secret"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", content, content.index(signature) + offset, flag)
    (tmp_path / "a.zip").write_bytes(content)
    message = "is encrypted. It must be unpacked by hand"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, OtherArchiveError)


def test_methods_that_python_does_not_know(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "a.zip", {"a.png": b"x"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        method = content.index(signature) + offset
        struct.pack_into("<H", content, method, 9)  # Deflate64, which Windows takes for large files
    (tmp_path / "a.zip").write_bytes(content)
    message = "by method 9, which Python does not know"
    assert_refused(tmp_path / "a.zip", tmp_path / "root", message, OtherArchiveError)


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_BYTES", 999, "1 files of 0.0 GiB, expected at most"),
        ("MAX_FILES", 0, "would unpack to 1 files .*expected at most 0"),
        ("RATIO_FROM", 100, "times its size, expected at most 50 times.* a zip bomb"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_bombs_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    message: str,
    wrapped: bool,
) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": bytes(100_000)}, zipfile.ZIP_DEFLATED)
    if wrapped:
        archive = zipped(tmp_path / "outer.zip", {"a.zip": archive.read_bytes()})
    monkeypatch.setattr(archive_members, limit, value)
    assert_refused(archive, tmp_path / "root", message)


def test_limits_hold_for_all_zips_within_the_zip_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = zipped(tmp_path / "a.zip", {"a.png": bytes(1000)}).read_bytes()
    archive = zipped(tmp_path / "outer.zip", {f"{n}.zip": inner for n in range(4)})
    monkeypatch.setattr(archive_members, "MAX_FILES", 3)
    assert_refused(archive, tmp_path / "root", "would unpack to 4 files")
    monkeypatch.setattr(archive_members, "MAX_FILES", 4)
    assert len(unpack(archive, tmp_path / "root")) == 4
    inner = zipped(tmp_path / "a.zip", {"a.png": bytes(1000), "b.png": b""}).read_bytes()
    archive = zipped(tmp_path / "outer.zip", {f"{n}.zip": inner for n in range(4)})
    assert_refused(archive, tmp_path / "root", "outer.zip would unpack to 8 files")


def test_the_ratio_is_that_of_both_levels_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The members compress 300 times, their zip ten times, which is 3000 times in all."""
    members = {f"{n:03d}.png": bytes(100_000) for n in range(200)}
    inner = zipped(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)
    archive = zipped(tmp_path / "b.zip", {"a.zip": inner.read_bytes()}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archive_members, "RATIO_FROM", 0)
    monkeypatch.setattr(archive_members, "MAX_RATIO", 1000)
    assert len(unpack(inner, tmp_path / "root")) == 200
    assert_refused(archive, tmp_path / "root", "b.zip would unpack to .* a zip bomb")


def test_the_disk_must_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": bytes(1000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert len(unpack(archive, tmp_path / "root")) == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    message = r"root has 0\.0 GiB free, expected 0\.0 GiB to unpack into. Free some space, or name"
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
