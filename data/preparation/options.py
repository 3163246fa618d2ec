"""Options of data/prepare.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cloudkit.script.checks import require_positive
from cloudkit.script.command_line import ROOT
from cloudkit.script.peak import PeakOptions
from preparation.sets import SetName


@dataclass(frozen=True)
class GetOptions:
    """Download a dataset, unpack it and verify it, or say how to do so by hand."""

    dataset: tyro.conf.Positional[SetName]
    """Dataset to get."""
    root: Path = ROOT / "data"
    """Folder to put the dataset's folder into. Default: data/ in the repository."""
    archive: Path | None = None
    """Zip archive to unpack instead of downloading one. Default: none."""


@dataclass(frozen=True)
class SetOptions:
    """Options of a dataset on disk."""

    dataset: tyro.conf.Positional[SetName | Literal["folder"]]
    """Dataset to read, or "folder" for your own pairs, as in train.py."""
    root: Path = ROOT / "data"
    """Folder of the dataset, or one above it. Default: data/ in the repository."""


@dataclass(frozen=True)
class VerifyOptions(SetOptions):
    """Read every file of a dataset, and report damaged, odd and unpaired ones."""

    manifest: Path | None = None
    """List of SHA-256 checksums that verify wrote, to compare the files with. Default: none."""
    out: Path | None = None
    """List of SHA-256 checksums to write. Default: runs/data/DATASET.sha256 in the repository, or
    none with --manifest."""


@dataclass(frozen=True)
class AuditOptions(SetOptions, PeakOptions):
    """Search for test images that are also in training: equal, near or overlapping ones."""

    split: Path | None = None
    """List of test images, one name a line; all others count as training. Default: the dataset's
    own split."""
    threshold: float = 0.75
    """Correlation from which two clear images show the same place, above 0 and at most 1. It
    compares details of the overlap at 256 pixels, at any brightness and contrast. Unrelated images
    stay below 0.65, overlapping crops of one image reach 0.95."""
    out: Path | None = None
    """Folder for the table and the lists of names. Default: runs/data/DATASET-audit
    in the repository."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject a threshold that is no correlation."""
        super().__post_init__()
        require_positive(threshold=self.threshold)
        if self.threshold > 1:
            raise ValueError(
                f"--threshold is {self.threshold}, expected a correlation, which is at most 1."
            )


PrepareOptions = (
    Annotated[GetOptions, tyro.conf.subcommand("get")]
    | Annotated[VerifyOptions, tyro.conf.subcommand("verify")]
    | Annotated[AuditOptions, tyro.conf.subcommand("audit")]
)
