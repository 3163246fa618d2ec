import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cloudkit.errors import UserError
from preparation.sets import SETS, SetName
from preparation.sources import KAGGLE_CACHE, SOURCES, fetch
from tests.preparation.packing import zipped

FETCHED = {"rice1": "gdown", "satehaze1k": "kagglehub", "cuhk-cr": "huggingface_hub"}


class NotFound(Exception):
    pass


def install(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    """Put a library in the place of the real one."""
    module = ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def install_all(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Libraries that all do the same, whatever is asked of them."""
    api = type("HfApi", (), {"list_repo_files": act})
    install(monkeypatch, "gdown", download=act)
    install(monkeypatch, "kagglehub", dataset_download=act)
    install(monkeypatch, "huggingface_hub", HfApi=api, hf_hub_download=act)
    install(monkeypatch, "huggingface_hub.errors", RepositoryNotFoundError=NotFound)


def test_google_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def download(**named: Any) -> str:
        calls.append(named)
        return str(zipped(Path(named["output"]), {"a.png": b"x"}))

    install(monkeypatch, "gdown", download=download)
    root = tmp_path / "new"
    assert fetch("rice1", root) == fetch("rice2", root) == root / "RICE_DATASET.zip"
    assert calls[0] == calls[1]
    assert calls[0]["id"] == "1CricZtIj28BGFvkD_x-W8fSexPiDtgHk"
    assert calls[0]["resume"] is True


def test_a_notice_in_place_of_the_file_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(**named: Any) -> str:
        Path(named["output"]).write_text("<!DOCTYPE html>Quota exceeded")
        return named["output"]

    install(monkeypatch, "gdown", download=download)
    with pytest.raises(
        UserError,
        match=r"rice1 could not be downloaded .*is a web page"
        r".*or do it by hand: open https://drive",
    ):
        fetch("rice1", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_google_drive_that_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "gdown", download=lambda **named: None)
    with pytest.raises(UserError, match="gdown downloaded nothing"):
        fetch("rice1", tmp_path)


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_kaggle_unpacks_into_a_cache_on_the_right_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    else:
        monkeypatch.setenv("KAGGLEHUB_CACHE", before)
    received: list[str] = []

    def download(handle: str) -> str:
        received.extend((handle, os.environ["KAGGLEHUB_CACHE"]))
        return "somewhere"

    install(monkeypatch, "kagglehub", dataset_download=download)
    assert fetch("satehaze1k", tmp_path) == Path("somewhere")
    assert received == ["mohit3430/haze1k", str(tmp_path / KAGGLE_CACHE)]
    assert os.environ.get("KAGGLEHUB_CACHE") == before


@pytest.mark.parametrize("kind", ["dataset", "model", None])
@pytest.mark.parametrize("file", ["C-CUHK.rar", "data/C-CUHK.rar"])
def test_hugging_face_is_searched_as_data_and_as_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, file: str
) -> None:
    asked = []

    class HfApi:
        def list_repo_files(self, repository: str, *, repo_type: str) -> list[str]:
            asked.append(repo_type)
            if repo_type == "dataset" and kind == "model":
                raise NotFound
            return ["README.md", "Not-C-CUHK.rar", *([file] if repo_type == kind else [])]

    def download(repository: str, name: str, *, repo_type: str, local_dir: Path) -> str:
        assert (repository, name, repo_type, local_dir) == ("littlebeen/DE", file, kind, tmp_path)
        return str(tmp_path / file)

    install(monkeypatch, "huggingface_hub", HfApi=HfApi, hf_hub_download=download)
    install(monkeypatch, "huggingface_hub.errors", RepositoryNotFoundError=NotFound)
    if kind is None:
        with pytest.raises(
            UserError,
            match=r"no repository littlebeen/DE, of data or of models, holds C-CUHK.rar"
            r".*huggingface.co",
        ):
            fetch("cuhk-cr", tmp_path)
        assert asked == ["dataset", "model"]
    else:
        assert fetch("cuhk-cr", tmp_path) == tmp_path / file


@pytest.mark.parametrize("dataset", FETCHED)
def test_libraries_are_called_as_they_are(
    dataset: SetName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real library takes the arguments that the code gives."""
    library = pytest.importorskip(FETCHED[dataset])
    calls = []

    def checked(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            inspect.signature(function).bind(*arguments, **named)
            calls.append(function.__name__)
            return ["C-CUHK.rar"] if function.__name__ == "list_repo_files" else str(tmp_path)

        return call

    if dataset == "rice1":
        monkeypatch.setattr(library, "download", checked(library.download))
        with pytest.raises(UserError, match="downloaded nothing"):
            fetch(dataset, tmp_path)
    elif dataset == "satehaze1k":
        monkeypatch.setattr(library, "dataset_download", checked(library.dataset_download))
        fetch(dataset, tmp_path)
    else:
        listed = checked(library.HfApi.list_repo_files)
        monkeypatch.setattr(
            library.HfApi,
            "list_repo_files",
            lambda self, *arguments, **named: listed(self, *arguments, **named),
        )
        monkeypatch.setattr(library, "hf_hub_download", checked(library.hf_hub_download))
        fetch(dataset, tmp_path)
    assert calls


@pytest.mark.parametrize("dataset", FETCHED)
def test_a_missing_library_is_named_with_the_way_by_hand(
    dataset: SetName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, FETCHED[dataset], None)
    with pytest.raises(UserError) as caught:
        fetch(dataset, tmp_path)
    message = str(caught.value)
    assert message.startswith(
        f'{FETCHED[dataset]} is not installed; run pip install -e ".[data]", or do it by hand: '
    )
    assert "in a browser" in message
    assert f'python data/prepare.py verify {dataset} --root "{tmp_path}"' in message
    assert ("--archive FILE" in message) == (dataset != "cuhk-cr")


@pytest.mark.parametrize("dataset", FETCHED)
@pytest.mark.parametrize(
    "error",
    [ConnectionError("no\nroute"), RuntimeError(), KeyError("x"), OSError(28, "No space left")],
)
def test_failures_of_libraries_are_one_line(
    dataset: SetName, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    install_all(monkeypatch, fail)
    with pytest.raises(
        UserError, match=rf"{dataset} could not be downloaded \({type(error).__name__}: "
    ) as caught:
        fetch(dataset, tmp_path)
    assert "\n" not in str(caught.value)
    assert "do it by hand" in str(caught.value)
    assert caught.value.__cause__ is error


def test_stopping_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    install_all(monkeypatch, stop)
    for dataset in SETS:
        if SOURCES[dataset].download:
            with pytest.raises(KeyboardInterrupt):
                fetch(dataset, tmp_path)


def test_tcloud_is_fetched_by_hand(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tcloud can only be downloaded by hand") as caught:
        fetch("tcloud", tmp_path)
    for part in (
        "1LtkcdxMbJQTgEr-JvTM1Ug",
        "t63d",
        "--archive FILE",
        "{train,test}/{cloud,reference}",
        "verify tcloud",
    ):
        assert part in str(caught.value)


def test_what_was_never_seen_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        UserError,
        match=r"CUHK-CR1/\{train,test\}/\{cloud,label\}.*CUHK-CR2 alike"
        r".*archive itself was not seen",
    ):
        fetch("cuhk-cr", tmp_path)
