"""Folders of a user: pairs in parts or flat, and clear images alone."""

from pathlib import Path

import pytest

from tests.helpers import touch
from tests.trainkit.data.layouts import assert_sound, files, pngs, sizes
from trainkit.data.datasets import find_clear, find_folder
from trainkit.data.pairs import DataError
from trainkit.data.roles import CLEAR_FOLDERS, CLOUDY_FOLDERS
from trainkit.data.splits import validation_names


@pytest.mark.parametrize("clear", CLEAR_FOLDERS)
@pytest.mark.parametrize("cloudy", CLOUDY_FOLDERS)
def test_folder_takes_the_usual_names(tmp_path: Path, cloudy: str, clear: str) -> None:
    for name in (cloudy, clear):
        touch(tmp_path / "flat" / name, pngs(range(30)))
        touch(tmp_path / "split" / "train" / name, pngs(range(20)))
        touch(tmp_path / "split" / "test" / name, pngs(range(20, 24)))

    flat, split = find_folder(tmp_path / "flat"), find_folder(tmp_path / "split")
    assert sizes(flat) == (27, 3, 30)
    assert files(flat.train).isdisjoint(files(flat.val))
    assert "30 pairs" in flat.note
    assert_sound(split)
    assert sizes(split) == (18, 2, 4)


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folder_with_its_own_validation_part(tmp_path: Path, val: str) -> None:
    for name in ("haze", "gt"):
        touch(tmp_path / "train" / name, pngs(range(20)))
        touch(tmp_path / val / name, pngs(range(3)))
    splits = find_folder(tmp_path)
    assert_sound(splits)
    assert sizes(splits) == (20, 3, 0)
    assert {path.parts[-3] for path in files(splits.val)} == {val}


def test_folder_for_scoring_alone(tmp_path: Path) -> None:
    for name in ("haze", "gt"):
        touch(tmp_path / "test" / name, ["1.png"])
    assert sizes(find_folder(tmp_path)) == (0, 0, 1)


def test_folder_without_pairs_says_what_is_expected(tmp_path: Path) -> None:
    touch(tmp_path / "cloudy", ["1.png"])
    message = r"holds no pairs; expected train/, val/ and test/.*haze and gt"
    with pytest.raises(DataError, match=message):
        find_folder(tmp_path)


def test_clear_images_in_parts_or_flat(tmp_path: Path) -> None:
    for folder in ("flat/town", "flat/sea"):
        touch(tmp_path / folder, pngs(range(15)))
    for folder in ("split/train", "three/train"):
        touch(tmp_path / folder, pngs(range(20)))
    for folder in ("split/test", "three/valid"):
        touch(tmp_path / folder, pngs(range(5)))

    flat, split, three = (find_clear(tmp_path / name) for name in ("flat", "split", "three"))
    assert [len(part) for part in flat.values()] == [27, 3, 30]
    assert flat["train"].keys().isdisjoint(flat["val"])
    assert flat["train"] | flat["val"] == flat["test"]
    assert flat["test"]["town_3"] == tmp_path / "flat" / "town" / "3.png"

    assert [len(part) for part in split.values()] == [18, 2, 5]
    assert set(split["val"]) == validation_names([str(n) for n in range(20)])

    assert [len(part) for part in three.values()] == [20, 5, 0]
    assert {path.parent.name for path in three["val"].values()} == {"valid"}


def test_one_clear_image_cannot_be_split_but_others_can_be_scored(tmp_path: Path) -> None:
    touch(tmp_path / "train", ["a.png"])
    touch(tmp_path / "test", ["b.png"])
    assert [len(part) for part in find_clear(tmp_path).values()] == [1, 0, 1]


def test_no_clear_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        find_clear(tmp_path)
