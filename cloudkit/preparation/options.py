"""The options of data/prepare.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cloudkit.checks import require_positive
from cloudkit.cli import ROOT

SetName = Literal["rice1", "rice2", "satehaze1k", "tcloud", "cuhk-cr"]


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
    threshold: float = 0.9
    """Correlation of the clear images, at a small scale, from which two count as near duplicates."""
    out: Path | None = None
    """Folder for the table, the pairs' pictures and the list of the leaked names. Default: runs/data/DATASET-audit."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        require_positive(threshold=self.threshold)


PrepareOptions = (
    Annotated[GetOptions, tyro.conf.subcommand("get")]
    | Annotated[VerifyOptions, tyro.conf.subcommand("verify")]
    | Annotated[AuditOptions, tyro.conf.subcommand("audit")]
)
