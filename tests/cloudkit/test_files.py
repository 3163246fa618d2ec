import json
import math
from pathlib import Path

import pytest

from cloudkit.files import digest, read_json, write_atomically, write_json, write_text
from cloudkit.imaging.images import write_image
from tests.helpers import noise


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_image(path, noise())
    before = path.read_bytes()

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, half)
    with pytest.raises(OSError, match="RGBA"):
        write_image(path, noise(bands=4))
    assert [file.name for file in tmp_path.iterdir()] == ["a.jpg"]
    assert path.read_bytes() == before


def test_text_is_written_as_it_stands(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "one\nzwölf\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "one\nzwölf\n".encode()


def test_json_holds_no_infinity(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": math.inf})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5]}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_json_is_read_in_any_locale(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "a.json").write_bytes(mark + '{"ü": 1}'.encode())
    assert read_json(tmp_path / "a.json") == {"ü": 1}


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # the example of FIPS 180
    assert digest(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")
