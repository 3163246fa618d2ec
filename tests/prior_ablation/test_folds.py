from pathlib import Path

import pytest

from cloudkit.errors import UserError
from prior_ablation.folds import list_pairs, own_test, split_into_folds, write_folds
from tests.helpers import touch, write_pairs
from trainkit.data.datasets import DATASETS
from trainkit.data.pairs import DataError
from trainkit.data.splits import read_names


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "folds", "lengths"),
    [(9, 3, [3, 3, 3]), (10, 3, [4, 3, 3]), (5, 5, [1] * 5), (500, 3, [167, 167, 166])],
)
def test_folds_are_runs_of_neighbours_without_an_image_in_common(
    count: int, folds: int, lengths: list[int]
) -> None:
    runs = split_into_folds(names(count), folds)
    assert [len(run) for run in runs] == lengths
    assert [name for run in runs for name in run] == names(
        count
    )  # each once, in order, so each run is without a gap


@pytest.mark.parametrize(("count", "folds"), [(3, 2), (4, 5)])
def test_too_few_pairs(count: int, folds: int) -> None:
    with pytest.raises(
        DataError,
        match=rf"there are {count} pairs, expected at least {max(4, folds)} for {folds} folds",
    ):
        split_into_folds(names(count), folds)


def test_pairs_are_listed_in_natural_order(tmp_path: Path) -> None:
    write_pairs(tmp_path, 12)
    assert list_pairs("folder", tmp_path) == [str(10 * number) for number in range(12)]


def test_parts_are_taken_together(tmp_path: Path) -> None:
    for part, files in {"train": ["1.png", "12.png"], "test": ["2.png"]}.items():
        for kind in ("cloudy", "clear"):
            touch(tmp_path / part / kind, files)
    assert list_pairs("folder", tmp_path) == ["train/1", "test/2", "train/12"]
    for kind in ("cloudy", "clear"):
        touch(tmp_path / "test" / kind, ["12.png"])
    with pytest.raises(DataError, match=r"train and test of folder both hold a pair 12"):
        list_pairs("folder", tmp_path)


def test_lists_are_written_and_not_changed(tmp_path: Path) -> None:
    write_folds(tmp_path, names(6), split_into_folds(names(6), 2))
    assert (
        read_names(tmp_path / "fold-1" / "test.txt")
        == read_names(tmp_path / "fold-2" / "train.txt")
        == ["0", "1", "2"]
    )
    assert (
        read_names(tmp_path / "fold-2" / "test.txt")
        == read_names(tmp_path / "fold-1" / "train.txt")
        == ["3", "4", "5"]
    )
    write_folds(tmp_path, names(6), split_into_folds(names(6), 2))
    before = {path: path.read_text() for path in tmp_path.rglob("*.txt")}
    for other in (
        (names(6), 3),
        (names(7), 2),
        (names(4), 2),
    ):
        with pytest.raises(
            UserError, match=r"ablation over other folds.*another folder with --out"
        ):
            write_folds(tmp_path, other[0], split_into_folds(*other))
        assert {path: path.read_text() for path in tmp_path.rglob("*.txt")} == before


def test_fewer_folds_than_were_begun_are_other_ones(tmp_path: Path) -> None:
    write_folds(tmp_path, names(6), split_into_folds(names(6), 3))
    for fold in (1, 2):  # as if the data had been such that these two agree
        for path in (tmp_path / f"fold-{fold}").iterdir():
            path.unlink()
    with pytest.raises(UserError, match=r"other folds than these 2 \(.*fold-3"):
        write_folds(tmp_path, names(6), split_into_folds(names(6), 2))


def test_a_dataset_s_own_test_part(tmp_path: Path) -> None:
    parts = {"train": ["a1.png", "a2.png"], "val": ["b3.png"], "test": ["c4.png", "c5.png"]}
    for part, files in parts.items():
        for kind in ("cloudy", "clear"):
            touch(tmp_path / part / kind, files)
    pairs = list_pairs("folder", tmp_path)
    test = own_test("folder", tmp_path, pairs)
    assert test == ["test/c4", "test/c5"]

    write_folds(tmp_path / "out", pairs, [test])
    assert read_names(tmp_path / "out" / "fold-1" / "test.txt") == test
    trained = read_names(tmp_path / "out" / "fold-1" / "train.txt")
    assert trained == ["train/a1", "train/a2", "val/b3"]


def test_the_rule_of_a_dataset_without_parts(tmp_path: Path) -> None:
    tested = DATASETS["rice1"].test_names()
    assert tested is not None
    for kind in ("cloud", "label"):
        touch(tmp_path / "RICE1" / kind, [f"{number}.png" for number in range(40)])
    pairs = list_pairs("rice1", tmp_path)
    assert own_test("rice1", tmp_path, pairs) == [name for name in names(40) if name in tested]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"": names(6)}, "has no test part of its own"),
        ({"train": names(6)}, "has no test part of its own"),
        ({"train": ["1"], "test": ["2"]}, "leaves 1 pairs, expected at least 2"),
    ],
)
def test_no_test_part_to_use(parts: dict[str, list[str]], message: str, tmp_path: Path) -> None:
    for part, listed in parts.items():
        for kind in ("cloudy", "clear"):
            touch(tmp_path / part / kind, [f"{name}.png" for name in listed])
    with pytest.raises(DataError, match=message):
        own_test("folder", tmp_path, list_pairs("folder", tmp_path))
