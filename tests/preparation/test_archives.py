"""Archives that are unpacked, and zips inside them."""

import os
import shutil
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from preparation.archive_formats import ArchiveError
from preparation.archives import unpacked
from tests.preparation.packing import tree, unpack, zipped


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


@pytest.mark.parametrize("root", ["\\", "C:\\", "d:/", "/", ".\\"])
def test_the_root_of_a_drive_is_left_away(tmp_path: Path, root: str) -> None:
    members = {f"{root}RICE1\\cloud\\{number}.png": b"x" for number in range(3)}
    with unpacked(zipped(tmp_path / "a.zip", members), tmp_path / "deep") as folder:
        files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    assert files == [f"RICE1/cloud/{number}.png" for number in range(3)]


def test_backslashes_of_windows_are_folders(tmp_path: Path) -> None:
    """Folders with a mark of their own, and files in folders that have none."""
    members = {
        "RICE1\\": b"",
        "RICE1\\cloud\\": b"",
        "RICE1\\cloud\\0.png": b"a",
        "RICE1\\label\\0.png": b"b",
        "RICE1/label/1.png": b"c",
        "__MACOSX\\RICE1\\0.png": b"junk",
    }
    inner = zipped(tmp_path / "inner", {"RICE2\\cloud\\0.png": b"d"}).read_bytes()
    archive = zipped(tmp_path / "a.zip", {**members, "more\\RICE2.zip": inner})
    assert unpack(archive, tmp_path / "root") == {
        "RICE1/cloud/0.png": b"a",
        "RICE1/label/0.png": b"b",
        "RICE1/label/1.png": b"c",
        "more/RICE2/RICE2/cloud/0.png": b"d",
    }


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


def test_zips_within_the_zip_are_unpacked_in_its_place(tmp_path: Path) -> None:
    own = zipped(tmp_path / "1", {"RICE1/cloud/0.png": b"a", "__MACOSX/x": b"junk"}).read_bytes()
    bare = zipped(
        tmp_path / "2", {"cloud/0.png": b"b", "deep.zip": b"no zip, and left alone"}
    ).read_bytes()
    archive = zipped(
        tmp_path / "a.zip", {"SET/RICE1.zip": own, "SET/RICE2.ZIP": bare, "SET/readme.txt": b"c"}
    )
    assert unpack(archive, tmp_path / "root") == {
        "SET/RICE1/RICE1/cloud/0.png": b"a",
        "SET/RICE2/cloud/0.png": b"b",
        "SET/RICE2/deep.zip": b"no zip, and left alone",
        "SET/readme.txt": b"c",
    }


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "a/../../evil.png",
        "/evil.png",
        "a\\..\\..\\evil.png",
        "\\\\server\\evil.png",
        "../.unpacking-other/evil.png",
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_no_member_leaves_the_folder(tmp_path: Path, name: str, wrapped: bool) -> None:
    archive = zipped(tmp_path / "a.zip", {"good.png": b"x", name: b"evil"})
    if wrapped:
        archive = zipped(tmp_path / "outer.zip", {"a.zip": archive.read_bytes()})
    before = tree(tmp_path)
    with unpacked(archive, tmp_path / "deep" / "root") as folder:
        assert sorted(tree(folder).values()) == [b"evil", b"x"]
        inside = folder.relative_to(tmp_path).as_posix()
        outside = {path: content for path, content in tree(tmp_path).items() if inside not in path}
        assert outside == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_become_plain_files(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (kind | 0o777) << 16
        archive.writestr(link, b"/etc")
    with unpacked(tmp_path / "a.zip", tmp_path / "root") as folder:
        assert (folder / "link").lstat().st_mode & stat.S_IFMT(0o777777) == stat.S_IFREG
        assert (folder / "link").read_bytes() == b"/etc"


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_disk_must_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": bytes(1000)}, zipfile.ZIP_DEFLATED)
    if wrapped:
        archive = zipped(tmp_path / "outer.zip", {"a.zip": archive.read_bytes()})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert len(unpack(archive, tmp_path / "root")) == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=999))
    message = r"root has 0\.0 GiB free, expected 0\.0 GiB to unpack into. Free some space, or name"
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
