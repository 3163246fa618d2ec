import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudkit.data.datasets import DATASETS, find_named
from cloudkit.errors import UserError
from preparation.archives import ArchiveError, OtherArchiveError
from preparation.getting import find_set, get, home
from preparation.options import SETS, GetOptions, SetName
from preparation.sources import KAGGLE_CACHE
from tests.cloudkit.data.test_datasets import pngs, rice, satehaze, tcloud
from tests.helpers import Killed, break_at, touch
from tests.preparation.test_archives import tree, zipped
from tests.preparation.test_sources import install


def both_rice(root: Path) -> None:
    rice(root, 1, range(3))
    rice(root, 2, range(4))


def cuhk(root: Path, inner: str = "") -> None:
    for number in (1, 2):
        for part in ("train", "test"):
            for kind in ("cloud", "label"):
                touch(root / f"CUHK-CR{number}" / inner / part / kind, pngs(range(3)))


SAMPLES: dict[SetName, Callable[[Path], object]] = {
    "rice1": both_rice,
    "rice2": both_rice,
    "satehaze1k": satehaze,
    "tcloud": tcloud,
    "cuhk-cr": cuhk,
}


def packed(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def sample(tmp_path: Path) -> Callable[..., Path]:
    def make(dataset: SetName, prefix: str = "", path: Path | None = None) -> Path:
        SAMPLES[dataset](tmp_path / "sample")
        return packed(tmp_path / "sample", path or tmp_path / "fetched.zip", prefix)

    return make


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


@pytest.mark.parametrize("dataset", SAMPLES)
def test_what_is_there_is_not_fetched_again(
    dataset: SetName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SAMPLES[dataset](tmp_path)
    before = tree(tmp_path)
    for library in ("gdown", "kagglehub", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, library, None)
    result = get(GetOptions(dataset, tmp_path, tmp_path / "absent.zip"))
    assert result.note.startswith(f"{dataset} is there already, so nothing was done: {tmp_path}")
    assert result.datasets == ()
    assert tree(tmp_path) == before


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


@pytest.mark.parametrize(("owner", "method"), [(zipfile.ZipExtFile, "read"), (Path, "rename")])
@pytest.mark.parametrize("call", [1, 2])
def test_an_interrupted_run_can_be_repeated(
    owner: type,
    method: str,
    call: int,
    tmp_path: Path,
    sample: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive, root = sample("rice1"), tmp_path / "root"
    with monkeypatch.context() as patched:
        break_at(patched, owner, method, call)
        with pytest.raises(Killed):
            get(GetOptions("rice1", root, archive))
    expected = tree(tmp_path / "sample")
    left = tree(root)
    assert left == {name: expected[name] for name in left}
    assert len(left) in (0, 6)
    assert [path.name for path in root.iterdir()] in ([], ["RICE1"])
    get(GetOptions("rice2", root, archive))
    assert tree(root) == expected


def test_a_fetched_archive_goes_once_it_is_unpacked(
    tmp_path: Path, sample: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    fetches = []

    def download(**named: Any) -> str:
        fetches.append(named)
        sample("rice1", path=Path(named["output"]))
        return named["output"]

    install(monkeypatch, "gdown", download=download)
    with monkeypatch.context() as patched:
        break_at(patched, zipfile.ZipExtFile, "read", 2)
        with pytest.raises(Killed):
            get(GetOptions("rice1", root))
    assert [path.name for path in root.iterdir()] == ["RICE_DATASET.zip"]
    result = get(GetOptions("rice1", root))
    assert len(fetches) == 1
    assert f"{root / 'RICE_DATASET.zip'} is no longer needed" in result.note
    shutil.rmtree(root)
    get(GetOptions("rice1", root))
    assert len(fetches) == 2
    assert sorted(path.name for path in root.iterdir()) == ["RICE1", "RICE2"]


def test_what_kaggle_unpacked_is_moved_out_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    cached = root / KAGGLE_CACHE / "datasets" / "mohit3430" / "haze1k" / "versions" / "1"

    def download(handle: str) -> str:
        satehaze(cached)
        return str(cached)

    install(monkeypatch, "kagglehub", dataset_download=download)
    monkeypatch.setattr(shutil, "copytree", None)  # a move needs no second place on the disk
    monkeypatch.chdir(tmp_path)
    result = get(GetOptions("satehaze1k", Path("root")))
    assert result.datasets == ("satehaze1k",)
    assert [path.name for path in root.iterdir()] == ["Haze1k"]
    assert len(find_named("satehaze1k-thick", root).test) == 5


def test_a_notebooks_own_folder_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    satehaze(tmp_path / "mounted")
    before = tree(tmp_path / "mounted")
    install(monkeypatch, "kagglehub", dataset_download=lambda handle: str(tmp_path / "mounted"))
    with monkeypatch.context() as patched:
        break_at(patched, Path, "rename", 2)
        with pytest.raises(Killed):
            get(GetOptions("satehaze1k", tmp_path / "root"))
    get(GetOptions("satehaze1k", tmp_path / "root"))
    assert tree(tmp_path / "root") == tree(tmp_path / "mounted") == before


def test_rar_is_fetched_once_and_left_to_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(repository: str, name: str, *, repo_type: str, local_dir: Path) -> str:
        (local_dir / name).write_bytes(b"Rar!\x1a\x07\x01\x00")
        return str(local_dir / name)

    api = type("HfApi", (), {"list_repo_files": lambda self, repository, repo_type: ["C-CUHK.rar"]})
    install(monkeypatch, "huggingface_hub", HfApi=api, hf_hub_download=download)
    install(monkeypatch, "huggingface_hub.errors", RepositoryNotFoundError=KeyError)
    for _ in range(2):
        with pytest.raises(OtherArchiveError) as caught:
            get(GetOptions("cuhk-cr", tmp_path))
        archive, into = tmp_path / "C-CUHK.rar", tmp_path / "C-CUHK"
        assert f'7-Zip (7z x "{archive}" -o"{into}") or unar (unar -o "{into}" "{archive}")' in str(
            caught.value
        )
        assert "archive itself was not seen" in str(caught.value)
        assert "verify cuhk-cr" in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["C-CUHK.rar"]
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    cuhk(into)
    assert get(GetOptions("cuhk-cr", tmp_path)).datasets == ()


def test_a_damaged_archive_of_ones_own_is_kept(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.png": bytes(1000)})
    archive.write_bytes(archive.read_bytes()[:500])
    with pytest.raises(ArchiveError, match="no complete zip archive"):
        get(GetOptions("rice1", tmp_path / "root", archive))
    assert archive.is_file()
