"""What is done with trained weights: the options of test.py, compare.py and predict.py."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from cloudkit.checks import require_apart, require_positive
from cloudkit.cli import ROOT, RUNS
from cloudkit.scoring.comparison import UNTOUCHED, Format
from cloudkit.scoring.measures import MeasureName
from cloudkit.scoring.protocols import Protocol
from thiefcloud.options import OUT, DataOptions

RELEASED = ROOT / "checkpoints" / "thiefcloud-general.safetensors"


@dataclass(frozen=True)
class TestOptions(DataOptions):
    """How ThiefCloud, or what another method restored, is scored."""

    checkpoint: Path = field(default_factory=lambda: OUT / "best.pt" if (OUT / "best.pt").exists() else RELEASED)
    """Weights: released ones, a best.pt of ThiefCloud/train.py, or a file of the official code. Default: runs/thiefcloud/best.pt
    if it is there, else the released checkpoints/thiefcloud-general.safetensors."""
    flips: bool = False
    """Restore all eight mirrored and turned forms of each image and take the mean: a little better, eight times slower."""
    restored: Path | None = None
    """Score the images in this folder, named as the pairs are, instead of running a network."""
    baseline: Literal["dark-channel"] | None = None
    """Score a method that needs no training instead of a network; dark-channel: the dark channel prior with guided filter."""
    method: str | None = None
    """What the method is called in tables. Default: the name of --baseline, or the path of --checkpoint or --restored."""
    protocol: Protocol | Literal["all"] = "plain"
    """How PSNR and SSIM are computed; plain is always reported beside any other. ThiefCloud/SCORES.md says what each does."""
    measures: tuple[MeasureName, ...] = ()
    """More measures: mae, mean absolute difference; sam, spectral angle in degrees; ergas, relative error over the bands in
    percent; lpips, perceptual distance (needs the extra lpips)."""
    duplicates: Path | None = None
    """List of test images that training has seen too, as leaked.txt of an audit: means without them are added."""
    versus: Path | None = None
    """metrics.csv of another run on the same images: adds the mean differences and their 95 % intervals."""
    out: Path = RUNS / "test"
    """Folder for metrics.json, metrics.csv, restored images and panels; files of equal name are replaced."""
    panels: int = 12
    """How many panel pictures (cloudy, thickness, restored, clear) to write, from the first image on; -1: all."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if self.dataset in ("simulated", "clear"):  # folders that are searched through and through
            require_apart(self.out, self.root)
        if self.method == UNTOUCHED:
            raise ValueError(f"--method {UNTOUCHED} is the name of the cloudy images in tables; choose another.")
        if self.baseline and self.restored:
            raise ValueError(f"--baseline {self.baseline} and --restored {self.restored} are two methods; score one at a time.")
        if self.flips and (self.baseline or self.restored):
            raise ValueError("--flips is for networks; leave it out with --baseline and --restored.")

    @property
    def title(self) -> str:
        """What the method is called in tables."""
        if self.method:
            return self.method
        return "dark channel prior" if self.baseline else str(self.restored or self.checkpoint)


@dataclass(frozen=True)
class CompareOptions:
    """Which results are put into one table."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files metrics.json that test.py wrote."""
    format: Format = "markdown"
    """How the table is written."""
    protocol: Protocol | Literal["all"] = "all"
    """Only the scores under this protocol."""
    intervals: bool = False
    """Add the 95 % intervals of the means."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        if not self.files:
            raise ValueError("no files are given, expected at least one metrics.json of test.py.")


@dataclass(frozen=True)
class PredictOptions:
    """Which images of one's own are restored, and where to."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Images, and folders of images."""
    checkpoint: Path = RELEASED
    """Weights: released ones, a best.pt of ThiefCloud/train.py, or a file of the official code."""
    out: Path = RUNS / "predict"
    """Folder for the restored images; those of 8 bits, and gray ones, become PNG (TIFF stays TIFF), colour of 16 bits TIFF."""
    flips: bool = False
    """Restore all eight mirrored and turned forms of each image and take the mean: a little better, eight times slower."""
    thickness: bool = False
    """Write thickness maps too, as NAME_thickness.png: 16-bit gray, 0 clear, 65535 opaque."""
    peak: float | None = None
    """Stored value that means 1 (white). Default: 255 for 8 bits, 65535 for 16; 10000 is usual for reflectance."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        if not self.inputs:
            raise ValueError("no inputs are given, expected at least one image or folder to restore.")
        if self.peak is not None:
            require_positive(peak=self.peak)
