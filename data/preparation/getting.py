"""Download, unpacking and placement of a dataset. Existing datasets are kept."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.folders import writing_to
from preparation.archive_formats import ArchiveError, OtherArchiveError
from preparation.archives import unpacked, working_folder
from preparation.options import GetOptions
from preparation.sets import SETS, SetName, find_set
from preparation.sources import KAGGLE_CACHE, SOURCES, expected_tree, fetch, remaining_steps
from trainkit.data.datasets import DATASETS, DatasetName
from trainkit.data.trees import subfolders


@dataclass(frozen=True)
class FetchResult:
    """Result of `get`."""

    note: str
    """Lines for the user."""
    datasets: tuple[SetName, ...] = ()
    """Datasets to verify; empty if nothing was done."""


def get(options: GetOptions) -> FetchResult:
    """Download and unpack a dataset below options.root, unless it is there.

    Raises:
        UserError: the dataset cannot be downloaded, unpacked or placed, or another process does so.
            The message says what to do. No half-done work is left.
    """
    with writing_to(options.root, purpose=f"get-{options.dataset}"):
        return _get(options)


def _get(options: GetOptions) -> FetchResult:
    dataset, root, archive = options.dataset, options.root, options.archive
    found = {name: find_set(name, root) for name in SETS[dataset]}
    if all(found.values()):
        places = ", ".join(map(str, found.values()))
        return FetchResult(
            f"{dataset} is there already, so nothing was done: {places}. "
            f"To check it: data/prepare.py verify {dataset}"
        )
    for name, folder in found.items():
        target = root / home(name)
        if folder is None and target.exists():
            raise UserError(
                f"{target} exists, but holds no {name} ({DATASETS[name].tree}). "
                "Move it away or repair it."
            )

    earlier = root / SOURCES[dataset].archive
    if archive is None and not earlier.is_file():
        lines = _place_download(fetch(dataset, root), dataset, root)
    else:
        lines = _unpack(archive or earlier, dataset, root)
    if archive is None and earlier.is_file():
        lines.append(f"{earlier} is no longer needed")

    placed = []
    for owner, names in SETS.items():
        common = set(names).intersection(SOURCES[dataset].sets)
        if any(find_set(name, root) for name in common):
            placed.append(owner)
    return FetchResult("\n".join(lines), tuple(placed))


def home(name: DatasetName) -> Path:
    """Return the path of a dataset below --root, such as "Haze1k/Haze1k_thin"."""
    info = DATASETS[name]
    return Path(info.tree[: info.tree.index(f"{info.folder}/")]) / info.folder


def _place_download(download: Path, dataset: SetName, root: Path) -> list[str]:
    """Place the datasets of an archive, or of a folder that kagglehub unpacked, and remove it.

    A folder outside its cache below `root`, such as a read-only one of a notebook, is kept.
    """
    if download.is_dir():
        cache = (root / KAGGLE_CACHE).absolute()
        lines = _place(download, dataset, root, move=cache in download.absolute().parents)
        shutil.rmtree(cache, ignore_errors=True)
    else:
        lines = _unpack(download, dataset, root)
        download.unlink()
    return lines


def _unpack(archive: Path, dataset: SetName, root: Path) -> list[str]:
    try:
        with unpacked(archive, root) as folder:
            return _place(folder, dataset, root, move=True)
    except OtherArchiveError as error:
        steps = remaining_steps(dataset, root, archive)
        raise OtherArchiveError(f"{error} To do so: {steps}.") from error


def _place(folder: Path, dataset: SetName, root: Path, *, move: bool) -> list[str]:
    """Move or copy every dataset of an unpacked archive to its place, and return lines about it.

    Each dataset appears complete, by one renaming.
    """
    found = _find_sets(folder, dataset)
    if not found.keys() & set(SETS[dataset]):
        names = sorted(path.name for path in folder.iterdir())
        content = ", ".join(names[:5]) or "nothing"
        raise ArchiveError(
            f"the archive holds no {dataset}; expected {expected_tree(dataset)}, found {content}."
        )

    lines = []
    for name, origin in found.items():
        target = root / home(name)
        existing = find_set(name, root)
        if existing or target.exists():
            lines.append(f"{name} was there already and is kept as it was: {existing or target}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if move:
            origin.rename(target)
        else:
            with working_folder(target.parent) as working:
                copy = shutil.copytree(origin, working / target.name)
                copy.rename(target)
        lines.append(f"{name} is in {target}")

    for name in SOURCES[dataset].sets:
        if name not in found:
            lines.append(f"{name} is not in the archive")
    rest = [path for path in folder.rglob("*") if move and path.is_file()]
    if rest:
        example = rest[0].relative_to(folder)
        lines.append(f"other files of the archive, left out: {len(rest)}, for example {example}")
    return lines


def _find_sets(folder: Path, dataset: SetName) -> dict[DatasetName, Path]:
    """Find the folders of the datasets in an unpacked archive, however deep it wraps them.

    Images without a folder of the dataset's name belong to the dataset asked for, if it is one.
    """
    for base in _wrappers(folder):
        found = {}
        for name in SOURCES[dataset].sets:
            path = find_set(name, base)
            if path and (path != base or SETS[dataset] == (name,)):
                found[name] = path
        if found:
            return found
    return {}


def _wrappers(folder: Path) -> Iterator[Path]:
    """Yield the folder, and the ones inside it as long as there is exactly one."""
    yield folder
    while len(below := subfolders(folder)) == 1:
        (folder,) = below.values()
        yield folder
