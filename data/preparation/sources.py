"""Sources of the datasets, and their download by optional libraries or by hand."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloudkit.errors import UserError
from preparation.archive_formats import ArchiveError, require_zip
from preparation.sets import SETS, SetName
from trainkit.data.datasets import DATASETS, DatasetName

KAGGLE_CACHE = ".kagglehub"  # below --root; kagglehub keeps its download there until it is unpacked


@dataclass(frozen=True)
class Source:
    """Archive or page with one or several datasets."""

    sets: tuple[DatasetName, ...]
    """Datasets in the archive."""
    archive: str
    """File name of the archive below --root."""
    by_hand: str
    """Instruction to download the archive in a browser."""
    download: Callable[[Path], Path] | None = None
    """Function that downloads into a folder and returns the archive, or a folder if the library
    unpacks by itself. None: there is no way but by hand."""


def from_google_drive(root: Path, identifier: str, name: str) -> Path:
    """Download a file to root/name; an interrupted download is resumed.

    Raises:
        Exception: any error of gdown.
    """
    import gdown

    target = root / name
    result = gdown.download(id=identifier, output=str(target), resume=True, quiet=False)
    if result is None or not target.is_file():
        raise OSError("gdown downloaded nothing")
    try:
        require_zip(target, str(target))
    except ArchiveError:
        target.unlink()  # or the next run would take it for the archive
        raise
    return target


def from_kaggle(root: Path, handle: str) -> Path:
    """Download a dataset, and return the folder that kagglehub unpacks it into.

    kagglehub resumes only downloads into its cache, so the cache is put below `root`, on the disk
    with enough space. In notebooks of Kaggle and Google the folder is a read-only one.
    """
    import kagglehub

    previous = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str((root / KAGGLE_CACHE).absolute())
    try:
        return Path(kagglehub.dataset_download(handle))
    finally:
        if previous is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = previous


def from_hugging_face(root: Path, repository: str, name: str) -> Path:
    """Download a file from any folder of a dataset repository or a model repository.

    Raises:
        Exception: any error of huggingface_hub.
    """
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    for kind in ("dataset", "model"):
        try:
            files = huggingface_hub.HfApi().list_repo_files(repository, repo_type=kind)
        except RepositoryNotFoundError:
            continue
        for file in files:
            if file.rpartition("/")[2] == name:
                path = huggingface_hub.hf_hub_download(
                    repository, file, repo_type=kind, local_dir=root
                )
                return Path(path)
    raise OSError(f"no repository {repository}, of data or of models, holds {name}")


RICE = Source(
    sets=("rice1", "rice2"),
    archive="RICE_DATASET.zip",
    by_hand=f"open {DATASETS['rice1'].url} in a browser and download the file",
    download=lambda root: from_google_drive(
        root, "1CricZtIj28BGFvkD_x-W8fSexPiDtgHk", "RICE_DATASET.zip"
    ),
)
SOURCES: dict[SetName, Source] = {
    "rice1": RICE,
    "rice2": RICE,
    "satehaze1k": Source(
        sets=SETS["satehaze1k"],
        archive="Haze1k.zip",
        by_hand=f"open {DATASETS['satehaze1k-thin'].url} in a browser and download it as a zip",
        download=lambda root: from_kaggle(root, "mohit3430/haze1k"),
    ),
    "tcloud": Source(
        sets=SETS["tcloud"],
        archive="T-CLOUD.zip",
        by_hand=(
            f"open {DATASETS['tcloud'].url} in a browser, enter the code t63d and download it all "
            "(Baidu requires an account)"
        ),
    ),
    "cuhk-cr": Source(
        sets=SETS["cuhk-cr"],
        archive="C-CUHK.rar",
        by_hand=(
            f"download C-CUHK.rar from {DATASETS['cuhk-cr1'].url} or "
            "https://huggingface.co/littlebeen/DE in a browser"
        ),
        download=lambda root: from_hugging_face(root, "littlebeen/DE", "C-CUHK.rar"),
    ),
}
for _name, _sets in SETS.items():  # a dataset without an entry of its own is downloaded by hand
    _by_hand = f"download it from {DATASETS[_sets[0]].url}"
    SOURCES.setdefault(_name, Source(_sets, archive=f"{_name}.zip", by_hand=_by_hand))


def expected_tree(dataset: SetName) -> str:
    """Return the folders and file names that are expected of a dataset, for messages."""
    first, *others = SETS[dataset]
    tree = DATASETS[first].tree
    for name in others:
        tree += f", and {DATASETS[name].folder} alike"
    return tree


def remaining_steps(dataset: SetName, root: Path, archive: Path | None = None) -> str:
    """Return the steps by hand after a download, for messages; `archive` is a file on disk."""
    source = SOURCES[dataset]
    into = root / Path(source.archive).stem
    unpack = f'unpack it into "{into}" with 7-Zip or unar'
    if archive:
        unpack = (
            f'unpack it with 7-Zip (7z x "{archive}" -o"{into}") or unar (unar -o "{into}" '
            f'"{archive}")'
        )
    elif source.archive.endswith(".zip"):
        command = f'python data/prepare.py get {dataset} --root "{root}" --archive FILE'
        unpack = f"run {command} if it is a zip, else {unpack}"

    tree = f"the tree is {expected_tree(dataset)}"
    if dataset == "cuhk-cr":
        tree += " (as its authors' code reads it; the archive itself was not seen)"
    return f'{unpack}; {tree}; then run python data/prepare.py verify {dataset} --root "{root}"'


def fetch(dataset: SetName, root: Path) -> Path:
    """Download a dataset below `root`.

    Returns:
        The archive, or the folder that a library unpacked it into.

    Raises:
        UserError: there is no way but by hand, or the library is missing or fails. The message
            says how to do it by hand.
    """
    source = SOURCES[dataset]
    by_hand = f"{source.by_hand}; {remaining_steps(dataset, root)}."
    if source.download is None:
        raise UserError(f"{dataset} can only be downloaded by hand: {by_hand}")

    root.mkdir(parents=True, exist_ok=True)
    try:
        return source.download(root)
    except ImportError as error:
        raise UserError(
            f'{error.name} is not installed; run pip install -e ".[data]", or do it by hand: '
            f"{by_hand}"
        ) from error
    except Exception as error:  # libraries raise errors of many types
        reason = " ".join(str(error).split()) or "no reason given"
        raise UserError(
            f"{dataset} could not be downloaded ({type(error).__name__}: {reason}). "
            f"Try again later, or do it by hand: {by_hand}"
        ) from error
