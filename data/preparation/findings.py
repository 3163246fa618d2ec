"""Findings of an audit, written as a table and as lists of names."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudkit.files import write_text
from trainkit.data.pairs import Pair

Kind = Literal["equal", "turned", "near", "overlapping"]  # turned: flipped or rotated
Role = Literal["clear", "cloudy"]
# fmt: off
COLUMNS = (
    "kind", "test", "training", "images", "transform", "correlation", "right", "down", "overlap",
)
# fmt: on
_HEADER = "# Written by data/prepare.py audit: "


@dataclass(frozen=True)
class Finding:
    """A test image and a training image that are equal or show the same place."""

    kind: Kind
    """Kind of the finding."""
    test: Pair
    """Pair of the test image."""
    training: Pair
    """Pair of the training image."""
    images: tuple[tuple[Role, Role], ...]
    """Roles of the test and of the training images that match."""
    transform: str = ""
    """Flip and rotation of the training image, such as "flipped, rotated by 90"."""
    correlation: float = 1.0
    """Correlation of the overlap, 1 for equal pixels."""
    right: int = 0
    """Pixels by which the place lies further right in the test image than in the training image."""
    down: int = 0
    """Pixels by which the place lies further down in the test image."""
    overlap: float = 1.0
    """Fraction of the smaller image that both show."""

    def row(self) -> dict[str, str]:
        """Return the finding as a row of the table."""
        images = []
        for role, other in self.images:
            images.append(role if role == other else f"{role} as {other}")
        return {
            "kind": self.kind,
            "test": self.test.name,
            "training": self.training.name,
            "images": ", ".join(images),
            "transform": self.transform,
            "correlation": f"{self.correlation:.3f}",
            "right": str(self.right),
            "down": str(self.down),
            "overlap": f"{self.overlap:.2f}",
        }


def write_findings(out: Path, findings: Sequence[Finding]) -> None:
    """Write audit.csv with a row for each finding."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for finding in findings:
        writer.writerow(finding.row())
    write_text(out / "audit.csv", table.getvalue())


def write_list(path: Path, title: str, names: Sequence[str]) -> bool:
    """Write a list for `trainkit.data.splits.read_names`, and return whether there is one.

    Without names, the list of an earlier audit is removed.
    """
    if names:
        write_text(path, "\n".join((f"{_HEADER}{title}", *names, "")))
    elif path.is_file() and path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER):
        path.unlink()
    return bool(names)
