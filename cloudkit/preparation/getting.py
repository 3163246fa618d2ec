"""A data set fetched, unpacked and put in place below one folder; what is there already is kept."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudkit.datasets import LAYOUTS, NamedSet, set_folder
from cloudkit.errors import UserError
from cloudkit.pairs import DataError, subfolders
from cloudkit.preparation.archives import ArchiveError, OtherArchiveError, unpacked, working_folder
from cloudkit.preparation.options import SETS, GetOptions, SetName
from cloudkit.preparation.sources import KAGGLE_CACHE, SOURCES, fetch, the_rest_by_hand, trees


@dataclass(frozen=True)
class Got:
    """What `get` did."""

    note: str
    """A few lines for the user."""
    datasets: tuple[SetName, ...] = ()
    """What is there now and should be verified; empty where nothing was done."""


def get(options: GetOptions) -> Got:
    """Fetch and unpack a data set below options.root, unless it is there.

    Raises:
        UserError: it cannot be fetched, unpacked or put in place; the message says what to do. Nothing is left half done.
    """
    dataset, root = options.dataset, options.root
    asked, source = SETS[dataset], SOURCES[dataset]
    there = {name: path for name in asked if (path := present(name, root))}
    if len(there) == len(asked):
        where = ", ".join(str(path) for path in there.values())
        return Got(f"{dataset} is there already, so nothing was done: {where}. To check it: data/prepare.py verify {dataset}")
    for name in asked:
        if name not in there and (root / home(name)).exists():
            raise UserError(f"{root / home(name)} exists, but holds no {name} ({LAYOUTS[name].tree}); move it away or mend it.")
    fetched = options.archive is None and not (root / source.archive).is_file()
    archive = fetch(dataset, root) if fetched else options.archive or root / source.archive
    try:
        lines = _place_unpacked(archive, dataset, root) if fetched and archive.is_dir() else _unpack(archive, dataset, root)
    except OtherArchiveError as error:
        raise OtherArchiveError(f"{error} To do so: {the_rest_by_hand(dataset, root, archive)}.") from error
    if fetched and archive.is_file():
        archive.unlink()
    elif options.archive is None and not fetched:
        lines.append(f"{archive} is no longer needed")
    names = [owner for owner, sets in SETS.items() if any(name in source.sets and present(name, root) for name in sets)]
    return Got("\n".join(lines), tuple(names))


def present(name: NamedSet, root: Path) -> Path | None:
    """The folder of a data set in `root` or below it, None where it is not there."""
    try:
        return set_folder(name, root)
    except DataError:
        return None


def home(name: NamedSet) -> Path:
    """Where a data set goes, relative to the folder of all data sets: "RICE1", "Haze1k/Haze1k_thin"."""
    layout = LAYOUTS[name]
    return Path(layout.tree[: layout.tree.index(f"{layout.folder}/")]) / layout.folder


def _unpack(archive: Path, dataset: SetName, root: Path) -> list[str]:
    with unpacked(archive, root) as folder:
        return _place(folder, dataset, root, move=True)


def _place_unpacked(folder: Path, dataset: SetName, root: Path) -> list[str]:
    """Place what kagglehub unpacked: moved from its cache below root, copied from a notebook's read-only folder."""
    cache = (root / KAGGLE_CACHE).absolute()
    lines = _place(folder, dataset, root, move=cache in folder.absolute().parents)
    shutil.rmtree(cache, ignore_errors=True)
    return lines


def _place(folder: Path, dataset: SetName, root: Path, *, move: bool) -> list[str]:
    """Put every data set that an unpacked archive holds in its place, and say so. Each appears whole, by one renaming."""
    found = _found(folder, SETS[dataset], SOURCES[dataset].sets)
    if not any(name in found for name in SETS[dataset]):
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise ArchiveError(f"the archive holds no {dataset}; expected {trees(dataset)}, found {held}.")
    lines = []
    for name, origin in found.items():
        target = root / home(name)
        if (there := present(name, root)) or target.exists():
            lines.append(f"{name} was there already and is kept as it was: {there or target}")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if move:
            origin.rename(target)
        else:
            _copy(origin, target)
        lines.append(f"{name} is in {target}")
    lines += [f"{name} is not in the archive" for name in SOURCES[dataset].sets if name not in found]
    if rest := [path for path in folder.rglob("*") if move and path.is_file()]:
        lines.append(f"other files of the archive, left out: {len(rest)}, for example {rest[0].relative_to(folder)}")
    return lines


def _found(folder: Path, asked: Sequence[NamedSet], sets: Sequence[NamedSet]) -> dict[NamedSet, Path]:
    """The folders of the data sets in an unpacked archive, however deep it wraps them.

    Images that lie there without a folder of the set's name are taken for the one set that is asked for.
    """
    for base in _wrappings(folder):
        found = {name: path for name in sets if (path := present(name, base))}
        found = {name: path for name, path in found.items() if path != base or list(asked) == [name]}
        if found:
            return found
    return {}


def _wrappings(folder: Path) -> Iterator[Path]:
    """The folder, and those within it as long as each holds one folder alone."""
    yield folder
    while len(below := list(subfolders(folder).values())) == 1:
        folder = below[0]
        yield folder


def _copy(origin: Path, target: Path) -> None:
    with working_folder(target.parent) as folder:
        shutil.copytree(origin, folder / target.name)
        (folder / target.name).rename(target)
