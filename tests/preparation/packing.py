"""Zip archives of datasets, and what is unpacked from them."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from preparation.archive_formats import ArchiveError
from preparation.archives import unpacked
from preparation.sets import SetName
from tests.helpers import touch
from tests.trainkit.data.layouts import pngs, rice, satehaze, tcloud


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def packed(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
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


def both_rice(root: Path) -> None:
    rice(root, 1, range(3))
    rice(root, 2, range(4))


def cuhk(root: Path, inner: str = "") -> None:
    for number in (1, 2):
        for part in ("train", "test"):
            for kind in ("cloud", "label"):
                touch(root / f"CUHK-CR{number}" / inner / part / kind, pngs(range(3)))


SAMPLES: dict[SetName, Callable[[Path], object]] = {
    "rice1": both_rice,
    "rice2": both_rice,
    "satehaze1k": satehaze,
    "tcloud": tcloud,
    "cuhk-cr": cuhk,
}
