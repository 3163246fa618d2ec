import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from preparation.manifests import compare_checksums, read_checksums, write_checksums
from trainkit.data.pairs import DataError

ONE, TWO = "1" * 64, "2" * 64


def test_lists_are_read_as_written_in_natural_order(tmp_path: Path) -> None:
    sums = {
        "cloud/10.png": ONE,
        "cloud/2.png": TWO,
        "a b/ü雲.png": ONE,
        "line\u2028end\x85.png": ONE,
    }
    path = tmp_path / "new" / "sums.sha256"
    write_checksums(path, sums)
    assert read_checksums(path) == sums
    lines = path.read_bytes().split(b"\n")
    assert lines.index(f"{TWO}  cloud/2.png".encode()) < lines.index(
        f"{ONE}  cloud/10.png".encode()
    )
    assert lines[-1] == b""


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_takes_the_list_and_writes_what_is_read(tmp_path: Path) -> None:
    names = ["a.png", "b c.png", "ü.png", "deep/d.png"]
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    write_checksums(tmp_path / "sums", sums)
    assert subprocess.run(["sha256sum", "-c", "--strict", "sums"], cwd=tmp_path).returncode == 0
    for mode in ("--text", "--binary"):
        (tmp_path / "theirs").write_bytes(
            subprocess.run(["sha256sum", mode, *names], cwd=tmp_path, stdout=-1).stdout
        )
        assert read_checksums(tmp_path / "theirs") == sums
    (tmp_path / "a.png").write_bytes(b"changed")
    assert subprocess.run(["sha256sum", "-c", "sums"], cwd=tmp_path).returncode == 1


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    (tmp_path / "sums").write_bytes(
        f"\ufeff# comment\r\n\r\n{'AB' * 32} *./cloud/1.png\r\n{ONE}  2.png".encode()
    )
    assert read_checksums(tmp_path / "sums") == {"cloud/1.png": "ab" * 32, "2.png": ONE}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no SHA-256 checksum"),
        (b"# nothing\n", "holds no SHA-256 checksum"),
        (
            f"{ONE}  a.png\nabc  b.png\n".encode(),
            "line 2 of .*sums is 'abc  b.png', expected 64 hexadecimal digits",
        ),
        (f"{ONE}\n".encode(), "line 1 of"),
        (f"{ONE} xa.png\n".encode(), "line 1 of"),
        (f"{ONE}\ta.png\n".encode(), "line 1 of"),
        (
            f"{ONE}  /data/a.png\n".encode(),
            "names /data/a.png, expected a path relative to the dataset",
        ),
        (b"\xff\xfe\x00", "cannot be read as a list of SHA-256 checksums"),
    ],
)
def test_what_is_no_list(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "sums").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_checksums(tmp_path / "sums")


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent cannot be read as a list"):
        read_checksums(tmp_path / "absent")


def test_differences_are_named_in_natural_order() -> None:
    expected = {"a": ONE, "b": ONE, "10.png": TWO, "9.png": TWO}
    assert compare_checksums({"a": ONE, "b": TWO, "c": ONE}, expected) == {
        "changed": ["b"],
        "missing": ["9.png", "10.png"],
        "extra": ["c"],
    }
    assert compare_checksums(expected, expected) == {"changed": [], "missing": [], "extra": []}
