"""The options of the benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudkit.checks import require_multiple, require_not_negative
from scpm import FACTOR

Part = Literal["ceilings", "inference", "training", "shares", "large"]


@dataclass(frozen=True)
class SpeedOptions:
    """What is measured, and where."""

    parts: tuple[Part, ...] = ("ceilings", "inference", "training", "shares")
    """Sections: what the machine can do at most, restoring, training, the share of each part of the network; on request also
    large: memory and time of one image of 2048x2048 pixels on the CPU."""
    quick: bool = False
    """Small images and few repetitions: a look that takes less than a minute, not a measurement."""
    sizes: tuple[int, ...] | None = None
    """Sides of the images that are restored, in pixels, multiples of 8. Default: 256 512 1024, with --quick 128."""
    crop: int | None = None
    """Side of the training crops in pixels, a multiple of 8 from 16 on. Default: 256, with --quick 64."""
    seconds: float | None = None
    """How long each phase of training is sustained, to extrapolate the paper's schedule from; 0: not at all. Default: 60 on a
    GPU (5 with --quick), 0 elsewhere."""
    memory: bool = True
    """Measure peak memory too; on a CPU each case needs a process of its own."""
    checkpoint: Path | None = None
    """Weights of ours, for differences of outputs that mean something. Default: an untrained network; it is as fast."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    out: Path | None = None
    """A .json file for the results. Default: they are only printed."""

    def __post_init__(self) -> None:
        """Reject what cannot be measured."""
        if not self.parts:
            raise ValueError("--parts names no section, expected one or more.")
        if self.sizes is not None and (not self.sizes or any(size <= 0 or size % FACTOR for size in self.sizes)):
            raise ValueError(f"--sizes is {' '.join(map(str, self.sizes))}, expected positive multiples of {FACTOR}.")
        if self.crop is not None:
            if self.crop < 2 * FACTOR:
                raise ValueError(
                    f"--crop is {self.crop}, expected {2 * FACTOR} or more: one smaller crop is too little for BatchNorm."
                )
            require_multiple(self.crop, FACTOR)
        if self.seconds is not None:
            require_not_negative(seconds=self.seconds)
        if self.out is not None and (self.out.suffix != ".json" or self.out.is_dir()):
            raise ValueError(f"--out is {self.out}, expected a file whose name ends in .json.")

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the images that are restored."""
        return self.sizes or ((128,) if self.quick else (256, 512, 1024))

    @property
    def middle(self) -> int:
        """The side that sections use which take only one."""
        return sorted(self.sides)[len(self.sides) // 2]
