import random
from itertools import product
from pathlib import Path

import pytest

from cloudkit.data.pairs import (
    CLEAR_FOLDERS,
    CLOUDY_FOLDERS,
    DataError,
    match_pairs,
    named_images,
    pair_folders,
)
from tests.helpers import touch


def folders(tmp_path: Path, cloudy: list[str], clear: list[str]) -> tuple[Path, Path]:
    touch(tmp_path / "cloudy", cloudy)
    touch(tmp_path / "clear", clear)
    return tmp_path / "cloudy", tmp_path / "clear"


@pytest.mark.parametrize(
    ("cloudy", "clear", "name"),
    [
        ("7.png", "7.png", "7"),
        ("7.png", "7.jpg", "7"),
        ("7.PNG", "7.tif", "7"),
        ("7-inputs.png", "7-targets.png", "7"),
        ("a_cloudy.png", "a_clear.png", "a"),
        ("a_cloud.png", "a_reference.png", "a"),
        ("a-hazy.png", "a_GT.png", "a"),
        ("a.b_haze.png", "a.b.png", "a.b"),
    ],
)
def test_names_match(tmp_path: Path, cloudy: str, clear: str, name: str) -> None:
    (pair,), unpaired = match_pairs(*folders(tmp_path, [cloudy], [clear]))
    assert (pair.name, pair.cloudy.name, pair.clear.name) == (name, cloudy, clear)
    assert unpaired == 0


def test_by_name_not_by_position(tmp_path: Path) -> None:
    """Some images have no partner, and the files are created in random order."""
    numbers = list(range(30))
    random.Random(0).shuffle(numbers)
    cloudy, clear = [f"{n}.png" for n in numbers[:25]], [f"{n}.jpg" for n in numbers[5:]]
    pairs, unpaired = match_pairs(*folders(tmp_path, cloudy, clear))

    assert unpaired == 10
    assert all(pair.cloudy.stem == pair.clear.stem == pair.name for pair in pairs)
    assert [pair.name for pair in pairs] == [str(n) for n in sorted(numbers[5:25])]


def test_no_common_name(tmp_path: Path) -> None:
    message = r"no image in .*cloudy has the name of one in .*clear .*1\.png and 2\.png"
    with pytest.raises(DataError, match=message):
        match_pairs(*folders(tmp_path, ["1.png"], ["2.png"]))


@pytest.mark.parametrize("names", [["1.png", "1.jpg"], ["1.png", "1-inputs.png"]])
def test_two_files_of_one_name(tmp_path: Path, names: list[str]) -> None:
    message = r"cloudy holds two images named 1: 1\S* and 1\S*; keep one"
    with pytest.raises(DataError, match=message):
        match_pairs(*folders(tmp_path, names, ["1.png"]))


@pytest.mark.parametrize("other", ["town_a.jpg", "town_a.png", "Town/A.png"])
def test_two_images_of_one_name_in_subfolders(tmp_path: Path, other: str) -> None:
    touch(tmp_path / "town", ["a.png"])
    touch((tmp_path / other).parent, [Path(other).name])
    with pytest.raises(DataError, match=r"two images named [tT]own_[aA]: .* and .*; rename one"):
        named_images(tmp_path)


def test_neighbours_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    touch(tmp_path / "town", ["a.png", "a.JPG", "b.png"])
    assert set(named_images(tmp_path)) == {"town_a_png", "town_a_jpg", "town_b"}


def test_usual_names_of_folders(tmp_path: Path) -> None:
    for cloudy, clear in product(CLOUDY_FOLDERS, CLEAR_FOLDERS):
        root = tmp_path / f"{cloudy}-{clear}"
        for folder in (cloudy.upper(), clear, "mask", "." + CLOUDY_FOLDERS[0]):
            (root / folder).mkdir(parents=True)
        assert pair_folders(root) == (root / cloudy.upper(), root / clear)


def test_missing_and_ambiguous_folders(tmp_path: Path) -> None:
    assert pair_folders(tmp_path / "absent") is None
    (tmp_path / "haze").mkdir()
    assert pair_folders(tmp_path) is None

    for folder in ("gt", "cloudy"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match="holds cloudy and haze; expected one of"):
        pair_folders(tmp_path)
