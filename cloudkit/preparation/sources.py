"""Where each data set comes from, and how it is fetched: by the optional libraries of the extra "data", or by hand."""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudkit.datasets import LAYOUTS, NamedSet
from cloudkit.errors import UserError
from cloudkit.preparation.archives import ArchiveError, require_zip
from cloudkit.preparation.options import SETS, SetName

KAGGLE_CACHE = ".kagglehub"  # below --root: kagglehub keeps its download there until it has unpacked it


@dataclass(frozen=True)
class Source:
    """One archive, or one page, that holds data sets."""

    sets: tuple[NamedSet, ...]
    """What it holds."""
    archive: str
    """File name of the archive below --root."""
    by_hand: str
    """How a person gets the archive."""
    fetch: Callable[[Path], Path] | None = None
    """Fetches below a folder and returns the archive, or a folder where the library unpacks by itself. None: by hand alone."""
    zipped: bool = True
    """Whether the archive is one that `get` can unpack."""


def from_google_drive(root: Path, identifier: str, name: str) -> Path:
    """Fetch a file to root/name; a download broken off goes on where it stopped. Raises whatever gdown raises."""
    target = root / name
    fetched = _library("gdown").download(id=identifier, output=str(target), resume=True, quiet=False)
    if fetched is None or not target.is_file():
        raise OSError("gdown fetched nothing")
    try:
        require_zip(target)
    except ArchiveError:
        target.unlink()  # or the next run would take it for fetched
        raise
    return target


def from_kaggle(root: Path, handle: str) -> Path:
    """Fetch a data set and return the folder kagglehub unpacked it into; a download broken off goes on where it stopped.

    With an output folder of the caller's kagglehub would begin anew each time; its cache resumes, so the cache is put below root:
    on the disk that has the space. In Kaggle's and Google's notebooks the folder is a read-only one of theirs instead.
    """
    library = _library("kagglehub")
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str((root / KAGGLE_CACHE).absolute())
    try:
        return Path(library.dataset_download(handle))
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


def from_hugging_face(root: Path, repository: str, name: str) -> Path:
    """Fetch a file from anywhere in a repository of data or, failing that, of models. Raises whatever the library raises."""
    library, errors = _library("huggingface_hub"), _library("huggingface_hub.errors")
    for kind in ("dataset", "model"):
        try:
            files = library.HfApi().list_repo_files(repository, repo_type=kind)
        except errors.RepositoryNotFoundError:
            continue
        for file in files:
            if file.rsplit("/", 1)[-1] == name:
                return Path(library.hf_hub_download(repository, file, repo_type=kind, local_dir=root))
    raise OSError(f"no repository {repository}, of data or of models, holds {name}")


def _library(name: str) -> Any:
    return importlib.import_module(name)


RICE = Source(
    sets=("rice1", "rice2"),
    archive="RICE_DATASET.zip",
    by_hand="open https://drive.google.com/file/d/1CricZtIj28BGFvkD_x-W8fSexPiDtgHk in a browser and download the file",
    fetch=lambda root: from_google_drive(root, "1CricZtIj28BGFvkD_x-W8fSexPiDtgHk", "RICE_DATASET.zip"),
)
SOURCES: dict[SetName, Source] = {
    "rice1": RICE,
    "rice2": RICE,
    "satehaze1k": Source(
        sets=SETS["satehaze1k"],
        archive="Haze1k.zip",
        by_hand="open https://www.kaggle.com/datasets/mohit3430/haze1k in a browser and download it as a zip",
        fetch=lambda root: from_kaggle(root, "mohit3430/haze1k"),
    ),
    "tcloud": Source(
        sets=SETS["tcloud"],
        archive="T-CLOUD.zip",
        by_hand=(
            "open https://pan.baidu.com/s/1LtkcdxMbJQTgEr-JvTM1Ug in a browser, give the code t63d and download all of the share "
            "(Baidu wants an account)"
        ),
    ),
    "cuhk-cr": Source(
        sets=SETS["cuhk-cr"],
        archive="C-CUHK.rar",
        by_hand=(
            "download C-CUHK.rar from https://huggingface.co/datasets/littlebeen/DE or https://huggingface.co/littlebeen/DE "
            "in a browser"
        ),
        fetch=lambda root: from_hugging_face(root, "littlebeen/DE", "C-CUHK.rar"),
        zipped=False,
    ),
}


def trees(dataset: SetName) -> str:
    """The tree that is expected of a data set, for messages."""
    first, *others = (LAYOUTS[name] for name in SETS[dataset])
    return f"{first.tree}{''.join(f', and {other.folder} alike' for other in others)}"


def the_rest_by_hand(dataset: SetName, root: Path, archive: Path | None = None) -> str:
    """How to go on by hand, for messages: with a file that was fetched, or with an archive that is there."""
    source = SOURCES[dataset]
    into = root / Path(source.archive).stem
    if archive:
        unpack = f'unpack it with 7-Zip (7z x "{archive}" -o"{into}") or unar (unar -o "{into}" "{archive}")'
    else:
        unpack = f'unpack it into "{into}" with 7-Zip or unar'
        if source.zipped:
            unpack = f'python data/prepare.py get {dataset} --root "{root}" --archive FILE if it is a zip, else {unpack}'
    unseen = " (as its authors' code has it; the archive itself was not seen)" if dataset == "cuhk-cr" else ""
    return f'{unpack}; the tree is {trees(dataset)}{unseen}; then python data/prepare.py verify {dataset} --root "{root}"'


def fetch(dataset: SetName, root: Path) -> Path:
    """Fetch a data set below `root`: its archive, or the folder that a library unpacked it into.

    Raises:
        UserError: it can only be fetched by hand, the library is missing or failed; the message says how to go on by hand.
    """
    source = SOURCES[dataset]
    if source.fetch is None:
        raise UserError(f"{dataset} can only be fetched by hand: {source.by_hand}; {the_rest_by_hand(dataset, root)}.")
    root.mkdir(parents=True, exist_ok=True)
    with _explained(dataset, root):
        return source.fetch(root)


@contextmanager
def _explained(dataset: SetName, root: Path) -> Iterator[None]:
    by_hand = f"or do it by hand: {SOURCES[dataset].by_hand}; {the_rest_by_hand(dataset, root)}."
    try:
        yield
    except ImportError as error:
        raise UserError(f'{error.name} is not installed, which get needs: pip install -e ".[data]", {by_hand}') from error
    except Exception as error:  # each library raises errors of its own, and those of what it uses
        reason = " ".join(str(error).split()) or "no reason given"
        raise UserError(
            f"{dataset} could not be fetched ({type(error).__name__}: {reason}); try again later, {by_hand}"
        ) from error
