"""A data set read file by file, with a report of what is wrong and a list of SHA-256 sums."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from cloudkit.cli import RUNS, format_table
from cloudkit.datasets import NamedSet, own_parts, part_folders, set_folder
from cloudkit.errors import UserError
from cloudkit.images import SUFFIXES, natural_key
from cloudkit.pairs import DataError, subfolders
from cloudkit.preparation.archives import is_junk
from cloudkit.preparation.findings import (
    TRAITS,
    ImageFolder,
    Problem,
    against_the_whole_set,
    folder_problems,
    pair_problems,
)
from cloudkit.preparation.inspection import inspect_all
from cloudkit.preparation.manifests import compare_sums, read_sums, write_sums
from cloudkit.preparation.options import SETS, SetName, VerifyOptions

_MASKS = {"rice2": "mask"}  # folders of masks, one for each pair
Place = tuple[NamedSet | Literal["folder"], str]  # data set and part


@dataclass(frozen=True)
class Report:
    """What was found."""

    text: str
    """For the user: each problem on a line of its own, a table, what is missing, and a verdict as the last line."""
    well: bool
    """Whether there is no problem. A part of the whole set is well."""


def verify(options: VerifyOptions) -> Report:
    """Read every image of a data set, report what is wrong, and write the list of sums or compare with one.

    Raises:
        UserError: the data set is not found, or the list cannot be read or would be overwritten.
    """
    out = options.out or (None if options.manifest else RUNS / "data" / f"{options.dataset}.sha256")
    if out and options.manifest and out.resolve() == options.manifest.resolve():
        raise UserError(f"--out and --manifest both name {out}; the list to compare with would be overwritten.")
    expected = read_sums(options.manifest) if options.manifest else None
    base, places, absent = locate(options.dataset, options.root.resolve())
    folders = _read(places)
    problems, lacking = _problems(folders)
    images = [image for group in folders.values() for folder in group for image in folder.images]
    sums = {image.path.relative_to(base).as_posix(): image.digest for image in images if image.digest}
    if expected is not None:
        differing = compare_sums(sums, expected)
        problems += [Problem(kind, base / name) for kind, names in differing.items() for name in names]
    notes = [*absent, *lacking, *_misnamed(base, folders)]
    if out:
        write_sums(out, sums)
        notes.append(f'SHA-256 sums: {out}; compare again with: cd "{base}" && sha256sum -c "{out.resolve()}"')
    title = f"{options.dataset} in {base}{', a part of the whole set' if absent or lacking else ''}"
    return Report(_text(title, base, folders, problems, notes), not problems)


def locate(dataset: SetName | Literal["folder"], root: Path) -> tuple[Path, dict[Place, list[Path]], list[str]]:
    """Where the folders of images lie.

    Returns:
        The folder that paths are relative to: the set's own, or the one above the sets that are published together; then the
        folders (cloudy, clear, and masks where there are any) of each set and part; then a line for each set that is not there.

    Raises:
        DataError: nothing is found.
    """
    if dataset == "folder":
        return root, {("folder", part): list(both) for part, both in own_parts(root).items()}, []
    places: dict[Place, list[Path]] = {}
    homes, errors = [], []
    for name in SETS[dataset]:
        try:
            home = set_folder(name, root)
        except DataError as error:
            errors.append(error)
            continue
        homes.append(home.parent if home.name.lower() in ("dataset", "rgb") else home)
        mask = subfolders(home).get(_MASKS.get(name, ""))
        for part, both in part_folders(name, root).items():
            places[name, part] = [*both, mask] if mask else list(both)
    if not homes:
        raise errors[0]
    base = homes[0] if len(SETS[dataset]) == 1 else Path(os.path.commonpath([home.parent for home in homes]))
    return base, places, [f"not there: {error}" for error in errors]


def _read(places: Mapping[Place, Sequence[Path]]) -> dict[Place, list[ImageFolder]]:
    listed = {folder: _listed(folder) for folders in places.values() for folder in folders}
    inspected = {image.path: image for image in inspect_all([path for images, _ in listed.values() for path in images])}
    return {
        place: [ImageFolder(folder, [inspected[path] for path in listed[folder][0]], listed[folder][1]) for folder in folders]
        for place, folders in places.items()
    }


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The image files right in a folder, and what else is there but for hidden files and junk; in natural order."""
    entries = sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".") and not is_junk(PurePosixPath(path.name))),
        key=lambda path: natural_key(path.name),
    )
    images = [path for path in entries if path.is_file() and path.suffix.lower() in SUFFIXES]
    return images, [path for path in entries if path not in set(images)]


def _problems(folders: Mapping[Place, list[ImageFolder]]) -> tuple[list[Problem], list[str]]:
    """All that is wrong, and what is missing of the whole sets."""
    problems = [problem for group in folders.values() for folder in group for problem in folder_problems(folder)]
    for group in folders.values():
        problems += pair_problems(*group)
    lacking = []
    for dataset in dict.fromkeys(dataset for dataset, _ in folders):
        if dataset == "folder":
            continue
        pairs = [(group[0].by_pair(), group[1].by_pair()) for (name, _), group in folders.items() if name == dataset]
        names = {name for both in pairs for side in both for name in side}
        foreign, note = against_the_whole_set(dataset, names, sum(len(left.keys() & right.keys()) for left, right in pairs))
        lacking += [note] if note else []
        problems += [
            Problem("odd", image.path, "has a name that the whole set does not have")
            for both in pairs
            for side in both
            for name in sorted(foreign & side.keys(), key=natural_key)
            for image in side[name]
        ]
    return problems, lacking


def _misnamed(base: Path, folders: Mapping[Place, list[ImageFolder]]) -> list[str]:
    """A line for each folder with files that hold another format than their names say."""
    lines = []
    for folder in (folder for group in folders.values() for folder in group):
        if wrong := [image for image in folder.images if image.misnamed]:
            where, first = folder.path.relative_to(base).as_posix(), wrong[0]
            example = f"{first.path.name} holds {first.format}"
            lines.append(f"{where}: {len(wrong)} names say another format than the files hold ({example}), which does no harm")
    return lines


def _text(
    title: str, base: Path, folders: Mapping[Place, list[ImageFolder]], problems: Sequence[Problem], notes: Sequence[str]
) -> str:
    lines = [f"{problem.kind}: {problem.path.relative_to(base).as_posix()} {problem.what}".rstrip() for problem in problems]
    pairs = sum(len(group[0].by_pair().keys() & group[1].by_pair().keys()) for group in folders.values())
    kinds = Counter(problem.kind for problem in problems)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    verdict = f"not well: {found}" if problems else "all is well"
    return "\n".join([*lines, _table(base, folders, problems), *notes, f"{title}: {pairs} pairs, {verdict}"])


def _table(base: Path, folders: Mapping[Place, list[ImageFolder]], problems: Sequence[Problem]) -> str:
    """One row for each folder."""
    named = Counter(problem.path.parent for problem in problems if problem.kind != "missing")
    rows = []
    for group in folders.values():
        for folder in group:
            rows.append(
                {
                    "folder": folder.path.relative_to(base).as_posix(),
                    "images": len(folder.images),
                    "MiB": f"{sum(image.count for image in folder.images) / 2**20:.1f}",
                    **{trait: folder.usual(trait) or "mixed" for trait in TRAITS},
                    "problems": named[folder.path],
                }
            )
    return format_table(rows)
