"""Options of the scripts that score: test.py and compare.py."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from cloudkit.script.checks import require_apart
from cloudkit.script.command_line import RUNS
from thiefcloud.data.options import DataOptions
from thiefcloud.inference.options import GENERAL, Weights
from thiefcloud.paths import OUT
from trainkit.scoring.comparison import UNTOUCHED, Format
from trainkit.scoring.measures import MeasureNames
from trainkit.scoring.protocols import Protocol

_OF_NETWORKS = ("flips", "blend", "fast")  # options that change what a network restores


def default_checkpoint() -> Path:
    """Return the user's own trained weights, or the released general ones if there are none."""
    own = OUT / "best.pt"
    return own if own.exists() else GENERAL


@dataclass(frozen=True)
class TestOptions(DataOptions):
    """Scoring of ThiefCloud, or of images that another method restored."""

    checkpoint: Weights = field(default_factory=default_checkpoint)
    """Weights: the name of released ones, a best.pt of ThiefCloud/train.py, or a file of the
    official code. Default: runs/thiefcloud/best.pt if it exists, else general."""
    flips: bool = False
    """Restore all eight flipped and rotated forms of each image and take the mean: a little better,
    eight times slower."""
    blend: bool = False
    """Restore only under cloud: keep pixels bit-equal up to the thickness 0.08, and restore them
    wholly from 0.2 on. Clear images hardly change; even, thin haze is removed less."""
    fast: bool = False
    """Restore by what stands before the network alone, as predict.py --fast does."""
    restored: Path | None = None
    """Folder of restored images to score, named as the pairs are, instead of a network's. --peak
    holds for them too, but not for 8 bits, which test.py itself writes, nor for floats in [0, 1].
    """
    baseline: Literal["dark-channel"] | None = None
    """Method without training to score instead of a network. dark-channel: the dark channel prior
    with guided filter."""
    method: str | None = None
    """Name of the method in tables. Default: the name of --baseline, or the path of --checkpoint or
    --restored, with --flips, --blend and --fast if they are given."""
    protocol: Protocol | Literal["all"] = "plain"
    """Rules for PSNR and SSIM, which ThiefCloud/SCORES.md explains. plain is always reported beside
    any other."""
    measures: MeasureNames = ()
    """More metrics to report."""
    duplicates: Path | None = None
    """List of test images that are also in training, as leaked.txt of an audit; adds means without
    them."""
    versus: Path | None = None
    """metrics.csv of another run on the same images; adds the mean differences and their 95 %
    intervals."""
    out: Path = RUNS / "test"
    """Folder for metrics.json, metrics.csv, restored images and panels; overwrites files of equal
    name."""
    panels: int = 12
    """Number of panel pictures (cloudy, thickness, restored, clear) to write, from the first image
    on; -1: all."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if self.dataset in ("simulated", "clear"):  # their folders are searched recursively
            require_apart(self.out, self.root)
        if self.method == UNTOUCHED:
            raise ValueError(
                f"--method {UNTOUCHED} is the name of the cloudy images in tables; choose another."
            )

        if self.baseline and self.restored:
            raise ValueError(
                f"--baseline {self.baseline} and --restored {self.restored} are two methods; score "
                "one at a time."
            )
        given = [name for name in _OF_NETWORKS if getattr(self, name)]
        if self.checkpoint != default_checkpoint():
            given.append("checkpoint")
        if given and (self.baseline or self.restored):
            raise ValueError(
                f"--{given[0]} is for networks; leave it out with --baseline and --restored."
            )

    @property
    def title(self) -> str:
        """Name of the method in tables."""
        if self.method:
            return self.method
        if self.baseline:
            return "dark channel prior"
        changing = [name for name in _OF_NETWORKS if getattr(self, name)]
        return ", ".join([str(self.restored or self.checkpoint), *changing])


@dataclass(frozen=True)
class CompareOptions:
    """Results to put into one table."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files metrics.json that test.py wrote."""
    format: Format = "markdown"
    """Format of the table."""
    protocol: Protocol | Literal["all"] = "all"
    """Protocol whose scores are shown."""
    intervals: bool = False
    """Add the 95 % intervals of the means."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        if not self.files:
            raise ValueError("no files are given, expected at least one metrics.json of test.py.")
