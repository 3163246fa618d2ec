"""Options of predict.py, and the names of weights that all scripts take."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cloudkit.script.checks import require_pixels
from cloudkit.script.command_line import RUNS
from cloudkit.script.peak import PeakOptions
from cloudkit.shares import Share, share_of_task
from thiefcloud.inference.released import RELEASED
from thiefcloud.inference.scenes import SMALLEST

GENERAL = RELEASED["general"].path
# File of weights, or the name of released ones, which the help lists.
Weights = Annotated[Path, tyro.conf.arg(help_behavior_hint=f"(released: {', '.join(RELEASED)})")]


@dataclass(frozen=True)
class PredictOptions(PeakOptions):
    """Images of your own to restore."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Images, and folders of images."""
    checkpoint: Weights = GENERAL
    """Weights: the name of released ones, a best.pt of ThiefCloud/train.py, or a file of the
    official code. Default: general."""
    onnx: Path | None = None
    """Network that export.py wrote, in place of --checkpoint. onnxruntime computes it on the
    CPU."""
    out: Path = RUNS / "predict"
    """Folder for the restored images. TIFF stays TIFF, JPEG 2000 becomes TIFF, and all others
    become PNG."""
    flips: bool = False
    """Restore all eight flipped and rotated forms of each image and take the mean: a little better,
    eight times slower."""
    blend: bool = False
    """Restore only under cloud: keep pixels bit-equal up to the thickness 0.08, and restore them
    wholly from 0.2 on. Clear images hardly change; even, thin haze is removed less."""
    fast: bool = False
    """Restore by what stands before the network alone, gain and offset from coarse to fine: about
    seven times faster, and a little worse. It needs weights with an inversion, as the released ones
    are."""
    thickness: bool = False
    """Write thickness maps too, as NAME_thickness.png: 16-bit gray, 0 clear, 65535 opaque. Those of
    a GeoTIFF are a GeoTIFF at its place."""
    layer: bool = False
    """Write a correction instead of a restored TIFF: NAME_gain.tif, NAME_offset.tif, and NAME.vrt,
    which lets GDAL and QGIS show gain * source + offset, equal to the restored values. The gain is
    that of the inversion; the offset holds all else. Takes no --flips and no --onnx."""
    bands: tuple[int, ...] = ()
    """Numbers of the bands of red, green and blue in files with more than three, from 1, such as
    4 3 2; or of one gray band. All other bands are kept as they are."""
    scale: tuple[float, float] | None = None
    """Stored values that mean black and white, instead of --peak. Default: what a file says of its
    values (Sentinel-2's quantification and offset, GDAL's scale), else as for --peak."""
    tile: int | None = None
    """Side in pixels of the tiles that larger images are restored in. Default: one pass up to 4
    megapixels, or at any size with --flips and --onnx; above, 640 (1536 with --fast) or what fits
    in free memory."""
    cog: bool = False
    """Write TIFF files as Cloud Optimized GeoTIFF."""
    overwrite: bool = False
    """Restore images again whose results exist. Default: they are kept."""
    dry_run: bool = False
    """Only say of each image its size, type, scale, no-data, tiles, expected time and memory."""
    share: str | None = None
    """Part I/N of the images, from 1/N to N/N, for several machines that may write into one --out.
    Default: that of the task in a job array of Slurm, AWS Batch or Kubernetes (JOB_COMPLETION_INDEX
    and JOB_COMPLETIONS); else all."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if self.bands and (len(self.bands) not in (1, 3) or min(self.bands) < 1):
            raise ValueError(
                f"--bands is {' '.join(map(str, self.bands))}, expected the numbers of three bands "
                "(red, green, blue) or one (gray), from 1."
            )
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(
                f"--bands names a band twice ({' '.join(map(str, self.bands))}), expected three "
                "different ones."
            )
        if self.scale is not None:
            if self.peak is not None:
                raise ValueError("--scale and --peak both name white; leave one of them out.")
            if not (self.scale[0] < self.scale[1] and all(map(math.isfinite, self.scale))):
                raise ValueError(
                    f"--scale is {self.scale[0]:g} {self.scale[1]:g}, expected two finite numbers, "
                    "the smaller one first."
                )
        require_pixels(SMALLEST, tile=self.tile)
        if self.tile is not None:
            for name in ("flips", "onnx"):
                if getattr(self, name):
                    raise ValueError(
                        f"--{name} restores each image in one pass, without tiles; leave out "
                        f"--tile {self.tile}, or --{name}."
                    )
        for name in ("flips", "onnx"):
            if self.layer and getattr(self, name):
                raise ValueError(
                    f"--layer holds the gain of one pass of a network; leave out --{name}, or "
                    "--layer."
                )
        if not self.inputs:
            raise ValueError(
                "no inputs are given, expected at least one image or folder to restore."
            )
        if self.share is not None:
            Share.parse(self.share)

        if self.onnx and self.fast:
            raise ValueError(
                f"--fast computes a part of a network, and --onnx {self.onnx} has none; leave out "
                "--fast, or name the --checkpoint that was exported."
            )
        if self.onnx and self.checkpoint != GENERAL:
            raise ValueError(
                f"--onnx {self.onnx} and --checkpoint {self.checkpoint} are two networks; name one."
            )

    def share_or_task(self) -> Share | None:
        """Return the part of the images to restore. None for all."""
        return Share.parse(self.share) if self.share else share_of_task(os.environ)

    @property
    def changing(self) -> tuple[str, ...]:
        """Names of the options that change restored pixels."""
        return tuple(name for name in ("flips", "blend", "fast") if getattr(self, name))

    @property
    def beside(self) -> tuple[str, ...]:
        """Ends of the names of the files beside each restored one."""
        names = ("_thickness",) if self.thickness else ()
        return (*names, "_gain", "_offset") if self.layer else names

    @property
    def weights(self) -> Path:
        """File that holds the network."""
        return self.onnx or self.checkpoint
