import random
import unicodedata
from pathlib import Path

import pytest

from tests.helpers import touch
from trainkit.data.pairs import DataError, files_for, match_pairs, named_images


def folders(tmp_path: Path, cloudy: list[str], clear: list[str]) -> tuple[Path, Path]:
    for folder, names in (("cloudy", cloudy), ("clear", clear)):
        for name in names:
            path = tmp_path / folder / name
            touch(path.parent, [path.name])
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
        ("a_cloudy_image.png", "a_cloud_free.png", "a"),
        ("cloudy_7.png", "gt_7.png", "7"),
        ("cloudy7.png", "clear7.png", "7"),
        ("s2_cloudy_7_p1.tif", "s2_7_p1.tif", "s2_7_p1"),
        ("A7.png", "a7.png", "A7"),
        ("0070.png", "70.png", "0070"),
        ("town/7.png", "town/7.png", "town_7"),
        ("town/7_cloud.png", "town/7_label.png", "town_7"),
        ("town/7.png", "7.png", "town_7"),
        ("s2_cloudy_1/7.png", "s2_1/7.png", "s2_1_7"),
    ],
)
def test_names_match(tmp_path: Path, cloudy: str, clear: str, name: str) -> None:
    left, right = folders(tmp_path, [cloudy], [clear])
    matching = match_pairs(left, right)
    (pair,) = matching.pairs
    assert (pair.name, pair.cloudy, pair.clear) == (name, left / cloudy, right / clear)
    assert not matching.unpaired


def test_by_name_not_by_position(tmp_path: Path) -> None:
    """Some images have no partner, and the files are created in random order."""
    numbers = list(range(30))
    random.Random(0).shuffle(numbers)
    cloudy, clear = [f"{n}.png" for n in numbers[:25]], [f"{n}.jpg" for n in numbers[5:]]
    pairs, unpaired, _ = match_pairs(*folders(tmp_path, cloudy, clear))

    assert len(unpaired) == 10
    assert all(pair.cloudy.stem == pair.clear.stem == pair.name for pair in pairs)
    assert [pair.name for pair in pairs] == [str(n) for n in sorted(numbers[5:25])]


def test_no_common_name(tmp_path: Path) -> None:
    message = r"no image in .*cloudy has the name of one in .*clear .*1\.png and 2\.png"
    with pytest.raises(DataError, match=message):
        match_pairs(*folders(tmp_path, ["1.png"], ["2.png"]))


def test_two_files_of_one_name(tmp_path: Path) -> None:
    message = r"cloudy holds two images named 1: 1\S* and 1\S*; keep one"
    with pytest.raises(DataError, match=message):
        match_pairs(*folders(tmp_path, ["1.png", "1.jpg"], ["1.png"]))


def test_equal_names_are_never_taken_apart(tmp_path: Path) -> None:
    """A word of a role may belong to the name of a place."""
    names = ["scene_clear.png", "scene_cloud.png"]
    pairs, unpaired, _ = match_pairs(*folders(tmp_path, names, names))
    assert not unpaired
    assert [pair.name for pair in pairs] == ["scene_clear", "scene_cloud"]
    assert all(pair.cloudy.name == pair.clear.name for pair in pairs)


def test_names_that_fit_two_partners_stay_alone(tmp_path: Path) -> None:
    cloudy = ["1-inputs.png", "1_cloudy.png", "2.png"]
    pairs, unpaired, _ = match_pairs(*folders(tmp_path, cloudy, ["1.png", "2.png"]))
    assert [pair.name for pair in pairs] == ["2"]
    assert sorted(path.name for path in unpaired) == ["1-inputs.png", "1.png", "1_cloudy.png"]


def test_equal_names_in_different_subfolders_are_no_pair(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image in"):
        match_pairs(*folders(tmp_path, ["paris/1.png"], ["london/1.png"]))


def test_unicode_forms_of_a_name_are_one(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "M\u00fcnchen") for form in ("NFC", "NFD"))
    assert composed != apart
    left, right = folders(tmp_path, [f"{composed}.png"], [f"{apart}.png"])
    ((pair,), unpaired, _) = match_pairs(left, right)
    assert (pair.name, pair.clear.name) == (composed, f"{apart}.png")
    assert not unpaired
    assert files_for([composed], right) == {composed: pair.clear}
    assert list(named_images(right)) == [composed]


def test_several_cloudy_images_may_share_a_clear_one(tmp_path: Path) -> None:
    cloudy = ["7_0.png", "7_1.png", "8_0.png", "x_9_0.png"]
    pairs, unpaired, shared = match_pairs(*folders(tmp_path, cloudy, ["7.png", "8.png"]))
    assert [(pair.name, pair.clear.stem) for pair in pairs] == [
        ("7_0", "7"),
        ("7_1", "7"),
        ("8_0", "8"),
    ]
    assert (shared, [path.name for path in unpaired]) == (2, ["x_9_0.png"])


def test_restored_images_are_found_by_the_name_of_the_pair(tmp_path: Path) -> None:
    touch(tmp_path / "town", ["1.png"])
    touch(tmp_path, ["2-inputs.jpg", "TOWN_3.png", "9.png"])
    found = files_for(["town_1", "2", "town_3", "4"], tmp_path)
    assert {name: path.name for name, path in found.items()} == {
        "town_1": "1.png",
        "2": "2-inputs.jpg",
        "town_3": "TOWN_3.png",
    }


@pytest.mark.parametrize("other", ["town_a.jpg", "town_a.png", "Town/A.png"])
def test_two_images_of_one_name_in_subfolders(tmp_path: Path, other: str) -> None:
    touch(tmp_path / "town", ["a.png"])
    touch((tmp_path / other).parent, [Path(other).name])
    with pytest.raises(DataError, match=r"two images named [tT]own_[aA]: .* and .*; rename one"):
        named_images(tmp_path)


def test_neighbours_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    touch(tmp_path / "town", ["a.png", "a.JPG", "b.png"])
    assert set(named_images(tmp_path)) == {"town_a_png", "town_a_jpg", "town_b"}
