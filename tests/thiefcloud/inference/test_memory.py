"""Memory that the restoration of a scene takes, from file to file."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scenekit.generated import write_scene
from tests.helpers import ROOT

pytest.importorskip("resource", reason="peaks of memory are read on Unix alone")
RESTORE = """
import resource, sys
from pathlib import Path
from cloudkit.imaging import gdal
gdal._OPTIONS["GDAL_CACHEMAX"] = 2**24  # else a small scene does not fill it, and a large one does
from cloudkit.imaging.raster import open_image
from cloudkit.imaging.selection import select
from tests.thiefcloud.inference.scenes import Blur
from thiefcloud.inference.planning import ScenePlan
from thiefcloud.inference.rasters import RasterSource, RasterTarget
from thiefcloud.inference.scene_files import restore_file

path, tile = Path(sys.argv[1]), int(sys.argv[2])
with open_image(path) as file:
    source = RasterSource(file, select(file.properties, path, bands=(3, 2, 1)))
    target = RasterTarget(path.with_name("out.tif"), source)
    restore_file(Blur(), target, ScenePlan(source, tile))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
UNIT = 1024 if sys.platform != "darwin" else 1  # bytes of the numbers of the system


def peak(folder: Path, side: int, tile: int) -> int:
    """Return the peak in bytes of a process that restores a scene."""
    folder.mkdir()
    write_scene(folder / "scene.tif", side)
    command = [sys.executable, "-c", RESTORE, str(folder / "scene.tif"), str(tile)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) * UNIT


def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    """Four times the pixels take less memory than they would take unpacked."""
    small, large = (peak(tmp_path / str(side), side, tile=256) for side in (2600, 5200))
    assert large - small < 10 * (5200**2 - 2600**2)  # bytes; the file itself has 8 a pixel
