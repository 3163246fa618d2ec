"""The comparison of real and simulated clouds."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloud_statistics import CLASSES, cloud_statistics
from cloudkit.imaging.images import write_image
from scpm import CloudOptions, simulate_clouds
from tests.helpers import ROOT, run_script
from trainkit.data.scenes import Scene

SCRIPT = ROOT / "experiments/compare_clouds.py"


def ground(seed: int, side: int = 96) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 0.1 + 0.3 * torch.rand(3, side, side, generator=random)


def under(opacity: Tensor, colour: tuple[float, float, float] = (0.9, 0.9, 0.9)) -> Scene:
    """Return a pair under a cloud of an opacity (H, W) and a colour."""
    clear = ground(1, opacity.shape[-1])
    return Scene("a", torch.lerp(clear, torch.tensor(colour)[:, None, None], opacity), clear)


def test_an_even_veil_has_one_class_and_no_slope() -> None:
    found = cloud_statistics(under(torch.full((96, 96), 0.4)))
    assert found["middle"] > 0.99
    assert sum(found[name] for name in CLASSES) == pytest.approx(1, abs=1e-6)
    assert found["brightness"] == pytest.approx(0.9, abs=0.05)
    assert abs(found["blue excess"]) < 0.02
    assert found["sharpness"] < 0.02


def test_a_hard_edge_is_sharper_than_a_soft_one() -> None:
    column = torch.linspace(-1, 1, 96)
    hard, soft = (torch.sigmoid(column * s)[None].expand(96, 96) * 0.6 for s in (40.0, 5.0))
    assert (
        cloud_statistics(under(hard))["sharpness"] > 3 * cloud_statistics(under(soft))["sharpness"]
    )


def test_a_bluish_cloud_shows_its_colour() -> None:
    veil = torch.full((96, 96), 0.4)
    blue, red = under(veil, (0.8, 0.85, 0.9)), under(veil, (0.9, 0.85, 0.8))
    assert cloud_statistics(blue)["blue excess"] == pytest.approx(0.1 / 0.85, abs=0.03)
    assert cloud_statistics(red)["blue excess"] == pytest.approx(-0.1 / 0.85, abs=0.03)


def test_smoother_clouds_have_a_steeper_spectrum() -> None:
    clear = ground(2, 128)
    slopes = []
    for slope in (2.0, 4.0):
        options = CloudOptions(slope=(slope, slope), even_fraction=0, opacity=(0.6, 0.6))
        rows = []
        for seed in range(6):
            cloudy = simulate_clouds(clear[None], [seed], options).cloudy[0]
            rows.append(cloud_statistics(Scene("a", cloudy, clear))["slope"])
        slopes.append(sum(rows) / len(rows))
    assert slopes[1] > slopes[0] + 0.5


def test_a_clear_image_has_no_colour_of_a_cloud() -> None:
    found = cloud_statistics(Scene("a", ground(3), ground(3)))
    assert found["clear"] == 1
    assert math.isnan(found["blue excess"])


def test_the_script_compares_both_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        clear = ground(number, 64)
        write_image(tmp_path / "set/clear" / f"{number}.png", clear)
        write_image(tmp_path / "set/cloudy" / f"{number}.png", 0.7 * clear + 0.27)
    out = tmp_path / "out.json"
    options = ("--root", tmp_path / "set", "--out", out, "--clouds.even-fraction", 1)
    assert run_script(SCRIPT, *options) == 0
    assert "| statistic" in capsys.readouterr().out

    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["real"]["brightness"]["mean"] == pytest.approx(0.9, abs=0.06)
    assert found["options"]["clouds"]["even_fraction"] == 1
    assert set(found["real"]) == set(found["simulated"])


def test_pairs_without_cloud_are_reported_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        for part in ("clear", "cloudy"):
            write_image(tmp_path / "set" / part / f"{number}.png", ground(number, 64))
    out = tmp_path / "out.json"
    thin = ("--clouds.opacity", 0, 0)
    assert run_script(SCRIPT, "--root", tmp_path / "set", "--out", out, *thin) == 0
    assert re.search(r"\| brightness +\| - +\| - +\|", capsys.readouterr().out)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["real"]["brightness"] is None


def test_clear_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(SCRIPT, "--dataset", "clear", "--root", tmp_path) == 2
    assert "--dataset clear holds no cloud" in capsys.readouterr().err
