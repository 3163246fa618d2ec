from pathlib import Path

import pytest

from cloudkit.errors import UserError
from prior_ablation.folds import list_pairs, split_into_folds, write_folds
from tests.helpers import touch, write_pairs
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
    write_folds(tmp_path, split_into_folds(names(6), 2))
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
    write_folds(tmp_path, split_into_folds(names(6), 2))
    before = {path: path.read_text() for path in tmp_path.rglob("*.txt")}
    for other in (
        split_into_folds(names(6), 3),
        split_into_folds(names(7), 2),
        split_into_folds(names(4), 2),
    ):
        with pytest.raises(
            UserError, match=r"ablation over other folds.*another folder with --out"
        ):
            write_folds(tmp_path, other)
        assert {path: path.read_text() for path in tmp_path.rglob("*.txt")} == before


def test_fewer_folds_than_were_begun_are_other_ones(tmp_path: Path) -> None:
    write_folds(tmp_path, split_into_folds(names(6), 3))
    for fold in (1, 2):  # as if the data had been such that these two agree
        for path in (tmp_path / f"fold-{fold}").iterdir():
            path.unlink()
    with pytest.raises(UserError, match=r"other folds than these 2 \(.*fold-3"):
        write_folds(tmp_path, split_into_folds(names(6), 2))
