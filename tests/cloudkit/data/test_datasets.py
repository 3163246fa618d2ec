import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from cloudkit.data.datasets import DATASETS, DatasetName, find_clear, find_folder, find_named
from cloudkit.data.pairs import CLEAR_FOLDERS, CLOUDY_FOLDERS, DataError, Pair
from cloudkit.data.splits import Splits, validation_names
from tests.helpers import touch

LEVELS = ("thin", "moderate", "thick")
RICE = [("rice1", 1, 500, 100), ("rice2", 2, 736, 148)]  # name, number, pairs, test pairs


def pngs(names: Iterable[object], role: str = "") -> list[str]:
    return [f"{name}{role}.png" for name in names]


def rice(root: Path, number: int, names: Iterable[int]) -> Path:
    files = pngs(names)
    folder = root / f"RICE{number}"
    for part in ("cloud", "label", "mask") if number == 2 else ("cloud", "label"):
        touch(folder / part, files)
    return folder


def tcloud(root: Path) -> Path:
    for kind in ("cloud", "reference"):  # the numbers of both parts begin at 0
        touch(root / "T-CLOUD" / "train" / kind, pngs(range(20)))
        touch(root / "T-CLOUD" / "test" / kind, pngs(range(7)))
    return root / "T-CLOUD"


def satehaze(root: Path) -> Path:
    for level in LEVELS:
        restart = level == "moderate"  # there, valid and test begin anew at 1
        valid = range(1, 4) if restart else range(321, 324)
        parts = {"train": range(1, 13), "valid": valid, "test": range(1, 6)}
        for part, numbers in parts.items():
            folder = root / "Haze1k" / f"Haze1k_{level}" / "dataset" / part
            touch(folder / "input", pngs(numbers, "-inputs"))
            touch(folder / "target", pngs(numbers, "-targets"))
    return root / "Haze1k"


def names(pairs: list[Pair]) -> set[str]:
    return {pair.name for pair in pairs}


def numbered(count: int) -> set[str]:
    return {str(number) for number in range(count)}


def files(pairs: list[Pair]) -> set[Path]:
    return {path for pair in pairs for path in (pair.cloudy, pair.clear)}


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.val), len(splits.test)


def assert_sound(splits: Splits) -> None:
    """Partners share a name, and no image is in two parts."""
    pairs = splits.train + splits.val + splits.test
    assert len(files(pairs)) == 2 * len(pairs)
    for pair in pairs:
        assert pair.cloudy.parent != pair.clear.parent
        assert pair.cloudy.stem.removesuffix("-inputs") == pair.name
        assert pair.clear.stem.removesuffix("-targets") == pair.name


def rule(count: int, test_count: int) -> set[str]:
    """The documented rule, written independently: the first names by SHA-256 are the test set."""
    ordered = sorted(numbered(count), key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ordered[:test_count])


@pytest.mark.parametrize(("dataset", "number", "count", "test_count"), RICE)
def test_rice_follows_the_fixed_rule(
    tmp_path: Path, dataset: DatasetName, number: int, count: int, test_count: int
) -> None:
    splits = find_named(dataset, rice(tmp_path, number, range(count)))
    assert_sound(splits)
    test = rule(count, test_count)
    rest = numbered(count) - test
    assert names(splits.test) == test
    assert names(splits.val) == validation_names(list(rest))
    assert names(splits.train) == rest - names(splits.val)

    parts = f"{len(splits.train)} train, {len(splits.val)} val, {test_count} test"
    assert splits.note == f"{dataset}: {count} pairs ({parts})"
    assert {path.parent.name for path in files(splits.train)} == {"cloud", "label"}


@pytest.mark.parametrize("present", [range(0, 500, 7), range(200), [3, 2, 499]])
def test_the_test_set_does_not_depend_on_the_files_present(
    tmp_path: Path, present: Iterable[int]
) -> None:
    splits = find_named("rice1", rice(tmp_path, 1, present))
    assert_sound(splits)
    found, test = {str(n) for n in present}, rule(500, 100)
    assert names(splits.test) == found & test
    assert names(splits.train) | names(splits.val) == found - test
    assert "the whole set has 500, this part of it is used as it is" in splits.note


def test_images_without_a_partner_are_noted(tmp_path: Path) -> None:
    folder = rice(tmp_path, 1, range(30))
    (folder / "cloud" / "3.png").unlink()
    touch(folder / "label", ["x.png"])
    splits = find_named("rice1", folder)
    assert_sound(splits)
    assert "2 images without a partner are left out" in splits.note
    assert "29 pairs" in splits.note


def test_tcloud_has_an_official_split(tmp_path: Path) -> None:
    splits = find_named("tcloud", tcloud(tmp_path))
    assert_sound(splits)
    assert names(splits.test) == numbered(7)
    assert names(splits.val) == validation_names([str(n) for n in range(20)])
    assert {path.parts[-3] for path in files(splits.test)} == {"test"}
    assert {path.parts[-3] for path in files(splits.train + splits.val)} == {"train"}
    assert "the whole set has 2939" in splits.note


@pytest.mark.parametrize("level", LEVELS)
def test_satehaze1k_has_an_official_split(tmp_path: Path, level: str) -> None:
    splits = find_named(f"satehaze1k-{level}", satehaze(tmp_path))
    assert_sound(splits)
    parts = {"train": splits.train, "valid": splits.val, "test": splits.test}
    for part, pairs in parts.items():
        folder = tmp_path / "Haze1k" / f"Haze1k_{level}" / "dataset" / part
        assert {pair.cloudy.parent for pair in pairs} == {folder / "input"}
        assert {pair.clear.parent for pair in pairs} == {folder / "target"}
    assert sizes(splits) == (12, 3, 5)
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
def test_root_is_the_dataset_or_a_folder_above_it(
    tmp_path: Path,
    dataset: DatasetName,
    build: Callable[[Path], Path],
    wrap: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if wrap == "archive/set" and dataset.startswith("satehaze"):
        wrap = "archive"
    for other in (1, 2):
        rice(tmp_path, other, range(40))
    folder = build(tmp_path / wrap)
    expected = find_named(dataset, folder)

    if wrap:
        above = find_named(dataset, tmp_path / wrap.split("/")[0])
        assert files(above.test) == files(expected.test)
    assert find_named(dataset, folder.parent) == expected
    monkeypatch.chdir(folder)
    assert names(find_named(dataset, Path()).test) == names(expected.test)


def test_satehaze1k_root_may_be_its_inner_folder(tmp_path: Path) -> None:
    inner = satehaze(tmp_path) / "Haze1k_thin" / "dataset"
    assert find_named("satehaze1k-thin", inner) == find_named("satehaze1k-thin", tmp_path)
    with pytest.raises(DataError, match="no satehaze1k-thick"):
        find_named("satehaze1k-thick", inner)


@pytest.mark.parametrize("folder", ["RICE_1", "rice1", "Rice-1", "my own name"])
def test_folder_names_may_differ(tmp_path: Path, folder: str) -> None:
    rice(tmp_path, 1, range(30)).rename(tmp_path / folder)
    assert len(find_named("rice1", tmp_path / folder).test) > 0


@pytest.mark.parametrize("dataset", ["rice1", "tcloud", "satehaze1k-thin"])
def test_the_folder_of_another_dataset_is_rejected(tmp_path: Path, dataset: DatasetName) -> None:
    folder = rice(tmp_path, 2, range(30))
    message = f"no {dataset} in .*RICE2; expected .* Get it from {DATASETS[dataset].url}"
    with pytest.raises(DataError, match=message):
        find_named(dataset, folder)


@pytest.mark.parametrize("root", ["absent", "file"])
@pytest.mark.parametrize("find", [find_folder, find_clear, lambda root: find_named("rice1", root)])
def test_a_root_that_is_no_folder(
    tmp_path: Path, root: str, find: Callable[[Path], object]
) -> None:
    touch(tmp_path, ["file"])
    with pytest.raises(DataError, match=f"{root} is no folder; --root names the folder"):
        find(tmp_path / root)


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


@pytest.mark.skipif(
    "THIEFCLOUD_DATA" not in os.environ, reason="THIEFCLOUD_DATA names no folder of real images"
)
@pytest.mark.parametrize(("dataset", "number", "count", "test_count"), RICE)
def test_real_pairs(dataset: DatasetName, number: int, count: int, test_count: int) -> None:
    splits = find_named(dataset, Path(os.environ["THIEFCLOUD_DATA"]))
    assert_sound(splits)
    assert sum(sizes(splits)) == {"rice1": 74, "rice2": 695}[dataset]
    assert splits.train
    assert splits.val
    assert names(splits.test) <= rule(count, test_count)
