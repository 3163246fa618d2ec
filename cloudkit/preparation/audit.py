"""Test images that training has seen too, searched for in a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path

from cloudkit.checks import require_apart
from cloudkit.cli import RUNS, format_table
from cloudkit.datasets import Folders, find_folder, find_named, own_parts, part_folders
from cloudkit.distributed import choose_device
from cloudkit.errors import UserError
from cloudkit.pairs import DataError, Pair
from cloudkit.preparation.duplicates import SMALLEST
from cloudkit.preparation.leaks import Finding, write_findings, write_list
from cloudkit.preparation.options import SETS, AuditOptions
from cloudkit.preparation.views import Views, compare, equal_pairs, look
from cloudkit.splits import NO_LISTS, WHOLE, Choice, Splits

_ROWS = 40  # of a table on screen


@dataclass(frozen=True)
class AuditReport:
    """What was found."""

    text: str
    """For the user: what was compared, a table, what was left out, a summary, what was written."""
    leaked: int
    """How many test images are in training too; of a set without a test part, how many images have a double in it."""


@dataclass(frozen=True)
class _Part:
    """What is compared of one data set."""

    title: str
    test: list[Pair]
    training: list[Pair]
    note: str
    prefixes: dict[Path, str]
    """What stands before a name in a list of training images, "train/" or nothing, by the folder of the cloudy images."""

    @property
    def whole(self) -> bool:
        """Whether the set has no test part: it is searched for doubles within itself."""
        return set(self.test) == set(self.training)

    def listed(self, pair: Pair) -> str:
        """A training image's name, so that it cannot be taken for a test image of the same name."""
        return self.prefixes.get(pair.cloudy.parent, "") + pair.name


def audit(options: AuditOptions) -> AuditReport:
    """Compare every test image with every training image, and write a table, pictures and lists of names.

    Of data that are published as several sets, each is audited by itself, in a folder of its own, and then across them.

    Raises:
        UserError: the data set is not found, a list cannot be used, there is nothing to compare, or results would lie among the
            images.
        OSError: the folder cannot be written.
    """
    device = choose_device(options.device)
    parts, notes = _parts(options)
    out = options.out or RUNS / "data" / f"{options.dataset}-audit"
    for folder in {path.parent for part in parts for pair in (*part.test, *part.training) for path in (pair.cloudy, pair.clear)}:
        require_apart(out, folder)
    views, unread = look([pair for part in parts for pair in (*part.test, *part.training)])
    search = partial(compare, views=views, threshold=options.threshold, device=device)
    several = options.dataset != "folder" and len(SETS[options.dataset]) > 1
    lines, leaked = [], 0
    for part in parts:
        findings = search(part.test, None if part.whole else part.training, title=part.title)
        count, conclusion = _conclude(part, findings, out / part.title if several else out, options.pictures)
        lines += [part.note, *_table(findings), *([] if part.whole else _twins(part, views)), conclusion]
        leaked += count
    if len(parts) > 1:
        lines += _across(parts, search, out / "across", options.pictures)
    return AuditReport("\n".join((*lines, *notes, *_left_out(views, unread))), leaked)


def _parts(options: AuditOptions) -> tuple[list[_Part], list[str]]:
    """What is there of the data set, divided, and a line for each member that is not there."""
    root = options.root
    if options.dataset == "folder":
        return [_divided("folder", partial(find_folder, root), own_parts(root), options.split)], []
    parts, errors = [], []
    for name in SETS[options.dataset]:
        try:
            folders = part_folders(name, root)
        except DataError as error:
            errors.append(error)
            continue
        parts.append(_divided(name, partial(find_named, name, root), folders, options.split))
    if not parts:
        raise errors[0]
    return parts, [f"not there: {error}" for error in errors]


def _divided(title: str, find: Callable[[Choice], Splits], folders: dict[str, Folders], split: Path | None) -> _Part:
    """A data set by its own split, or by a list of the test images' names; then all others are training."""
    own = find(NO_LISTS)
    test, training, note = own.test, [*own.train, *own.val], own.note
    if split is not None:
        test = find(Choice(split=split)).test
        training = [pair for pair in dict.fromkeys((*own.train, *own.val, *own.test)) if pair not in set(test)]
        note = f"{title}: {len(test)} test images named by {split}, {len(training)} others"
    for kind, pairs in (("test", test), ("training", training)):
        if not pairs:
            raise UserError(
                f"{title} has no {kind} images ({note}), so there is nothing to compare; expected both parts: name "
                "the test images with --split FILE, or put all pairs into one folder (--dataset folder) to search it for doubles."
            )
    return _Part(title, test, training, note, {both[0]: "" if part == WHOLE else f"{part}/" for part, both in folders.items()})


def _conclude(part: _Part, findings: Sequence[Finding], out: Path, pictures: int) -> tuple[int, str]:
    """Write what was found; returns the number of leaked images, and the summary."""
    names: dict[str, bool] = {}  # whether it is equal
    for finding in findings:
        for pair in (finding.test, finding.training) if part.whole else (finding.test,):
            names[pair.name] = names.get(pair.name, False) or finding.kind in ("equal", "turned")
    seen = dict.fromkeys(part.listed(finding.training) for finding in findings)
    written = [f"audit.csv, {write_findings(out, findings, pictures)} pictures"]
    what = "images that have a double in the set" if part.whole else "test images that are also in training"
    if write_list(out / "leaked.txt", f"{what} ({part.title})", [pair.name for pair in part.test if pair.name in names]):
        written.append("leaked.txt (for test.py --duplicates)")
    what = "without these, no image has a double" if part.whole else "training images that are also in the test part"
    if write_list(out / "held_out.txt", f"{what} ({part.title})", list(seen)):
        written.append("held_out.txt (for train.py --held-out)")
    else:
        written.append("no leaked.txt, for there is nothing to list")
    equal = sum(names.values())
    subject = "images have a double in the set" if part.whole else "test images are also in training"
    return len(names), (
        f"{len(names)} of {len(part.test)} {subject}: {equal} equal, {len(names) - equal} near or overlapping\n"
        f"written to {out}: {', '.join(written)}"
    )


def _across(parts: Sequence[_Part], search: Callable[..., list[Finding]], out: Path, pictures: int) -> list[str]:
    """Compare each set's test part with the training parts of the others: what a training on all of them would have seen."""
    findings = []
    for one, other in permutations(parts, 2):
        found = search(one.test, other.training, title=f"{one.title} with {other.title}")
        findings += [replace(each, test=_titled(each.test, one), training=_titled(each.training, other)) for each in found]
    shown, leaked = write_findings(out, findings, pictures), len({finding.test for finding in findings})
    tests = sum(len(part.test) for part in parts)
    return [
        *_table(findings),
        f"across the sets: {leaked} of {tests} test images are also in training of another set",
        f"written to {out}: audit.csv, {shown} pictures",
    ]


def _titled(pair: Pair, part: _Part) -> Pair:
    return replace(pair, name=f"{part.title}/{pair.name}")


def _table(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    rows = [{"no.": number, **finding.row()} for number, finding in enumerate(findings[:_ROWS], start=1)]
    more = len(findings) - len(rows)
    return [format_table(rows), *([f"... and {more} more in audit.csv"] if more else [])]


def _twins(part: _Part, views: Views) -> list[str]:
    """A line on equal pairs inside the test part: they count twice in its mean."""
    twins = [f"{twin.test.name} and {twin.training.name}" for twin in equal_pairs(part.test, None, views)]
    return [f"equal or turned within the test part: {'; '.join(twins)}"] if twins else []


def _left_out(views: Views, unread: Sequence[str]) -> list[str]:
    lines = [f"left out: {reason}" for reason in unread]
    small = sum(view.thumb is None and "clear" in view.digests for view in views.values())
    if small:
        lines.append(f"{small} clear images are strips, or smaller than {SMALLEST} pixels: only searched for equal ones")
    if unread:
        lines.append(f"{len(unread)} images cannot be used and were left out; data/prepare.py verify names all that is damaged")
    return lines
