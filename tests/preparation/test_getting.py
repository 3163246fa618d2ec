"""Downloads of datasets, and runs that are interrupted or repeated."""

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preparation.archive_formats import ArchiveError, OtherArchiveError
from preparation.getting import get
from preparation.options import GetOptions
from preparation.sets import SetName
from preparation.sources import KAGGLE_CACHE
from tests.helpers import Killed, break_at
from tests.preparation.packing import SAMPLES, cuhk, tree, zipped
from tests.preparation.test_sources import install
from tests.trainkit.data.layouts import satehaze
from trainkit.data.datasets import find_named


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


def test_a_notebooks_own_folder_is_copied_even_if_it_lies_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "input" / "many" / "haze1k"
    satehaze(mounted)
    before = tree(mounted)
    install(monkeypatch, "kagglehub", dataset_download=lambda handle: str(mounted))
    get(GetOptions("satehaze1k", tmp_path))
    assert tree(mounted) == before
    assert tree(tmp_path / "Haze1k") == tree(mounted / "Haze1k")


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
    with pytest.raises(ArchiveError, match="end is missing"):
        get(GetOptions("rice1", tmp_path / "root", archive))
    assert archive.is_file()
