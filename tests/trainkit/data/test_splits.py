import math
import random
from pathlib import Path

import pytest

from tests.helpers import listed
from trainkit.data.pairs import DataError
from trainkit.data.splits import (
    SplitLists,
    block_of,
    blocks_order,
    divide,
    hashed_order,
    read_names,
    select_listed,
    validation_names,
)
from trainkit.data.trees import UNSPLIT

PARTS = {
    "train": {"1": "a", "2": "b", "x": "c"},
    "val": {"1": "d"},
    "test": {"1": "e", "town_9": "f"},
}
FLAT: dict[str, dict[str, int]] = {UNSPLIT: {str(n): n for n in range(30)}}


def test_hashed_order_is_fixed_for_all_time() -> None:
    assert "".join(hashed_order("0123456789")) == "9843017265"


@pytest.mark.parametrize("count", [2, 3, 10, 11, 100, 320])
def test_validation_is_a_tenth_and_depends_on_names_alone(count: int) -> None:
    names = [str(n) for n in range(count)]
    chosen = validation_names(names)
    assert len(chosen) == math.ceil(count / 10)
    assert chosen < set(names)
    random.Random(0).shuffle(names)
    assert validation_names(names) == chosen


def test_validation_takes_neighbours_together() -> None:
    """Whole blocks of ten are taken, because neighbouring numbers are often neighbouring places."""
    chosen = validation_names([f"scene{n}_a" for n in range(300)])
    blocks = {int(name[5:-2]) // 10 for name in chosen}
    assert len(blocks) == 3
    assert chosen == {f"scene{10 * block + n}_a" for block in blocks for n in range(10)}


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="1 image to train on, expected at least 2"):
        validation_names(["a"])


def test_blocks_are_in_hashed_order() -> None:
    expected: list[str] = []
    for block in map(int, hashed_order("0123")):
        expected += map(str, range(10 * block, 10 * block + 10))
    assert blocks_order(str(n) for n in range(40)) == expected


def test_read_names_takes_what_people_write(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    lines = ("\ufeff# test set", "12", "", "  test/13.png  # odd", r"test\cloud\14.png", "a#b")
    path.write_bytes("\r\n".join(lines).encode())
    assert read_names(path) == ["12", "test/13.png", "test/cloud/14.png", "a#b"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe\x00"])
def test_a_list_without_names(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"names\.txt .*one (name )?a line"):
        read_names(path)
    with pytest.raises(DataError, match=r"absent\.txt cannot be read"):
        read_names(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("2", {"2": "b"}),
        ("2.png", {"2": "b"}),
        ("2-inputs.png", {"2": "b"}),
        ("test/1", {"1": "e"}),
        ("valid/1.png", {"1": "d"}),
        ("Haze1k/Train/input/1-inputs.png", {"1": "a"}),
        ("town/9.jpg", {"town_9": "f"}),
        ("town_9", {"town_9": "f"}),
    ],
)
def test_spellings_of_a_name(tmp_path: Path, line: str, found: dict[str, str]) -> None:
    assert select_listed(PARTS, listed(tmp_path, line)) == found


def test_the_order_is_that_of_the_list(tmp_path: Path) -> None:
    assert list(select_listed(FLAT, listed(tmp_path, "7", "3", "test/5.png"))) == ["7", "3", "5"]


@pytest.mark.parametrize(
    ("lines", "phrases"),
    [
        (["1"], ["names 1, which train and val and test hold", "write train/1"]),
        (["test/1", "val/1"], ["names 1 twice"]),
        (["2", "2.png"], ["names 2 twice"]),
        (
            ["2", "3", "4"],
            [
                "names 3 images, 2 of which are",
                "not there (3, 4; there are for example 1, 2, x, ...)",
            ],
        ),
        (["test/2"], ["1 of which are not there (test/2"]),
    ],
)
def test_a_list_that_does_not_fit(tmp_path: Path, lines: list[str], phrases: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        select_listed(PARTS, listed(tmp_path, *lines))
    for phrase in phrases:
        assert phrase in str(caught.value)


def test_without_lists_the_parts_stand_and_validation_is_carved() -> None:
    assert divide(PARTS)[0] == PARTS

    chosen, note = divide(FLAT, test=["3", "4"])
    assert note == ""
    assert set(chosen["test"]) == {"3", "4"}
    assert set(chosen["val"]) == validation_names([str(n) for n in range(30) if n not in (3, 4)])
    assert set(chosen["train"]) == set(FLAT[UNSPLIT]) - {"3", "4"} - set(chosen["val"])
    assert list(divide(FLAT)[0]["test"].values()) == list(range(30))


def test_a_list_is_all_that_is_used(tmp_path: Path) -> None:
    names = [str(n) for n in range(20)]
    chosen, note = divide(FLAT, SplitLists(split=listed(tmp_path, *names)), test=["3", "25"])
    assert list(chosen["test"]) == names
    assert set(chosen["val"]) == validation_names(names)
    assert set(chosen["train"]) == set(names) - validation_names(names)
    assert "20 named by" in note


def test_what_is_held_out_is_never_trained_on(tmp_path: Path) -> None:
    chosen, note = divide(FLAT, SplitLists(held_out=listed(tmp_path, "1", "2", "99")))
    assert {"1", "2"}.isdisjoint([*chosen["train"], *chosen["val"]])
    assert len(chosen["train"]) + len(chosen["val"]) == 28
    assert len(chosen["test"]) == 30
    assert note.startswith("; 2 held out of training by")
    assert note.endswith("(1 more names are not there: 99)")

    parts, _ = divide(PARTS, SplitLists(held_out=listed(tmp_path, "test/1", "val/1", "2")))
    assert {**parts["train"], **parts["val"]} == {"1": "a", "x": "c"}
    assert parts["test"] == PARTS["test"]

    with pytest.raises(DataError, match="would change nothing"):
        divide(FLAT, SplitLists(held_out=listed(tmp_path, "99")))
    with pytest.raises(DataError, match="names no training image"):
        divide(FLAT, SplitLists(held_out=listed(tmp_path, "3")), test=["3"])


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("0", "0"),
        ("9", "0"),
        ("10", "1"),
        ("499", "49"),
        ("a7_23b", "a7_2b"),
        ("lake", "lake"),
        ("", ""),
    ],
)
def test_blocks(name: str, block: str) -> None:
    assert block_of(name) == block
