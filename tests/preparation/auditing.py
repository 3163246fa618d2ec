"""Datasets with duplicates to audit, and the results."""

import csv
from pathlib import Path
from typing import Any

from torch import Tensor

from cloudkit.imaging.images import write_image
from preparation.audit import AuditReport, audit
from preparation.options import AuditOptions
from tests.preparation.scenes import scene

SIZE = 64
WIDE = scene(1, 2 * SIZE, 2 * SIZE)


def write_pair(
    root: Path, name: str, clear: Tensor, cloudy: Tensor | None = None, *, suffix: str = ".png"
) -> None:
    write_image(root / "clear" / f"{name}{suffix}", clear)
    write_image(
        root / "cloudy" / f"{name}{suffix}", 0.5 * clear + 0.4 if cloudy is None else cloudy
    )


def other(seed: int) -> Tensor:
    """A place that no other image shows."""
    return scene(seed + 10, SIZE, SIZE)


def run(root: Path, **options: Any) -> AuditReport:
    out = root.parent / "out"
    return audit(AuditOptions("folder", root, out=out, device="cpu", **options))


def table(out: Path) -> list[dict[str, str]]:
    with (out / "audit.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def titles(out: Path) -> list[str]:
    """Return the titles in the first lines of the lists of names."""
    found = []
    for name in ("leaked.txt", "held_out.txt"):
        first, *_ = (out / name).read_text().splitlines()
        found.append(first.removeprefix("# Written by data/prepare.py audit: "))
    return found
