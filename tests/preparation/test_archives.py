"""Archives that are unpacked, and zips inside them."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

from preparation.archives import unpacked
from tests.preparation.packing import assert_refused, tree, unpack, zipped


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
        "more/RICE2/cloud/0.png": b"d",
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
        "SET/RICE1/cloud/0.png": b"a",
        "SET/RICE2/cloud/0.png": b"b",
        "SET/RICE2/deep.zip": b"no zip, and left alone",
        "SET/readme.txt": b"c",
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../../evil.png": b"x"}, "outer.zip: SET/RICE1.zip holds .*could leave the folder"),
        ({"0.png": b"x", "0.PNG": b"y"}, "outer.zip: SET/RICE1.zip holds both"),
        (
            {"cloud.png": b"x"},
            "outer.zip holds both SET/RICE1/cloud.png and SET/RICE1/cloud.png",
        ),
    ],
)
def test_zips_within_the_zip_are_checked_alike(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    inner = zipped(tmp_path / "inner", members).read_bytes()
    archive = zipped(tmp_path / "outer.zip", {"SET/RICE1.zip": inner, "SET/RICE1/cloud.png": b"x"})
    assert_refused(archive, tmp_path / "root", message)
