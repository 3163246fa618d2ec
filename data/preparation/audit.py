"""Audit of a dataset for test images that are also in training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from cloudkit.errors import UserError
from cloudkit.folders import require_folder, writing_to
from cloudkit.processes import choose_device
from cloudkit.script.checks import require_apart
from cloudkit.script.command_line import RUNS, format_table
from preparation.duplicates import SMALLEST
from preparation.features import Features, compare, equal_pairs, read_features
from preparation.findings import Finding, write_findings, write_list
from preparation.options import AuditOptions
from preparation.sets import SETS, find_sets
from trainkit.data.datasets import custom_part_folders, part_folders
from trainkit.data.mixture import find_pairs
from trainkit.data.pairs import Pair
from trainkit.data.splits import NO_LISTS, SplitLists, Splits
from trainkit.data.trees import UNSPLIT, PairFolders

_MAX_ROWS = 40  # of a table on screen


@dataclass(frozen=True)
class AuditReport:
    """Result of an audit."""

    text: str
    """Text for the user: notes, tables of findings, summaries, files, and images left out."""
    leaked: int
    """Number of test images in training; without a test part, of images with a duplicate."""


@dataclass(frozen=True)
class _Division:
    """A dataset divided into test and training pairs."""

    title: str
    test: list[Pair]
    training: list[Pair]
    note: str
    folders: Sequence[PairFolders]

    @property
    def undivided(self) -> bool:
        """Flag for a dataset without a test part, which is compared with itself."""
        return set(self.test) == set(self.training)

    def training_name(self, pair: Pair) -> str:
        """Return the name of a pair with its part, since parts may share names."""
        for each in self.folders:
            if each.part != UNSPLIT and pair.cloudy.is_relative_to(each.cloudy):
                return f"{each.part}/{pair.name}"
        return pair.name


def audit(options: AuditOptions) -> AuditReport:
    """Compare every test image with every training image; write a table and lists.

    Datasets that are published together are audited one by one, in a folder for each.

    Raises:
        UserError: the dataset is not found, a list cannot be used, there is nothing to compare, or
            results would lie among the images.
        OSError: the folder cannot be written.
    """
    device = choose_device(options.device)
    divisions, notes = _find_divisions(options)
    out = options.out or RUNS / "data" / f"{options.dataset}-audit"
    require_folder(out)
    pairs: list[Pair] = []
    for division in divisions:
        pairs += [*division.test, *division.training]
        for each in division.folders:
            require_apart(out, each.cloudy)
            require_apart(out, each.clear)
    features, errors = read_features(pairs)

    with writing_to(out):
        lines, leaked = _compare_divisions(options, divisions, features, out, device)
    lines += [*notes, *_left_out(features.values(), errors)]
    return AuditReport("\n".join(lines), leaked)


def _compare_divisions(
    options: AuditOptions,
    divisions: Sequence[_Division],
    features: Mapping[Pair, Features],
    out: Path,
    device: torch.device,
) -> tuple[list[str], int]:
    """Compare and write; return lines for the user and the number of leaked images."""
    several = len(SETS.get(options.dataset, ())) > 1
    lines: list[str] = []
    leaked = 0
    for division in divisions:
        training = None if division.undivided else division.training
        findings = compare(
            division.test,
            training,
            features,
            threshold=options.threshold,
            device=device,
            title=division.title,
        )
        folder = out / division.title if several else out
        count, summary = _write(division, findings, folder)
        leaked += count
        lines += [division.note, *_table(findings)]
        if training is not None:
            lines += _duplicates_within_test(division, features)
        lines.append(summary)
    return lines, leaked


def _find_divisions(options: AuditOptions) -> tuple[list[_Division], list[str]]:
    """Return the datasets that are there, and a line for each that is not."""
    root, split, peak = options.root, options.split, options.peak
    if options.dataset == "folder":
        folders = custom_part_folders(root)
        find = partial(find_pairs, "folder", root, peak=peak)
        return [_divide("folder", find, folders, split)], []

    found, notes = find_sets(options.dataset, root)
    divisions = []
    for name, folder in found.items():
        find = partial(find_pairs, name, folder, peak=peak)
        divisions.append(_divide(name, find, part_folders(name, folder), split))
    return divisions, notes


def _divide(
    title: str,
    find: Callable[[SplitLists], Splits],
    folders: Sequence[PairFolders],
    split: Path | None,
) -> _Division:
    """Divide a dataset by its own split, or by a list of test images."""
    own = find(NO_LISTS)
    test, training, note = own.test, [*own.train, *own.val], own.note
    if split is not None:
        test = find(SplitLists(split=split)).test
        rest = dict.fromkeys([*training, *own.test])
        for pair in test:
            rest.pop(pair, None)
        training = list(rest)
        note = f"{title}: {len(test)} test images named by {split}, {len(training)} others"

    for part, pairs in (("test", test), ("training", training)):
        if not pairs:
            raise UserError(
                f"{title} has no {part} images ({note}), expected both parts. Name the test images "
                "with --split FILE, or search one folder for duplicates with --dataset folder."
            )
    return _Division(title, test, training, note, folders)


def _write(division: _Division, findings: Sequence[Finding], out: Path) -> tuple[int, str]:
    """Write the findings, and return the number of leaked images and a summary."""
    leaked: dict[str, bool] = {}  # {name: it has equal pixels}
    for finding in findings:
        pairs = [finding.test, finding.training] if division.undivided else [finding.test]
        for pair in pairs:
            equal = finding.kind in ("equal", "turned")
            leaked[pair.name] = leaked.get(pair.name, False) or equal
    names = [pair.name for pair in division.test if pair.name in leaked]
    held_out = dict.fromkeys(division.training_name(finding.training) for finding in findings)

    subject, held_out_title = "test images are also in training", "training images in the test part"
    if division.undivided:
        subject = "images have a duplicate"
        held_out_title = "without these, no image has a duplicate"
    write_findings(out, findings)
    files = ["audit.csv"]
    if write_list(out / "leaked.txt", f"{division.title}: these {subject}", names):
        files.append("leaked.txt (for test.py --duplicates)")
    if write_list(out / "held_out.txt", f"{division.title}: {held_out_title}", list(held_out)):
        files.append("held_out.txt (for train.py --held-out)")
    else:
        files.append("no leaked.txt, because there is nothing to list")

    equal_count = sum(leaked.values())
    near_count = len(leaked) - equal_count
    counts = f"{equal_count} equal, {near_count} near or overlapping"
    summary = f"{len(leaked)} of {len(division.test)} {subject}: {counts}"
    return len(leaked), f"{summary}\nwritten to {out}: {', '.join(files)}"


def _table(findings: Sequence[Finding]) -> list[str]:
    rows = []
    for number, finding in enumerate(findings[:_MAX_ROWS], start=1):
        rows.append({"no.": str(number), **finding.row()})
    lines = [format_table(rows)] if rows else []
    if len(findings) > len(rows):
        lines.append(f"... and {len(findings) - len(rows)} more in audit.csv")
    return lines


def _duplicates_within_test(division: _Division, features: Mapping[Pair, Features]) -> list[str]:
    """Return a line about equal test images, since they count twice in the mean."""
    names = []
    for finding in equal_pairs(division.test, None, features):
        names.append(f"{finding.test.name} and {finding.training.name}")
    return [f"equal, flipped or rotated within the test part: {'; '.join(names)}"] if names else []


def _left_out(features: Iterable[Features], errors: Sequence[str]) -> list[str]:
    lines = [f"left out: {error}" for error in errors]
    small = sum(found.thumbnail is None and "clear" in found.digests for found in features)
    if small:
        lines.append(
            f"{small} clear images are strips, or smaller than {SMALLEST} pixels: "
            "only searched for equal ones"
        )
    if errors:
        lines.append(
            f"{len(errors)} images cannot be used and were left out; "
            "data/prepare.py verify names all damaged files"
        )
    return lines
