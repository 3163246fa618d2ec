"""Helpers of the tests of ThiefCloud/test.py."""

import csv
import json
from pathlib import Path

from torch import Tensor

from cloudkit.imaging.images import read_unit
from tests.helpers import TEST, run_script

NAMES = ["0", "10", "20"]  # of the fixture `scenes`


def run(pairs: Path, out: Path, *arguments: object) -> int:
    """Run the script on a folder of pairs. Returns its exit status."""
    data = ("--dataset", "folder", "--root", pairs, "--device", "cpu")
    return run_script(TEST, *data, *arguments, "--out", out)


def read(out: Path) -> tuple[dict, list[dict[str, str]]]:
    """Read the means and the scores of each image that the script wrote."""
    with (out / "metrics.csv").open(newline="") as file:
        return json.loads((out / "metrics.json").read_text()), list(csv.DictReader(file))


def read_pair(pairs: Path, name: str) -> tuple[Tensor, Tensor]:
    """Read a cloudy image and its clear one."""
    return read_unit(pairs / "cloudy" / f"{name}.png"), read_unit(pairs / "clear" / f"{name}.png")
