"""Verification of a dataset file by file: a report of all problems, and a list of checksums."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.script.command_line import RUNS, format_table
from preparation.inspection import TRAITS
from preparation.manifests import compare_checksums, read_checksums, write_checksums
from preparation.options import VerifyOptions
from preparation.problems import (
    ImageFolder,
    Problem,
    compare_with_complete,
    folder_problems,
    pair_problems,
    read_folder,
)
from preparation.sets import SETS, find_sets
from trainkit.data.datasets import DatasetName, custom_part_folders, part_folders
from trainkit.data.pairs import match_keys
from trainkit.data.roles import Role
from trainkit.data.trees import PairFolders, subfolders

_MASK_FOLDERS = {"rice2": "mask"}  # with one mask for each pair
# Folders of one part: cloudy, clear, masks. A role stands beside a folder that holds both.
Group = list[tuple[Path, Role | None]]


@dataclass(frozen=True)
class VerifyReport:
    """Result of a verification."""

    text: str
    """Text for the user: a line for each problem, a table, notes, a verdict as last line."""
    passed: bool
    """Flag for a dataset without problems. An incomplete dataset passes."""


def verify(options: VerifyOptions) -> VerifyReport:
    """Read every image of a dataset, report problems, and write or compare checksums.

    Raises:
        UserError: the dataset is not found, or the manifest cannot be read or would be overwritten.
    """
    out, manifest = options.out, options.manifest
    if out is None and manifest is None:
        out = RUNS / "data" / f"{options.dataset}.sha256"
    if out and manifest and out.resolve() == manifest.resolve():
        raise UserError(
            f"--out and --manifest both name {out}, so the list to compare with would be "
            "overwritten. Choose another --out."
        )
    expected = read_checksums(manifest) if manifest else None

    base, places, notes = locate(options.dataset, options.root.resolve())
    problems: list[Problem] = []
    groups: dict[str, list[list[ImageFolder]]] = {}
    for dataset, paths in places.items():
        groups[dataset] = [[read_folder(path, role) for path, role in group] for group in paths]
        found, missing = _dataset_problems(dataset, groups[dataset])
        problems += found
        notes += missing
    incomplete = ", incomplete" if notes else ""

    all_groups = list(chain.from_iterable(groups.values()))
    folders = list(chain.from_iterable(all_groups))
    notes += _misnamed(folders, base)
    checksums = _checksums(folders, base)
    if expected is not None:
        for kind, names in compare_checksums(checksums, expected).items():
            problems += [Problem(kind, base / name) for name in names]
    if out:
        write_checksums(out, checksums)
        command = f'cd "{base}" && sha256sum -c "{out.resolve()}"'
        notes.append(f"SHA-256 checksums: {out}; compare again with: {command}")

    pairs = sum(map(_count_pairs, all_groups))
    verdict = f"{options.dataset} in {base}{incomplete}: {pairs} pairs, {_verdict(problems)}"
    lines = [*_problem_lines(problems, base), _table(folders, problems, base), *notes, verdict]
    return VerifyReport("\n".join(lines), not problems)


def locate(dataset: str, root: Path) -> tuple[Path, dict[str, list[Group]], list[str]]:
    """Find the folders of images.

    Returns:
        The folder that paths are relative to: the dataset's own, or the one above datasets that
        are published together. Then, for each dataset, one list of folders for each part: cloudy,
        clear, and masks if there are any. Then a line for each dataset that is not there.

    Raises:
        DataError: nothing is found.
    """
    if dataset == "folder":
        return root, {dataset: list(map(_group, custom_part_folders(root)))}, []

    places: dict[str, list[Group]] = {}
    homes = []
    found, notes = find_sets(dataset, root)
    for name, home in found.items():
        homes.append(home.parent if home.name.lower() in ("dataset", "rgb") else home)
        mask = subfolders(home).get(_MASK_FOLDERS.get(name, ""))
        masks: Group = [(mask, None)] if mask else []
        places[name] = [_group(folders) + masks for folders in part_folders(name, home)]

    base = homes[0]
    if len(SETS[dataset]) > 1:
        base = Path(os.path.commonpath([home.parent for home in homes]))
    return base, places, notes


def _group(folders: PairFolders) -> Group:
    if folders.cloudy == folders.clear:
        return [(folders.cloudy, "cloudy"), (folders.clear, "clear")]
    return [(folders.cloudy, None), (folders.clear, None)]


def _dataset_problems(
    dataset: DatasetName, groups: Sequence[Sequence[ImageFolder]]
) -> tuple[list[Problem], list[str]]:
    """Return all problems of one dataset, and a line if it is incomplete."""
    problems: list[Problem] = []
    for folder in chain.from_iterable(groups):
        problems += folder_problems(folder)
    for cloudy, clear, *masks in groups:
        problems += pair_problems(cloudy, clear)
        for mask in masks:
            problems += pair_problems(mask, cloudy)
    if dataset == "folder":
        return problems, []

    paired = list(chain.from_iterable(group[:2] for group in groups))
    names: set[str] = set().union(*map(ImageFolder.by_pair, paired))
    foreign, note = compare_with_complete(dataset, names, sum(map(_count_pairs, groups)))
    for folder in paired:
        for name, images in folder.by_pair().items():
            if name in foreign:
                text = "has a name that the complete dataset does not have"
                problems += [Problem("odd", image.path, text) for image in images]
    return problems, [note] if note else []


def _checksums(folders: Sequence[ImageFolder], base: Path) -> dict[str, str]:
    checksums = {}
    for image in chain.from_iterable(folder.images for folder in folders):
        if image.checksum:
            checksums[image.path.relative_to(base).as_posix()] = image.checksum
    return checksums


def _misnamed(folders: Sequence[ImageFolder], base: Path) -> list[str]:
    """Return a line for each folder with files of another format than their names say."""
    lines = []
    for folder in folders:
        misnamed = [image for image in folder.images if image.misnamed]
        if misnamed:
            first = misnamed[0]
            lines.append(
                f"{folder.path.relative_to(base).as_posix()}: {len(misnamed)} names say another "
                f"format than the files hold ({first.path.name} holds {first.traits['format']}), "
                "which does no harm"
            )
    return lines


def _verdict(problems: Sequence[Problem]) -> str:
    if not problems:
        return "all is well"
    counts = Counter(problem.kind for problem in problems)
    return "not well: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _count_pairs(group: Sequence[ImageFolder]) -> int:
    return len(match_keys(group[0].distinct, group[1].distinct).pairs)


def _problem_lines(problems: Sequence[Problem], base: Path) -> list[str]:
    lines = []
    for problem in problems:
        name = problem.path.relative_to(base).as_posix()
        lines.append(f"{problem.kind}: {name} {problem.text}".rstrip())
    return lines


def _table(folders: Sequence[ImageFolder], problems: Sequence[Problem], base: Path) -> str:
    """Return a table with a row for each folder."""
    rows: list[Mapping[str, object]] = []
    for folder in folders:
        size = sum(image.byte_count for image in folder.images)
        row: dict[str, object] = {
            "folder": folder.path.relative_to(base).as_posix(),
            "images": len(folder.images),
            "MiB": f"{size / 2**20:.1f}",
        }
        for trait in TRAITS:
            row[trait] = folder.usual(trait) or "mixed"
        count = 0
        for problem in problems:
            count += problem.kind != "missing" and problem.path.is_relative_to(folder.path)
        rows.append(row | {"problems": count})
    return format_table(rows)
