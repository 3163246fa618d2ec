"""Options of programs that restore one scene from file to file by several processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

from cloudkit.checkpoints import require_rgb
from cloudkit.folders import writing_to
from cloudkit.imaging.raster import open_image
from cloudkit.imaging.selection import select
from cloudkit.processes import choose_device
from cloudkit.script.checks import require_not_negative, require_pixels, require_positive
from cloudkit.script.peak import PeakOptions
from thiefcloud.inference.options import GENERAL, Weights
from thiefcloud.inference.planning import ScenePlan
from thiefcloud.inference.provenance import Run, run_of
from thiefcloud.inference.rasters import RasterSource, RasterTarget
from thiefcloud.inference.released import path_of
from thiefcloud.inference.scene_files import Work, restore_file
from thiefcloud.inference.scenes import SMALLEST
from thiefcloud.inference.weights import load
from thiefcloud.network.base import RemovalNetwork


@dataclass(frozen=True)
class SceneOptions(PeakOptions):
    """A scene to restore."""

    scene: tyro.conf.Positional[Path]
    """Image file."""
    out: tyro.conf.Positional[Path]
    """File to write, as TIFF."""
    checkpoint: Weights = GENERAL
    """Weights, as for predict.py."""
    bands: tuple[int, ...] = ()
    """Numbers of the bands of red, green and blue, as for predict.py."""
    tile: int = 512
    """Side of the tiles in pixels."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""
    workers: int = 2
    """Number of processes that restore tiles."""
    gpus: float = 0
    """GPUs of each."""

    def __post_init__(self) -> None:
        """Reject files, tiles and numbers of workers that cannot be."""
        super().__post_init__()
        if self.out.suffix.lower() not in (".tif", ".tiff"):
            raise ValueError(f"--out is {self.out}, expected a file whose name ends in .tif.")
        if self.out.exists() and self.scene.exists() and self.out.samefile(self.scene):
            raise ValueError(
                f"--out {self.out} is the scene itself and would be replaced; name another file."
            )
        require_pixels(SMALLEST, tile=self.tile)
        require_positive(workers=self.workers)
        require_not_negative(gpus=self.gpus)

    def load(self) -> RemovalNetwork:
        """Load the network on its device."""
        return require_rgb(load(self.checkpoint), self.checkpoint).to(choose_device(self.device))

    @contextmanager
    def open(self, run: Run | None = None) -> Iterator[RasterTarget]:
        """Open the scene as the source of its target, which keeps finished tiles.

        Args:
            run: what restores it, for the process that joins the tiles.
        """
        with open_image(self.scene) as file:
            selection = select(file.properties, self.scene, bands=self.bands, peak=self.peak)
            yield RasterTarget(self.out, RasterSource(file, selection), run=run)

    def restore(self, work: Work) -> None:
        """Measure the scene, let `work` restore its tiles, and join them; see `restore_file`.

        The file equals that of predict.py with the same tiles, which may go on with a run of this.
        """
        model = self.load()
        run = run_of(model, path_of(self.checkpoint))
        with writing_to(self.out.parent), self.open(run) as target:
            restore_file(model, target, ScenePlan(target.source, self.tile), work=work)
