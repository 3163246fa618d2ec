"""Options of the export of networks."""

from dataclasses import dataclass
from pathlib import Path

from cloudkit.script.checks import require_positive
from cloudkit.script.command_line import RUNS
from scpm import FACTOR
from thiefcloud.inference.options import GENERAL, Weights


@dataclass(frozen=True)
class ExportOptions:
    """Network to export, and the file to write."""

    checkpoint: Weights = GENERAL
    """Weights: the name of released ones, a best.pt of ThiefCloud/train.py, a file of the official
    code, or any of SCPM. Default: general."""
    out: Path = RUNS / "model.onnx"
    """File to write; its name ends in .onnx."""
    tile: int | None = None
    """Only size that the file shall take, in pixels, for QGIS: one input, one output. Default: any
    size."""
    resolution: float = 1000
    """Ground that a pixel covers, in centimetres, for QGIS, which scales images to it."""
    licence: str | None = None
    """Terms of use that the file states. Default: those of the released weights."""

    def __post_init__(self) -> None:
        """Reject other kinds of files and sizes."""
        if self.out.suffix.lower() != ".onnx":
            raise ValueError(f"--out {self.out} does not end in .onnx, expected such a name.")
        if self.out.is_dir():
            raise ValueError(f"--out {self.out} is a folder, expected the name of a file.")

        require_positive(resolution=self.resolution)
        if self.tile is not None and (self.tile <= 0 or self.tile % FACTOR):
            example = max(1, self.tile // FACTOR) * FACTOR
            raise ValueError(
                f"--tile is {self.tile}, expected a positive multiple of {FACTOR}, for example "
                f"{example}."
            )
