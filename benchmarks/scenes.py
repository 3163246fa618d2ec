"""Measure what whole scenes cost: seconds and memory from file to file, in tiles and in one pass.

    python benchmarks/scenes.py                             # hours on a CPU
    python benchmarks/scenes.py --sides 2000                # minutes
    python benchmarks/scenes.py --most 4 --fast --out scenes.json

Scenes of four bands of 16 bits are generated in a temporary folder; TMPDIR names another place. The
largest takes up to 3 GB there with its results. Each case runs in a process of its own. One pass is
left out where it does not fit in memory. benchmarks/README.md explains the columns.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.scenekit.cases import SceneCase, measure
from benchmarks.scenekit.generated import write_scene
from benchmarks.speedkit.measuring import describe_machine
from benchmarks.speedkit.tables import markdown
from cloudkit.files import write_json
from cloudkit.script.checks import require_pixels, require_positive
from cloudkit.script.command_line import parser, run_script
from thiefcloud.inference.options import GENERAL, Weights
from thiefcloud.inference.released import path_of
from thiefcloud.inference.scenes import SMALLEST


@dataclass(frozen=True)
class ScenesOptions:
    """Scenes to measure."""

    sides: tuple[int, ...] = (2000, 5000, 10000)
    """Rows and columns of the scenes in pixels."""
    tile: int = 640
    """Side of the tiles in pixels."""
    most: int | None = None
    """Number of tiles that the network restores, spread evenly. The others are written as they were
    read, and the time of the network is extrapolated. Default: all."""
    fast: bool = False
    """Restore by the inversion alone, as `restore_scene` with fast=True."""
    whole: bool = True
    """Restore in one pass, too, where that fits in memory."""
    checkpoint: Weights = GENERAL
    """Weights: the name of released ones, or a file."""
    out: Path | None = None
    """File for the results, which ends in .json. Default: only print them."""

    def __post_init__(self) -> None:
        """Reject sizes that cannot be measured."""
        if not self.sides:
            raise ValueError("--sides is empty, expected at least one side in pixels.")
        require_pixels(SMALLEST, sides=min(self.sides), tile=self.tile)
        if self.most is not None:
            require_positive(most=self.most)
        if self.out is not None and (self.out.suffix != ".json" or self.out.is_dir()):
            raise ValueError(f"--out is {self.out}, expected a file whose name ends in .json.")


def main(options: ScenesOptions) -> None:
    """Generate and restore each scene, print the table, and write the results."""
    machine = describe_machine(torch.device("cpu"))
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)

    rows: list[dict[str, Any]] = []
    for side in options.sides:
        with TemporaryDirectory() as folder:
            scene = Path(folder) / "scene.tif"
            write_scene(scene, side)
            for tile in (options.tile, None) if options.whole else (options.tile,):
                out = Path(folder) / "restored.tif"
                weights = path_of(options.checkpoint)
                most = None if tile is None else options.most
                case = SceneCase(scene, out, side, tile, most, options.fast, weights)
                rows.append(measure(case))
                print(rows[-1], flush=True)

    print(f"\n{markdown(rows)}")
    if options.out is not None:
        write_json(options.out, {"machine": machine, "fast": options.fast, "scenes": rows})
        print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    run_script(main, parser(ScenesOptions, __doc__))
