"""Places of unpacked datasets, and datasets that are there already."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudkit.errors import UserError
from preparation.archive_formats import ArchiveError
from preparation.getting import get, home
from preparation.options import GetOptions
from preparation.sets import SETS, SetName, find_set
from tests.helpers import touch
from tests.preparation.packing import SAMPLES, both_rice, cuhk, packed, tree
from tests.trainkit.data.layouts import rice, satehaze
from trainkit.data.datasets import DATASETS, find_named


@pytest.mark.parametrize("prefix", ["", "SET/", "SET/SET/archive/data/more/"])
@pytest.mark.parametrize("dataset", SAMPLES)
def test_each_set_lies_where_train_finds_it(
    dataset: SetName, prefix: str, tmp_path: Path, sample: Callable[..., Path]
) -> None:
    archive, root = sample(dataset, prefix), tmp_path / "new" / "root"
    result = get(GetOptions(dataset, root, archive))
    expected = tree(tmp_path / "sample")
    assert tree(root) == expected
    assert expected
    for name in SETS[dataset]:
        assert (root / home(name)).is_dir()
        assert f"{name} is in {root / home(name)}" in result.note
        assert find_named(name, root).train
    assert result.datasets == (("rice1", "rice2") if dataset.startswith("rice") else (dataset,))
    assert archive.is_file()


def test_homes_are_as_the_trees_say() -> None:
    assert {name: home(name).as_posix() for name in DATASETS} == {
        "rice1": "RICE1",
        "rice2": "RICE2",
        "tcloud": "T-CLOUD",
        "satehaze1k-thin": "Haze1k/Haze1k_thin",
        "satehaze1k-moderate": "Haze1k/Haze1k_moderate",
        "satehaze1k-thick": "Haze1k/Haze1k_thick",
        "cuhk-cr1": "CUHK-CR1",
        "cuhk-cr2": "CUHK-CR2",
    }


def test_what_belongs_to_a_set_comes_along_and_the_rest_is_named(tmp_path: Path) -> None:
    both_rice(tmp_path / "sample" / "RICE_DATASET")
    cuhk(tmp_path / "more", "rgb")
    touch(tmp_path / "more" / "CUHK-CR1" / "nir", ["0.tif"])
    touch(tmp_path / "sample" / "RICE_DATASET", ["read me.txt"])
    result = get(
        GetOptions("rice1", tmp_path / "root", packed(tmp_path / "sample", tmp_path / "a.zip"))
    )
    assert "left out: 1, for example RICE_DATASET/read me.txt" in result.note
    assert (tmp_path / "root" / "RICE2" / "mask" / "3.png").is_file()
    get(GetOptions("cuhk-cr", tmp_path / "root", packed(tmp_path / "more", tmp_path / "b.zip")))
    assert (tmp_path / "root" / "CUHK-CR1" / "nir" / "0.tif").is_file()
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [
        "CUHK-CR1",
        "CUHK-CR2",
        "RICE1",
        "RICE2",
    ]


@pytest.mark.parametrize(
    ("dataset", "folder"), [("rice1", "RICE1"), ("rice2", "RICE2"), ("tcloud", "T-CLOUD")]
)
@pytest.mark.parametrize("prefix", ["", "my own/name/"])
def test_images_without_the_sets_folder_are_taken_for_what_is_asked_for(
    dataset: SetName, folder: str, prefix: str, tmp_path: Path
) -> None:
    SAMPLES[dataset](tmp_path / "sample")
    archive = packed(tmp_path / "sample" / folder, tmp_path / "a.zip", prefix)
    result = get(GetOptions(dataset, tmp_path / "root", archive))
    assert [path.name for path in (tmp_path / "root").iterdir()] == [folder]
    assert tree(tmp_path / "root" / folder) == tree(tmp_path / "sample" / folder)
    assert result.datasets == (dataset,)


def test_an_archive_that_does_not_say_which_level_it_holds(tmp_path: Path) -> None:
    inner = satehaze(tmp_path / "sample") / "Haze1k_thin" / "dataset"
    with pytest.raises(
        ArchiveError,
        match=r"the archive holds no satehaze1k; expected .*Haze1k_thin.*found test, train, valid",
    ):
        get(GetOptions("satehaze1k", tmp_path / "root", packed(inner, tmp_path / "a.zip")))
    assert list((tmp_path / "root").iterdir()) == []


def test_the_archive_of_another_set_is_refused(tmp_path: Path, sample: Callable[..., Path]) -> None:
    with pytest.raises(
        ArchiveError,
        match=r"holds no tcloud; expected T-CLOUD/\{train,test\}.*, found RICE1, RICE2",
    ):
        get(GetOptions("tcloud", tmp_path / "root", sample("rice1")))
    rice(tmp_path / "alone", 2, range(3))
    with pytest.raises(ArchiveError, match=r"holds no rice1; .* found RICE2"):
        get(GetOptions("rice1", tmp_path / "root", packed(tmp_path / "alone", tmp_path / "b.zip")))
    assert list((tmp_path / "root").iterdir()) == []


def test_what_the_archive_lacks_is_said(tmp_path: Path) -> None:
    rice(tmp_path / "sample", 1, range(3))
    result = get(
        GetOptions("rice1", tmp_path / "root", packed(tmp_path / "sample", tmp_path / "a.zip"))
    )
    assert "rice2 is not in the archive" in result.note
    assert result.datasets == ("rice1",)


def test_an_existing_set_of_the_same_archive_is_kept(
    tmp_path: Path, sample: Callable[..., Path]
) -> None:
    archive, root = sample("rice1"), tmp_path / "root"
    for kind in ("cloud", "label"):
        touch(root / "mine" / "Rice-1" / kind, ["499.png"])
    result = get(GetOptions("rice2", root, archive))
    assert (
        f"rice1 was there already and is kept as it was: {root / 'mine' / 'Rice-1'}" in result.note
    )
    assert not (root / "RICE1").exists()
    assert len(tree(root / "mine")) == 2
    assert result.datasets == ("rice1", "rice2")


def test_missing_levels_are_added_to_those_that_are_there(
    tmp_path: Path, sample: Callable[..., Path]
) -> None:
    archive, root = sample("satehaze1k"), tmp_path / "root"
    shutil.copytree(tmp_path / "sample", root)
    shutil.rmtree(root / "Haze1k" / "Haze1k_thick")
    (root / "Haze1k" / "Haze1k_thin" / "mine.txt").touch()
    result = get(GetOptions("satehaze1k", root, archive))
    assert "satehaze1k-thin was there already and is kept" in result.note
    assert f"satehaze1k-thick is in {root / 'Haze1k' / 'Haze1k_thick'}" in result.note
    assert tree(root) == {**tree(tmp_path / "sample"), "Haze1k/Haze1k_thin/mine.txt": b""}


def test_a_folder_in_the_way_is_never_touched(tmp_path: Path, sample: Callable[..., Path]) -> None:
    touch(tmp_path / "root" / "RICE1" / "cloud", ["mine.png"])
    with pytest.raises(
        UserError, match=r"RICE1 exists, but holds no rice1 .*\. Move it away or repair it"
    ):
        get(GetOptions("rice1", tmp_path / "root", sample("rice1")))
    assert list(tree(tmp_path / "root")) == ["RICE1/cloud/mine.png"]
    get(GetOptions("rice2", tmp_path / "root", tmp_path / "fetched.zip"))
    assert len(list((tmp_path / "root" / "RICE1").rglob("*.png"))) == 1
    assert find_set("rice2", tmp_path / "root")
