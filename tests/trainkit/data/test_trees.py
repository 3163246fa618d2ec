"""Trees of folders as data sets and users lay them out."""

from itertools import product
from pathlib import Path

import pytest

from cloudkit.imaging.images import write_image
from tests.helpers import noise, touch
from trainkit.data.datasets import find_clear, find_folder, find_named
from trainkit.data.pairs import DataError
from trainkit.data.roles import CLEAR_FOLDERS, CLOUDY_FOLDERS, meaning_of
from trainkit.data.splits import SplitLists
from trainkit.data.trees import UNSPLIT, PairFolders, find_pair_folders

NUMBERS = ("1.png", "2.png", "3.png")
Names = dict[str, list[str]]

# Each tree: folder and files, then the names of the pairs of each part.
TREES: dict[str, tuple[dict[str, tuple[str, ...]], Names]] = {
    "SpA-GAN": (
        {"cloudy_image": NUMBERS, "ground_truth": NUMBERS},
        {UNSPLIT: ["1", "2", "3"]},
    ),
    "RICE with parts": (
        {
            "train/cloud": NUMBERS,
            "train/label": NUMBERS,
            "test/cloud": ("1.png",),
            "test/label": ("1.png",),
        },
        {"train": ["1", "2", "3"], "test": ["1"]},
    ),
    "parts below the roles": (
        {"A/train": NUMBERS, "B/train": NUMBERS, "A/test": ("4.png",), "B/test": ("4.png",)},
        {"train": ["1", "2", "3"], "test": ["4"]},
    ),
    "part and role in one name": (
        {"trainA": NUMBERS, "trainB": NUMBERS, "test_A": ("4.png",), "test_B": ("4.png",)},
        {"train": ["1", "2", "3"], "test": ["4"]},
    ),
    "BasicSR": (
        {"LQ": NUMBERS, "GT": NUMBERS},
        {UNSPLIT: ["1", "2", "3"]},
    ),
    "words for part and role": (
        {"Train_Hazy": NUMBERS, "Train_GT": NUMBERS},
        {"train": ["1", "2", "3"]},
    ),
    "RS-Haze": (
        {"train/hazy": NUMBERS, "train/GT": NUMBERS, "test/hazy": NUMBERS, "test/GT": NUMBERS},
        {"train": ["1", "2", "3"], "test": ["1", "2", "3"]},
    ),
    "subfolders of both": (
        {
            "cloudy": NUMBERS,
            "clear": NUMBERS,
            "cloudy/a": NUMBERS,
            "clear/a": NUMBERS,
            "cloudy/b/c": NUMBERS,
            "clear/b/c": NUMBERS,
        },
        {UNSPLIT: ["1", "2", "3", "a_1", "a_2", "a_3", "b_c_1", "b_c_2", "b_c_3"]},
    ),
    "Sen2_MTC": (
        {
            "T12/cloud": ("p_0.png", "p_1.png", "p_2.png"),
            "T12/cloudless": ("p.png",),
            "T13/cloud": ("p_0.png",),
            "T13/cloudless": ("p.png",),
        },
        {UNSPLIT: ["T12_p_0", "T12_p_1", "T12_p_2", "T13_p_0"]},
    ),
    "STGAN": (
        {"cloudy_0": NUMBERS, "cloudy_1": NUMBERS, "clear": NUMBERS},
        {UNSPLIT: ["1_0", "1_1", "2_0", "2_1", "3_0", "3_1"]},
    ),
    "places in parts": (
        {"train/paris/input": NUMBERS, "train/paris/target": NUMBERS},
        {"train": ["paris_1", "paris_2", "paris_3"]},
    ),
    "a role above pairs": (
        {"input/cloudy": NUMBERS, "input/clear": NUMBERS},
        {UNSPLIT: ["input_1", "input_2", "input_3"]},
    ),
    "roles in names of one folder": (
        {"": ("a_cloud.png", "a_clear.png", "b_cloud.png", "b_clear.png")},
        {UNSPLIT: ["a", "b"]},
    ),
    "a folder for each place": (
        {"a": ("cloudy.png", "clear.png"), "b": ("cloudy.png", "clear.png")},
        {UNSPLIT: ["a", "b"]},
    ),
}


def planted(root: Path, tree: dict[str, tuple[str, ...]]) -> Path:
    for folder, names in tree.items():
        touch(root / folder, names)
    return root


def names_in(folders: list[PairFolders]) -> Names:
    found: Names = {}
    for each in folders:
        found.setdefault(each.part, []).extend(pair.name for pair in each.match().pairs)
    return {part: sorted(names) for part, names in found.items()}


@pytest.mark.parametrize("name", TREES)
def test_usual_trees(tmp_path: Path, name: str) -> None:
    tree, expected = TREES[name]
    folders = find_pair_folders(planted(tmp_path, tree))
    assert names_in(folders) == expected
    for each in folders:
        for pair in each.match().pairs:
            assert pair.cloudy != pair.clear

    splits = find_folder(tmp_path)
    tested = expected.get("test") or expected.get(UNSPLIT) or []
    assert {pair.name for pair in splits.test} == set(tested)
    assert "without a partner" not in splits.note


def test_usual_names_of_folders(tmp_path: Path) -> None:
    for cloudy, clear in product(CLOUDY_FOLDERS, CLEAR_FOLDERS):
        root = tmp_path / f"{cloudy}-{clear}"
        for folder in (cloudy.upper(), clear, "mask", "." + CLOUDY_FOLDERS[0]):
            (root / folder).mkdir(parents=True)
        assert find_pair_folders(root) == [
            PairFolders(UNSPLIT, root / cloudy.upper(), root / clear)
        ]


@pytest.mark.parametrize(
    ("name", "part", "role"),
    [
        ("Cloudy_Images", None, "cloudy"),
        ("cloud-free", None, "clear"),
        ("GroundTruth", None, "clear"),
        ("validation", "val", None),
        ("Test Set", "test", None),
        ("label_train", "train", "clear"),
        ("cloud removal", None, None),
        ("latest", None, None),
        ("thin", None, None),
        ("A", None, None),
    ],
)
def test_meanings_of_names(name: str, part: str | None, role: str | None) -> None:
    assert meaning_of(name)[:2] == (part, role)


def test_missing_and_ambiguous_folders(tmp_path: Path) -> None:
    assert find_pair_folders(tmp_path / "absent") == []
    (tmp_path / "haze").mkdir()
    assert find_pair_folders(tmp_path) == []

    for folder in ("gt", "cloudy"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match="holds cloudy and haze; expected one of"):
        find_pair_folders(tmp_path)


def test_letters_are_said_and_count_only_alone(tmp_path: Path) -> None:
    planted(tmp_path, {"A": NUMBERS, "B": NUMBERS})
    assert "; folders A, x, LQ are taken as cloudy, B, y, HQ as clear" in find_folder(tmp_path).note
    assert sum(map(len, find_clear(tmp_path).values())) == 2 * 6  # clear images of two places

    planted(tmp_path, {"C/cloudy": NUMBERS, "C/clear": NUMBERS})
    assert {pair.name for pair in find_folder(tmp_path).test} == {"C_1", "C_2", "C_3"}


def test_pairs_in_one_folder_are_said(tmp_path: Path) -> None:
    planted(tmp_path, {"": ("cloudy1.png", "clear1.png")})
    assert (
        "pairs are taken by names such as cloudy1.png and clear1.png" in find_folder(tmp_path).note
    )


def test_images_without_a_partner_are_named(tmp_path: Path) -> None:
    planted(tmp_path, {"cloudy": (*NUMBERS, "x.png"), "clear": NUMBERS, "cloudy/a": ("9.png",)})
    note = find_folder(tmp_path).note
    assert "2 images without a partner are left out (a/9.png, cloudy/x.png)" in note or (
        "2 images without a partner are left out (cloudy/x.png, a/9.png)" in note
    )


def test_pairs_outside_of_the_parts_are_named(tmp_path: Path) -> None:
    planted(tmp_path, {"train/cloudy": NUMBERS, "train/clear": NUMBERS})
    planted(tmp_path, {"old/cloudy": NUMBERS, "old/clear": NUMBERS})
    splits = find_folder(tmp_path)
    assert len(splits.train) + len(splits.val) == 3
    assert "pairs outside of train, val and test are left out" in splits.note
    assert str(tmp_path / "old" / "cloudy") in splits.note


def test_pairs_beside_parts_below_the_roles_are_named(tmp_path: Path) -> None:
    planted(tmp_path, {"cloud/train": NUMBERS, "label/train": NUMBERS})
    assert "left out" not in find_folder(tmp_path).note
    planted(tmp_path, {"cloud": ("9.png",), "label": ("9.png",)})
    assert f"are left out ({tmp_path / 'cloud'})" in find_folder(tmp_path).note


def test_rice_divided_by_its_folders(tmp_path: Path) -> None:
    for part, names in {"train": NUMBERS, "test": ("4.png",)}.items():
        planted(tmp_path / "RICE1" / part, {"cloud": names, "label": names})
    for root in (tmp_path, tmp_path / "RICE1"):
        splits = find_named("rice1", root)
        assert [pair.name for pair in splits.test] == ["4"]
        assert {pair.name for pair in splits.train + splits.val} == {"1", "2", "3"}
        assert "divided by its folders" in splits.note


def test_lists_name_images_in_subfolders(tmp_path: Path) -> None:
    tree = {"train/cloudy/a": NUMBERS, "train/clear/a": NUMBERS, "train/cloudy": ("1.png",)}
    planted(tmp_path, {**tree, "train/clear": ("1.png",)})
    (tmp_path / "list.txt").write_text("train/a/1\na_2\n1.png\n", encoding="utf-8")
    splits = find_folder(tmp_path, SplitLists(split=tmp_path / "list.txt"))
    assert {pair.name for pair in splits.test} == {"a_1", "a_2", "1"}


def test_two_images_side_by_side_are_explained(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "1.png", noise(height=8, width=16))
    with pytest.raises(DataError, match=r"twice as wide as high.*pix2pix.*cut each"):
        find_folder(tmp_path)
    write_image(tmp_path / "train" / "1.png", noise(height=8, width=8))
    with pytest.raises(DataError, match="holds no pairs") as caught:
        find_folder(tmp_path)
    assert "pix2pix" not in str(caught.value)


def test_links_lead_to_pairs_once(tmp_path: Path) -> None:
    planted(tmp_path / "set", {"town/cloudy": NUMBERS, "town/clear": NUMBERS})
    for name in ("again", "town/up"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "set")
    (folders,) = find_pair_folders(tmp_path / "set")
    assert folders.place == ("town",)
    assert len(find_folder(tmp_path / "set").test) == 3
