"""The options of data/prepare.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cloudkit.checks import require_positive
from cloudkit.cli import ROOT
from cloudkit.datasets import NamedSet

SetName = Literal["rice1", "rice2", "satehaze1k", "tcloud", "cuhk-cr"]
SETS: dict[SetName, tuple[NamedSet, ...]] = {  # as they are published together, and as --dataset of train.py names them
    "rice1": ("rice1",),
    "rice2": ("rice2",),
    "satehaze1k": ("satehaze1k-thin", "satehaze1k-moderate", "satehaze1k-thick"),
    "tcloud": ("tcloud",),
    "cuhk-cr": ("cuhk-cr1", "cuhk-cr2"),
}


@dataclass(frozen=True)
class GetOptions:
    """Fetch a data set and unpack it, or say how a person can."""

    dataset: tyro.conf.Positional[SetName]
    """The data set."""
    root: Path = ROOT / "data"
    """Folder that shall hold the data set's folder. Default: data/ in the repository."""
    archive: Path | None = None
    """A zip archive that was fetched before: unpack this one."""


@dataclass(frozen=True)
class SetOptions:
    """Which data set, and where it lies."""

    dataset: tyro.conf.Positional[SetName | Literal["folder"]]
    """The data set; "folder": your own pairs, as --dataset folder of train.py takes them."""
    root: Path = ROOT / "data"
    """The data set's folder or one above it. Default: data/ in the repository."""


@dataclass(frozen=True)
class VerifyOptions(SetOptions):
    """Read every file of a data set and name what is damaged, odd or without a partner."""

    manifest: Path | None = None
    """A list of SHA-256 sums, as verify writes it, that the files are compared with."""
    out: Path | None = None
    """Where to write the list of SHA-256 sums. Default: runs/data/DATASET.sha256 in the repository."""


@dataclass(frozen=True)
class AuditOptions(SetOptions):
    """Search for test images that training has seen too: equal ones, and near or overlapping ones."""

    split: Path | None = None
    """List of the test images' names, one a line, instead of the set's own split; all others count as training."""
    threshold: float = 0.75
    """Correlation from which two clear images count as showing the same place: of what both show, in detail, up to brightness and
    contrast, at 256 pixels. Unrelated images stay below 0.65, overlapping crops of one picture reach 0.95."""
    out: Path | None = None
    """Folder for the table, the pairs' pictures and the lists of names. Default: runs/data/DATASET-audit in the repository."""
    pictures: int = 100
    """How many pairs to write as pictures, the most doubtful ones first; -1: all."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        require_positive(threshold=self.threshold)
        if self.threshold > 1:
            raise ValueError(f"--threshold is {self.threshold}, expected a correlation: more than 0, 1 at most.")


PrepareOptions = (
    Annotated[GetOptions, tyro.conf.subcommand("get")]
    | Annotated[VerifyOptions, tyro.conf.subcommand("verify")]
    | Annotated[AuditOptions, tyro.conf.subcommand("audit")]
)
