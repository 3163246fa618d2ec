import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from preparation import archives
from preparation.archives import ArchiveError, unpacked


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def unpack(archive: Path, root: Path) -> dict[str, bytes]:
    with unpacked(archive, root) as folder:
        return tree(folder)


def assert_refused(
    archive: Path, root: Path, message: str, kind: type[ArchiveError] = ArchiveError
) -> None:
    """The error says why, and nothing is left in the root nor written beside it."""
    before = tree(archive.parent)
    with pytest.raises(kind, match=message) as caught:
        unpack(archive, root)
    assert type(caught.value) is kind
    assert archive.name in str(caught.value)
    assert not root.exists() or list(root.iterdir()) == []
    assert tree(archive.parent) == before


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_members_are_unpacked_into_a_folder_that_goes_away(tmp_path: Path, method: int) -> None:
    members = {
        "RICE1/cloud/0.png": os.urandom(3000),
        "RICE1/label/0.png": b"",
        "read me.txt": b"x",
        "ünï/雲.png": b"y",
    }
    archive = zipped(tmp_path / "a.zip", members, method)
    root = tmp_path / "new" / "root"
    with unpacked(archive, root) as folder:
        assert folder.parent.parent == root
        assert tree(folder) == members
        assert folder.parent.name.startswith(".")
    assert list(root.iterdir()) == []


def test_empty_folders_and_modes_of_members_are_no_matter(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.mkdir("RICE1")
        archive.mkdir("folder.zip")
        locked = zipfile.ZipInfo("RICE1/0.png")
        locked.external_attr = (stat.S_IFREG | 0o000) << 16
        archive.writestr(locked, b"x")
        archive.writestr("./RICE1/./1.png", b"y")
    with unpacked(tmp_path / "a.zip", tmp_path) as folder:
        assert tree(folder) == {"RICE1/0.png": b"x", "RICE1/1.png": b"y"}
        (tmp_path / "usual").mkdir()
        (tmp_path / "usual.txt").touch()
        for made, usual in ((folder, "usual"), (folder / "RICE1" / "0.png", "usual.txt")):
            assert made.stat().st_mode == (tmp_path / usual).stat().st_mode


def test_junk_is_left_out(tmp_path: Path) -> None:
    junk = [
        "__MACOSX/RICE1/._0.png",
        "RICE1/.DS_Store",
        "RICE1/Thumbs.db",
        "RICE1/._0.png",
        "desktop.ini",
    ]
    archive = zipped(tmp_path / "a.zip", {**dict.fromkeys(junk, b"junk"), "RICE1/0.png": b"x"})
    assert unpack(archive, tmp_path) == {"RICE1/0.png": b"x"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "a/../../evil.png",
        "/evil.png",
        "//server/evil.png",
        "C:/evil.png",
        "a\\..\\..\\evil.png",
        "a/b.png:stream",
        "a/\nb.png",
    ],
)
def test_members_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {"good.png": b"x", name: b"evil"})
    before = tree(tmp_path)
    with unpacked(archive, tmp_path / "deep" / "root") as folder:
        files = tree(folder)
        assert sorted(files.values()) == [b"evil", b"x"]
        assert len(tree(tmp_path)) == len(before) + 2
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_become_plain_files(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (kind | 0o777) << 16
        archive.writestr(link, b"/etc")
    with unpacked(tmp_path / "a.zip", tmp_path / "root") as folder:
        assert stat.S_ISREG((folder / "link").lstat().st_mode)


@pytest.mark.parametrize(
    "names",
    [
        ("a/1.png", "a/1.PNG"),
        ("a", "a/b.png"),
        ("a/b.png", "a"),
        ("a.png", "./a.png"),
    ],
)
def test_members_that_would_overwrite_each_other_are_refused(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    archive = zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x"))
    assert_refused(archive, tmp_path / "root", "would overwrite another member|cannot be unpacked")


def test_the_same_member_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"y")
    assert_refused(tmp_path / "a.zip", tmp_path / "root", "would overwrite another member")


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_BYTES", 999, "files of 0.0 GiB, expected at most"),
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
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "root")
    assert not list((tmp_path / "root").glob("*"))


def test_limits_hold_for_all_zips_within_the_zip_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = zipped(tmp_path / "a.zip", {"a.png": bytes(1000)}).read_bytes()
    archive = zipped(tmp_path / "outer.zip", {f"{n}.zip": inner for n in range(4)})
    monkeypatch.setattr(archives, "MAX_FILES", 7)
    with pytest.raises(ArchiveError, match=r"outer.zip: 3.zip would unpack to 8 files"):
        unpack(archive, tmp_path / "root")
    monkeypatch.setattr(archives, "MAX_FILES", 8)
    assert len(unpack(archive, tmp_path / "root")) == 4


def test_a_member_larger_than_it_says_is_damage(tmp_path: Path) -> None:
    content = bytearray(
        zipped(tmp_path / "a.zip", {"a.png": bytes(100_000)}, zipfile.ZIP_DEFLATED).read_bytes()
    )
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + offset
        assert content[place : place + 4] == struct.pack("<L", 100_000)
        content[place : place + 4] = struct.pack("<L", 10)
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(tmp_path / "a.zip", tmp_path / "root", r"cannot be unpacked \(Bad CRC")
