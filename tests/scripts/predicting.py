"""Runs of predict.py, for several files of tests."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED
from tests.cloudkit.imaging.test_streaming import CHANGED
from tests.helpers import PREDICT, run_script


def predict(checkpoint: Path, *arguments: object) -> int:
    """Run predict.py on the CPU, and return its exit status."""
    return run_script(PREDICT, *arguments, "--checkpoint", checkpoint, "--device", "cpu")


def files(folder: Path) -> list[str]:
    """Return all files below a folder."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def differences(source: Path, result: Path, *, tiled: bool = False) -> list[str]:
    """List what a result says differently, after it has said what made it.

    Args:
        source: the image.
        result: the restored image.
        tiled: leave out what blocks change.
    """
    found = geotiffs.differences(source, result)
    if tiled:
        found = [line for line in found if not line.startswith(CHANGED)]
    own = [line for line in found if line.startswith("tags 0 THIEFCLOUD: None")]
    assert len(own) == 1
    return [line for line in found if line not in own]


def scene(path: Path, count: int = 4, *, rim: bool = True, **options: Any) -> np.ndarray:
    """Write a scene of four tiles, usually with a rim without data."""
    pixels = geotiffs.ramp("uint16", count, 500, 9000, height=40)
    pixels = np.concatenate((pixels, pixels[::-1]), 1)
    if rim:
        pixels[:, 50:] = 0
    described = {"nodata": 0, "descriptions": [f"B{band:02}" for band in range(1, count + 1)]}
    tags = {"": {"QUANTIFICATION_VALUE": "10000"}}
    geotiffs.write(path, pixels, **PLACED, **{"tags": tags} | described | options)
    return pixels
