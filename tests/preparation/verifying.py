"""Datasets to verify, and the results."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloudkit.imaging.images import write_image
from preparation.options import VerifyOptions
from preparation.verification import VerifyReport, verify
from tests.helpers import noise, write_images

KINDS = ("damaged", "odd", "stray", "duplicate", "unpaired", "changed", "missing", "extra")


def filled(root: Path) -> Path:
    """Give every empty image below a folder pixels of its own."""
    for index, path in enumerate(sorted(root.rglob("*.png"))):
        write_image(path, noise(index))
    return root


def check(dataset: str, root: Path, **named: Any) -> VerifyReport:
    return verify(VerifyOptions(dataset, root, **named))


def problems(report: VerifyReport) -> list[str]:
    return [line for line in report.text.splitlines() if line.split(":")[0] in KINDS]


def damage(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path


def own(root: Path, names: Iterable[str] = ("0.png", "1.png", "2.png", "3.png")) -> Path:
    for kind in ("cloudy", "clear"):
        write_images(root / kind, names)
    return root
