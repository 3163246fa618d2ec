import os
from pathlib import Path
from typing import Any

import pytest

from cloudkit.imaging.finding import find_images, natural_key
from tests.helpers import touch


def found_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


def test_natural_order() -> None:
    ordered = ["", "9", "9b", "10", "a", "a9", "a9z2", "a9z10", "a10"]
    assert sorted(sorted(ordered), key=natural_key) == ordered


def test_images_are_found_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, ["10.png", "9.JPG", "notes.txt", ".hidden.png", "b.tiff"])
    touch(tmp_path / "sub", ["1.bmp"])
    touch(tmp_path / ".cache", ["2.png"])
    touch(tmp_path / "folder.png", ["2.png"])

    direct = [tmp_path / name for name in ("9.JPG", "10.png", "b.tiff")]
    assert find_images(tmp_path, recursive=False) == [*direct, tmp_path / "folder.png"]
    assert find_images(tmp_path) == [
        *direct,
        tmp_path / "folder.png" / "2.png",
        tmp_path / "sub" / "1.bmp",
    ]


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, ["1.png"])
    touch(tmp_path / "locked", ["2.png"])
    scan = os.scandir

    def guarded(path: str) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)  # real permissions do not stop root
    with pytest.raises(PermissionError, match="locked"):
        find_images(tmp_path)
    assert len(find_images(tmp_path, recursive=False)) == 1


def test_images_are_found_below_a_hidden_folder(tmp_path: Path) -> None:
    touch(tmp_path / ".data", ["1.png"])
    assert len(find_images(tmp_path / ".data")) == 1


@pytest.mark.parametrize(
    ("folder", "message"),
    [(".", "holds no image"), ("x", "does not exist"), ("notes.txt", "is a file")],
)
def test_folders_without_images_are_rejected(tmp_path: Path, folder: str, message: str) -> None:
    touch(tmp_path, ["notes.txt"])
    with pytest.raises(FileNotFoundError, match=message):
        find_images(tmp_path / folder)


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "deep", ["1.png"])
    touch(tmp_path / "photos", ["2.png"])
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    assert found_in(tmp_path / "photos") == ["2.png", "link/deep/1.png"]
    assert find_images(tmp_path / "photos" / "link" / "deep") == [
        tmp_path / "photos" / "link" / "deep" / "1.png"
    ]


def test_no_folder_is_searched_twice(tmp_path: Path) -> None:
    """Cycles, a link to a folder beside it, and two links to one folder."""
    touch(tmp_path / "elsewhere", ["1.png"])
    touch(tmp_path / "photos" / "b", ["2.png"])
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    for name, target in (
        ("self", tmp_path / "photos"),
        ("a", tmp_path / "photos" / "b"),
        ("first", tmp_path / "elsewhere"),
        ("second", tmp_path / "elsewhere"),
        ("loop.png", tmp_path / "photos" / "loop.png"),
    ):
        (tmp_path / "photos" / name).symlink_to(target)
    assert found_in(tmp_path / "photos") == ["b/2.png", "first/1.png", "loop.png"]


def test_what_is_named_like_an_image_and_is_none_is_found(tmp_path: Path) -> None:
    touch(tmp_path, ["1.png"])
    touch(tmp_path / "notes.png", ["notes.txt"])
    for name in ("lost.png", "lost", "lost.txt"):
        (tmp_path / name).symlink_to(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe.png")
    assert found_in(tmp_path) == ["1.png", "lost", "lost.png", "notes.png", "pipe.png"]
