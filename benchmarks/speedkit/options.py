"""Options of the benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch

from cloudkit.script.checks import require_multiple, require_not_negative
from scpm import FACTOR

Part = Literal["ceilings", "inference", "training", "breakdown", "large"]
Value = TypeVar("Value")


@dataclass(frozen=True)
class SpeedOptions:
    """Options of a benchmark run: the sections, the sizes and the device."""

    parts: tuple[Part, ...] = ("ceilings", "inference", "training", "breakdown")
    """Sections to measure: the ceilings of the machine, restoring, training, and the time of each
    part of the network. On request also large: memory and time for one image of 2048x2048 pixels
    on the CPU."""
    quick: bool = False
    """Use small images and few repetitions: a look of under a minute, too short to compare."""
    sizes: tuple[int, ...] | None = None
    """Sides of the restored images in pixels, multiples of 8. Default: 256 512 1024, with --quick
    128."""
    crop: int | None = None
    """Side of the training crops in pixels, a multiple of 8, at least 16. Default: 256, with
    --quick 64."""
    seconds: float | None = None
    """Sustain each training phase for this time in seconds, to extrapolate the paper's schedule;
    0 disables it. Default: 60 on a GPU (5 with --quick), 0 elsewhere."""
    memory: bool = True
    """Measure peak memory too. On a CPU each measurement starts a process."""
    checkpoint: Path | None = None
    """Pretrained weights, for meaningful differences between outputs. Default: an untrained
    network, which is as fast."""
    device: str = "auto"
    """Device to measure: auto, cpu, cuda, cuda:1, ..."""
    out: Path | None = None
    """File for the results, which ends in .json. Default: only print them."""

    def __post_init__(self) -> None:
        """Reject options that cannot be measured."""
        if not self.parts:
            raise ValueError("--parts names no section, expected one or more.")

        if self.sizes is not None:
            valid = [size for size in self.sizes if size > 0 and size % FACTOR == 0]
            if not valid or len(valid) < len(self.sizes):
                shown = " ".join(map(str, self.sizes))
                raise ValueError(f"--sizes is {shown}, expected positive multiples of {FACTOR}.")

        if self.crop is not None:
            if self.crop < 2 * FACTOR:
                raise ValueError(
                    f"--crop is {self.crop}, expected {2 * FACTOR} or more: a single smaller crop "
                    "is too little for BatchNorm."
                )
            require_multiple(self.crop, FACTOR)

        if self.seconds is not None:
            require_not_negative(seconds=self.seconds)
        if self.out is not None and (self.out.suffix != ".json" or self.out.is_dir()):
            raise ValueError(f"--out is {self.out}, expected a file whose name ends in .json.")

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the restored images."""
        return self.sizes or ((128,) if self.quick else (256, 512, 1024))

    @property
    def middle(self) -> int:
        """Side for the sections that use only one."""
        return sorted(self.sides)[len(self.sides) // 2]

    def choose(self, device: torch.device, *, quick: Value, cpu: Value, gpu: Value) -> Value:
        """Return the value for a quick run, or else for the kind of device."""
        if self.quick:
            return quick
        return cpu if device.type == "cpu" else gpu
