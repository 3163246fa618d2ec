import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.helpers import touch
from tests.trainkit.data.layouts import (
    LEVELS,
    assert_sound,
    files,
    names,
    numbered,
    rice,
    satehaze,
    sizes,
    tcloud,
)
from trainkit.data.datasets import DATASETS, DatasetName, find_clear, find_folder, find_named
from trainkit.data.pairs import DataError
from trainkit.data.splits import validation_names

RICE = [("rice1", 1, 500, 100), ("rice2", 2, 736, 148)]  # name, number, pairs, test pairs


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
    with pytest.raises(DataError, match=f"{root} is no folder; name the one that holds"):
        find(tmp_path / root)


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
