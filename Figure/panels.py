"""Make the pictures of what the released weights do.

    python Figure/panels.py                                  # Figure/restored.png: test chips under simulated cloud
    python Figure/panels.py --scene bahamas_rgb.tif --corners 180 250 300 480 430 560 --out Figure/scene.png

bahamas_rgb.tif is a Landsat scene of public domain, in the package localtileserver (`pip download --no-deps localtileserver`).
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

import thiefcloud
from cloudkit.checks import require_positive
from cloudkit.cli import ROOT, parser, run
from cloudkit.errors import UserError
from cloudkit.images import read_unit, write_image
from cloudkit.panels import side_by_side, stacked
from thiefcloud.data import open_data
from thiefcloud.options import DataOptions
from thiefcloud.options_trained import RELEASED


@dataclass(frozen=True)
class PanelOptions:
    """What is shown."""

    checkpoint: Path = RELEASED
    """Weights of ThiefCloud."""
    scene: Path | None = None
    """An image with cloud. Default: the test chips of data/sample under fixed simulated clouds."""
    corners: tuple[int, ...] = (0, 0)
    """Row and column of the upper left corner of each part of the scene that is shown."""
    size: int = 192
    """Side of those parts in pixels."""
    rows: int = 4
    """How many chips are shown."""
    out: Path = ROOT / "Figure" / "restored.png"
    """The picture to write."""

    def __post_init__(self) -> None:
        """Reject half a corner, and pictures of nothing."""
        require_positive(size=self.size, rows=self.rows)
        if self.out.suffix.lower() != ".png":
            raise ValueError(f"--out is {self.out}, expected a name that ends in .png.")
        if not self.corners or len(self.corners) % 2:
            raise ValueError(f"--corners has {len(self.corners)} numbers, expected a row and a column for each part.")


def main(options: PanelOptions) -> None:
    """Restore, and put side by side what went in and what came out."""
    model = thiefcloud.load(options.checkpoint)
    panels = []
    for cloudy, clear in of_scene(options) if options.scene else of_chips(options.rows):
        restored, thickness = thiefcloud.restore_and_detect(model, cloudy)
        panels.append(side_by_side({"cloudy": cloudy, "thickness": thickness, "restored": restored, "clear": clear}))
    write_image(options.out, stacked(panels))
    print(f"written to {options.out}")


def of_chips(rows: int) -> list[tuple[Tensor, Tensor | None]]:
    """Test chips under their simulated clouds, and without."""
    return [(scene.cloudy, scene.truth) for scene in islice(open_data(DataOptions()).test, rows)]


def of_scene(options: PanelOptions) -> list[tuple[Tensor, Tensor | None]]:
    """Parts of a scene. Raises UserError where one does not lie in it."""
    assert options.scene is not None
    image = read_unit(options.scene)
    parts: list[tuple[Tensor, Tensor | None]] = []
    for top, left in zip(options.corners[::2], options.corners[1::2], strict=True):
        part = image[:, top : top + options.size, left : left + options.size]
        if min(top, left) < 0 or part.shape[1:] != torch.Size((options.size, options.size)):
            height, width = image.shape[1:]
            raise UserError(f"a part of {options.size} pixels at {top} {left} does not lie in {options.scene}, {height}x{width}.")
        parts.append((part, None))
    return parts


if __name__ == "__main__":
    run(main, parser(PanelOptions, __doc__))
