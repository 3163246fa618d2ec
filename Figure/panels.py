"""Make pictures of restorations by the released weights.

    python Figure/panels.py    # Figure/restored.png: test chips under simulated cloud
    python Figure/panels.py --scene bahamas_rgb.tif --corners 180 250 300 480 430 560 --out FILE

The scene bahamas_rgb.tif is a Landsat image of public domain from the package localtileserver:
`pip download --no-deps localtileserver`.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import require_rgb
from cloudkit.errors import UserError
from cloudkit.imaging.images import read_unit, write_image
from cloudkit.imaging.panels import side_by_side, stacked
from cloudkit.script.checks import require_positive
from cloudkit.script.command_line import ROOT, parser, run_script
from thiefcloud.data.datasets import open_data
from thiefcloud.data.options import DataOptions
from thiefcloud.inference.released import RELEASED


@dataclass(frozen=True)
class PanelOptions:
    """Options of the pictures: the weights and the images."""

    checkpoint: Path = RELEASED["general"].path
    """Weights of ThiefCloud."""
    scene: Path | None = None
    """Image with cloud. Default: the test chips of data/sample under fixed simulated clouds."""
    corners: tuple[int, ...] = (0, 0)
    """Row and column of the upper left corner of each part of the scene, in pixels."""
    size: int = 192
    """Side of those parts in pixels."""
    rows: int = 4
    """Number of chips."""
    out: Path = ROOT / "Figure" / "restored.png"
    """Picture to write; its name ends in .png."""

    def __post_init__(self) -> None:
        """Reject incomplete corners and empty pictures."""
        require_positive(size=self.size, rows=self.rows)
        if self.out.suffix.lower() != ".png":
            raise ValueError(f"--out is {self.out}, expected a name that ends in .png.")
        if not self.corners or len(self.corners) % 2:
            raise ValueError(
                f"--corners has {len(self.corners)} numbers, expected a row and a column for each "
                "part."
            )


def main(options: PanelOptions) -> None:
    """Restore the images, and show input and output side by side."""
    if options.scene is not None:
        images = crop_scene(options.scene, options.corners, options.size)
    else:
        chips = islice(open_data(DataOptions()).test, options.rows)
        images = [{"cloudy": chip.cloudy, "clear": chip.truth} for chip in chips]

    model = require_rgb(thiefcloud.load(options.checkpoint), options.checkpoint)
    panels = []
    for image in images:
        restored, thickness = thiefcloud.restore_and_detect(model, image["cloudy"])
        shown = {"cloudy": image["cloudy"], "thickness": thickness, "restored": restored}
        panels.append(side_by_side({**shown, "clear": image.get("clear")}))

    write_image(options.out, stacked(panels))
    print(f"written to {options.out}")


def crop_scene(scene: Path, corners: tuple[int, ...], size: int) -> list[dict[str, Tensor]]:
    """Return parts of a scene. Raises UserError if a part does not lie in it."""
    image = read_unit(scene)
    height, width = image.shape[1:]

    parts = []
    for top, left in zip(corners[::2], corners[1::2], strict=True):
        if not (0 <= top <= height - size and 0 <= left <= width - size):
            raise UserError(
                f"a part of {size} pixels at {top} {left} does not lie in {scene}, "
                f"{height}x{width}. Choose other --corners or a smaller --size."
            )
        parts.append({"cloudy": image[:, top : top + size, left : left + size]})
    return parts


if __name__ == "__main__":
    run_script(main, parser(PanelOptions, __doc__))
