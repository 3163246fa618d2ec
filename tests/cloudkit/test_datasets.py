import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from cloudkit.datasets import NamedSet, find_clear, find_folder, find_named, named_images
from cloudkit.pairs import CLEAR_FOLDERS, CLOUDY_FOLDERS, DataError, Pair
from cloudkit.splits import Splits, validation_names
from tests.helpers import touch

LEVELS = ("thin", "moderate", "thick")


def pngs(names: Iterable[object], role: str = "") -> list[str]:
    return [f"{name}{role}.png" for name in names]


def rice(root: Path, number: int, names: Iterable[int]) -> Path:
    names = list(names)
    folder = root / f"RICE{number}"
    for part in ("cloud", "label", "mask") if number == 2 else ("cloud", "label"):
        touch(folder / part, pngs(names))
    return folder


def tcloud(root: Path) -> Path:
    for part, names in (("train", range(20)), ("test", range(7))):  # the numbers of both parts begin at 0
        for kind in ("cloud", "reference"):
            touch(root / "T-CLOUD" / part / kind, pngs(names))
    return root / "T-CLOUD"


def satehaze(root: Path) -> Path:
    for level in LEVELS:
        restart = level == "moderate"  # there, valid and test begin anew at 1
        parts = {"train": range(1, 13), "valid": range(1, 4) if restart else range(321, 324), "test": range(1, 6)}
        for part, names in parts.items():
            for kind, role in (("input", "-inputs"), ("target", "-targets")):
                touch(root / "Haze1k" / f"Haze1k_{level}" / "dataset" / part / kind, pngs(names, role))
    return root / "Haze1k"


def names(pairs: list[Pair]) -> set[str]:
    return {pair.name for pair in pairs}


def files(pairs: list[Pair]) -> set[Path]:
    return {path for pair in pairs for path in (pair.cloudy, pair.clear)}


def assert_sound(splits: Splits) -> None:
    """Partners share a name, and no image stands in two parts."""
    parts = (splits.train, splits.val, splits.test)
    assert sum(len(files(part)) for part in parts) == len(files([pair for part in parts for pair in part]))
    for pair in splits.train + splits.val + splits.test:
        assert pair.cloudy.parent != pair.clear.parent
        assert pair.cloudy.stem.removesuffix("-inputs") == pair.clear.stem.removesuffix("-targets") == pair.name


def rule(count: int, of_test: int) -> set[str]:
    """The rule of the issue, written anew: names in the order of the SHA-256 of the stem, the first ones are the test set."""
    digests = sorted((hashlib.sha256(str(n).encode("utf-8")).digest(), str(n)) for n in range(count))
    return {name for _, name in digests[:of_test]}


@pytest.mark.parametrize(("dataset", "number", "count", "of_test"), [("rice1", 1, 500, 100), ("rice2", 2, 736, 148)])
def test_rice_follows_the_fixed_rule(tmp_path: Path, dataset: NamedSet, number: int, count: int, of_test: int) -> None:
    splits = find_named(dataset, rice(tmp_path, number, range(count)))
    assert_sound(splits)
    assert names(splits.test) == rule(count, of_test)
    rest = [str(n) for n in range(count) if str(n) not in rule(count, of_test)]
    assert names(splits.val) == validation_names(rest)
    assert names(splits.train) == set(rest) - names(splits.val)
    assert splits.note == f"{dataset}: {count} pairs ({len(splits.train)} train, {len(splits.val)} val, {of_test} test)"
    assert all(path.parent.name in ("cloud", "label") for path in files(splits.train))


@pytest.mark.parametrize("there", [range(0, 500, 7), range(200), [3, 2, 499]])
def test_the_test_set_does_not_depend_on_which_files_are_there(tmp_path: Path, there: Iterable[int]) -> None:
    splits = find_named("rice1", rice(tmp_path, 1, there))
    assert_sound(splits)
    held_out = {str(n) for n in there} & rule(500, 100)
    assert names(splits.test) == held_out
    assert names(splits.train) | names(splits.val) == {str(n) for n in there} - held_out
    assert "the whole set has 500, this part of it is used as it is" in splits.note


def test_images_without_a_partner_are_noted(tmp_path: Path) -> None:
    folder = rice(tmp_path, 1, range(30))
    (folder / "cloud" / "3.png").unlink()
    touch(folder / "label", ["x.png"])
    splits = find_named("rice1", folder)
    assert_sound(splits)
    assert "2 images without a partner are left out" in splits.note
    assert "29 pairs" in splits.note


def test_tcloud_has_its_own_split(tmp_path: Path) -> None:
    splits = find_named("tcloud", tcloud(tmp_path))
    assert_sound(splits)
    assert names(splits.test) == {str(n) for n in range(7)}
    assert all("test" in path.parts for path in files(splits.test))
    assert names(splits.val) == validation_names([str(n) for n in range(20)])
    assert all("train" in path.parts for path in files(splits.train + splits.val))
    assert "the whole set has 2939" in splits.note


@pytest.mark.parametrize("level", LEVELS)
def test_satehaze1k_has_its_own_split(tmp_path: Path, level: str) -> None:
    splits = find_named(f"satehaze1k-{level}", satehaze(tmp_path))  # type: ignore[arg-type]
    assert_sound(splits)
    for pairs, part, count in ((splits.train, "train", 12), (splits.val, "valid", 3), (splits.test, "test", 5)):
        assert len(pairs) == count
        assert all(path.parent.parent.name == part and f"Haze1k_{level}" in path.parts for path in files(pairs))
    assert {pair.cloudy.parent.name for pair in splits.train} == {"input"}
    assert "20 pairs (12 train, 3 val, 5 test)" in splits.note


@pytest.mark.parametrize("wrap", ["", "Haze1k", "archive/set"])
@pytest.mark.parametrize(
    ("dataset", "build"),
    [
        ("rice1", lambda root: rice(root, 1, range(40))),
        ("rice2", lambda root: rice(root, 2, range(40))),
        ("tcloud", tcloud),
        ("satehaze1k-thin", lambda root: satehaze(root) / "Haze1k_thin"),
    ],
)
def test_root_is_the_set_or_one_above_it(
    tmp_path: Path, dataset: NamedSet, build: Callable[[Path], Path], wrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrap == "archive/set" and dataset.startswith("satehaze"):
        wrap = "archive"
    for other in (1, 2):
        rice(tmp_path, other, range(40))
    folder = build(tmp_path / wrap)
    expected = find_named(dataset, folder)
    if wrap:
        expected_files = files(expected.test)
        assert files(find_named(dataset, tmp_path / wrap.split("/")[0]).test) == expected_files
    assert find_named(dataset, folder.parent) == expected
    monkeypatch.chdir(folder)
    assert names(find_named(dataset, Path()).test) == names(expected.test)


def test_satehaze1k_root_may_be_its_inner_folder(tmp_path: Path) -> None:
    inner = satehaze(tmp_path) / "Haze1k_thin" / "dataset"
    assert find_named("satehaze1k-thin", inner) == find_named("satehaze1k-thin", tmp_path)
    with pytest.raises(DataError, match="no satehaze1k-thick"):
        find_named("satehaze1k-thick", inner)


@pytest.mark.parametrize("folder", ["RICE_1", "rice1", "Rice-1", "my own name"])
def test_names_of_folders_are_taken_lightly(tmp_path: Path, folder: str) -> None:
    rice(tmp_path, 1, range(30)).rename(tmp_path / folder)
    assert len(find_named("rice1", tmp_path / folder).test) > 0


@pytest.mark.parametrize("dataset", ["rice1", "tcloud", "satehaze1k-thin"])
def test_the_folder_of_another_set_is_refused(tmp_path: Path, dataset: NamedSet) -> None:
    folder = rice(tmp_path, 2, range(30))
    with pytest.raises(DataError, match=f"no {dataset} in .*RICE2; expected .*"):
        find_named(dataset, folder)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    touch(tmp_path, ["file"])
    for root in (tmp_path / "absent", tmp_path / "file"):
        for find in (find_folder, find_clear, lambda folder: find_named("rice1", folder)):
            with pytest.raises(DataError, match=f"{root.name} is no folder; --root names the folder"):
                find(root)


@pytest.mark.parametrize("clear", CLEAR_FOLDERS)
@pytest.mark.parametrize("cloudy", CLOUDY_FOLDERS)
def test_folder_takes_the_usual_names(tmp_path: Path, cloudy: str, clear: str) -> None:
    for name in (cloudy, clear):
        touch(tmp_path / "flat" / name, pngs(range(30)))
        touch(tmp_path / "split" / "train" / name, pngs(range(20)))
        touch(tmp_path / "split" / "test" / name, pngs(range(20, 24)))
    flat, split = find_folder(tmp_path / "flat"), find_folder(tmp_path / "split")
    assert (len(flat.train), len(flat.val), len(flat.test)) == (27, 3, 30)
    assert files(flat.train).isdisjoint(files(flat.val))
    assert "30 pairs" in flat.note
    assert_sound(split)
    assert (len(split.train), len(split.val), len(split.test)) == (18, 2, 4)


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_folder_with_a_validation_part_of_its_own(tmp_path: Path, val: str) -> None:
    for part, count in (("train", 20), (val, 3)):
        for name in ("haze", "gt"):
            touch(tmp_path / part / name, pngs(range(count)))
    splits = find_folder(tmp_path)
    assert_sound(splits)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (20, 3, 0)
    assert all(val in path.parts for path in files(splits.val))


def test_folder_for_scoring_alone(tmp_path: Path) -> None:
    for name in ("haze", "gt"):
        touch(tmp_path / "test" / name, ["1.png"])
    splits = find_folder(tmp_path)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (0, 0, 1)


def test_folder_without_pairs_says_what_it_wants(tmp_path: Path) -> None:
    touch(tmp_path / "cloudy", ["1.png"])
    with pytest.raises(DataError, match=r"holds no pairs; expected train/, val/ and test/.*haze and gt"):
        find_folder(tmp_path)


def test_clear_images_in_parts_or_flat(tmp_path: Path) -> None:
    touch(tmp_path / "flat" / "town", pngs(range(15)))
    touch(tmp_path / "flat" / "sea", pngs(range(15)))
    touch(tmp_path / "split" / "train", pngs(range(20)))
    touch(tmp_path / "split" / "test", pngs(range(5)))
    touch(tmp_path / "three" / "train", pngs(range(20)))
    touch(tmp_path / "three" / "valid", pngs(range(5)))
    flat, split, three = (find_clear(tmp_path / name) for name in ("flat", "split", "three"))
    assert [len(part) for part in flat.values()] == [27, 3, 30]
    assert flat["train"].keys().isdisjoint(flat["val"])
    assert flat["train"] | flat["val"] == flat["test"]
    assert flat["test"]["town_3"] == tmp_path / "flat" / "town" / "3.png"
    assert [len(part) for part in split.values()] == [18, 2, 5]
    assert set(split["val"]) == validation_names([str(n) for n in range(20)])
    assert [len(part) for part in three.values()] == [20, 5, 0]
    assert all("valid" in path.parts for path in three["val"].values())


@pytest.mark.parametrize("other", ["town/a.jpg", "town_a.png", "Town/A.png"])
def test_two_images_of_one_name(tmp_path: Path, other: str) -> None:
    touch(tmp_path / "town", ["a.png"])
    touch((tmp_path / other).parent, [Path(other).name])
    with pytest.raises(DataError, match=r"two images named [tT]own_[aA]: .* and .*; rename one"):
        named_images(tmp_path)


def test_one_clear_image_cannot_be_split_but_others_can_be_scored(tmp_path: Path) -> None:
    touch(tmp_path / "train", ["a.png"])
    touch(tmp_path / "test", ["b.png"])
    assert [len(part) for part in find_clear(tmp_path).values()] == [1, 0, 1]


def test_no_clear_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        find_clear(tmp_path)


real = pytest.mark.skipif("THIEFCLOUD_DATA" not in os.environ, reason="THIEFCLOUD_DATA names no folder of real images")


@real
@pytest.mark.parametrize(("dataset", "count"), [("rice1", 74), ("rice2", 695)])
def test_real_pairs(dataset: NamedSet, count: int) -> None:
    splits = find_named(dataset, Path(os.environ["THIEFCLOUD_DATA"]))
    assert_sound(splits)
    assert len(splits.train + splits.val + splits.test) == count
    assert splits.train
    assert splits.val
    assert names(splits.test) <= rule(*{"rice1": (500, 100), "rice2": (736, 148)}[dataset])
