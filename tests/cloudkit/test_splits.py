"""Rules and lists that divide a data set."""

import math
import random
from pathlib import Path

import pytest

from cloudkit.images import natural_key
from cloudkit.pairs import DataError
from cloudkit.splits import WHOLE, Choice, blocks_order, divide, hashed_order, pick, read_names, validation_names
from tests.helpers import listed

PARTS = {"train": {"1": "a", "2": "b", "x": "c"}, "val": {"1": "d"}, "test": {"1": "e", "town_9": "f"}}
FLAT: dict[str, dict[str, int]] = {WHOLE: {str(n): n for n in range(30)}}


def test_hashed_order_is_fixed_for_all_time() -> None:
    assert hashed_order(str(n) for n in range(10)) == ["9", "8", "4", "3", "0", "1", "7", "2", "6", "5"]


@pytest.mark.parametrize("count", [2, 3, 10, 11, 100, 320])
def test_validation_is_a_tenth_and_depends_on_names_alone(count: int) -> None:
    names = [str(n) for n in range(count)]
    chosen = validation_names(names)
    assert len(chosen) == math.ceil(count / 10)
    assert chosen < set(names)
    random.Random(0).shuffle(names)
    assert validation_names(names) == chosen


def test_validation_takes_neighbours_together() -> None:
    """Neighbouring numbers are often neighbouring places; a whole block leaves its neighbours behind only at its ends."""
    chosen = sorted(validation_names([f"scene{n}_a" for n in range(300)]), key=natural_key)
    numbers = [int(name[5:-2]) for name in chosen]
    assert len({n // 10 for n in numbers}) == 3
    assert all(n in numbers for first in numbers for n in range(first // 10 * 10, first // 10 * 10 + 10))


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="1 image to train on, expected at least 2"):
        validation_names(["a"])


def test_blocks_follow_each_other_whole() -> None:
    order = blocks_order([f"{n}" for n in range(40)])
    assert [order[start : start + 10] for start in range(0, 40, 10)] == [
        [str(n) for n in range(10 * block, 10 * block + 10)] for block in map(int, hashed_order("0123"))
    ]


def test_read_names_takes_what_people_write(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeff# test set\r\n12\r\n\r\n  test/13.png  # odd\r\ntest\\cloud\\14.png\r\na#b".encode())
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
def test_a_name_may_be_written_in_many_ways(tmp_path: Path, line: str, found: dict[str, str]) -> None:
    assert pick(PARTS, listed(tmp_path, line)) == found


def test_the_order_is_that_of_the_list(tmp_path: Path) -> None:
    assert list(pick(FLAT, listed(tmp_path, "7", "3", "test/5.png"))) == ["7", "3", "5"]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (["1"], ["names 1, which train and val and test hold", "write train/1"]),
        (["test/1", "val/1"], ["names 1 twice"]),
        (["2", "2.png"], ["names 2 twice"]),
        (["2", "3", "4"], ["names 3 images, 2 of which are not there (3, 4; there are for example 1, 2, x, ...)"]),
        (["test/2"], ["1 of which are not there (test/2"]),
    ],
)
def test_a_list_that_does_not_fit(tmp_path: Path, lines: list[str], parts: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        pick(PARTS, listed(tmp_path, *lines))
    for part in parts:
        assert part in str(caught.value)


def test_without_lists_the_parts_stand_and_validation_is_carved() -> None:
    assert divide(PARTS)[0] == PARTS
    chosen, note = divide(FLAT, test=["3", "4"])
    assert note == ""
    assert set(chosen["test"]) == {"3", "4"}
    assert set(chosen["val"]) == validation_names([str(n) for n in range(30) if n not in (3, 4)])
    assert set(chosen["train"]) == set(FLAT[WHOLE]) - {"3", "4"} - set(chosen["val"])
    assert list(divide(FLAT)[0]["test"].values()) == list(range(30))


def test_a_list_is_all_that_is_used(tmp_path: Path) -> None:
    names = [str(n) for n in range(20)]
    chosen, note = divide(FLAT, Choice(split=listed(tmp_path, *names)), test=["3", "25"])
    assert list(chosen["test"]) == names
    assert set(chosen["val"]) == validation_names(names)
    assert set(chosen["train"]) == set(names) - validation_names(names)
    assert "20 named by" in note


def test_what_is_held_out_is_never_trained_on(tmp_path: Path) -> None:
    chosen, note = divide(FLAT, Choice(held_out=listed(tmp_path, "1", "2", "99")))
    assert {"1", "2"}.isdisjoint([*chosen["train"], *chosen["val"]])
    assert len(chosen["train"]) + len(chosen["val"]) == 28
    assert len(chosen["test"]) == 30
    assert note.startswith("; 2 held out of training by")
    assert note.endswith("(1 more names are not there: 99)")
    parts, _ = divide(PARTS, Choice(held_out=listed(tmp_path, "test/1", "val/1", "2")))
    assert {**parts["train"], **parts["val"]} == {"1": "a", "x": "c"}
    assert parts["test"] == PARTS["test"]
    with pytest.raises(DataError, match="would change nothing"):
        divide(FLAT, Choice(held_out=listed(tmp_path, "99")))
    with pytest.raises(DataError, match="names no training image"):
        divide(FLAT, Choice(held_out=listed(tmp_path, "3")), test=["3"])
