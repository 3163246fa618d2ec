"""Relation of the protocols on whole sets of images."""

import os
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from cloudkit.imaging.images import read_unit
from tests.trainkit.scoring.references import EXACT, SIX_DB, scene
from trainkit.scoring.protocols import score


def assert_pattern(means: dict[str, dict[str, float]]) -> None:
    """Assert how protocols relate: official 6 dB up, Y more than 1.3 dB up, pooled SSIM high."""
    plain = means["plain"]
    assert means["dehazeformer"]["psnr"] == pytest.approx(plain["psnr"], abs=1e-9)
    assert means["thiefcloud"]["psnr"] == pytest.approx(plain["psnr"] + SIX_DB, abs=1e-9)
    assert means["matlab-y"]["psnr"] > plain["psnr"] + 1.3
    assert (
        plain["ssim_gaussian"] + 0.02 < means["dehazeformer"]["ssim"] < means["thiefcloud"]["ssim"]
    )
    assert plain["ssim_gaussian"] < means["matlab-y"]["ssim"] < means["dehazeformer"]["ssim"]


def means_over(pairs: list[tuple[Tensor, Tensor]]) -> dict[str, dict[str, float]]:
    """Return the mean scores of each exact protocol."""
    means: dict[str, dict[str, float]] = {}
    for name in EXACT:
        rows = [score(name, *pair) for pair in pairs]
        means[name] = {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}
    return means


def test_the_pattern_on_generated_images() -> None:
    means = means_over([scene(512, seed=seed) for seed in range(2)])
    assert_pattern(means)
    assert means["plain"]["ssim"] > means["plain"]["ssim_gaussian"]


@pytest.mark.skipif(
    "THIEFCLOUD_DATA" not in os.environ, reason="THIEFCLOUD_DATA names no folder of real images"
)
def test_the_pattern_on_thick_haze() -> None:
    """Stretch each band of the cloudy images to mean and deviation of the clear one."""
    root = Path(os.environ["THIEFCLOUD_DATA"]) / "SateHaze1k_thick_512"
    pairs = []
    for path in sorted((root / "cloudy").iterdir()):
        cloudy, clear = read_unit(path), read_unit(root / "clear" / path.name)
        mean, deviation = cloudy.mean((1, 2), keepdim=True), cloudy.std((1, 2), keepdim=True)
        unit = (cloudy - mean) / deviation
        mean, deviation = clear.mean((1, 2), keepdim=True), clear.std((1, 2), keepdim=True)
        pairs.append(((unit * deviation + mean).clamp(0, 1), clear))

    assert_pattern(means_over(pairs))
