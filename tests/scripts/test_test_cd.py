"""Scoring of stage 1: thickness maps of images, pairs and simulated clouds."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import scpm
import scpm.paths
from cloudkit.imaging.images import read_image, read_unit
from tests.helpers import ROOT, TEST_CD, run_script, write_images, write_thickness_pairs


def test_maps_of_your_own_images(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    write_images(images / "town", ["a.png"], height=5, width=9)
    write_images(images, ["b.tif"], bands=1)
    arguments = ["--images", images, "--checkpoint", prior, "--device", "cpu", "--out", out]
    assert run_script(TEST_CD, *arguments) == 0
    assert "correlation" not in capsys.readouterr().out

    files = [path.relative_to(out).as_posix() for path in out.rglob("*.*")]
    assert sorted(files) == ["thickness/b.png", "thickness/town_a.png"]
    thickness = read_image(out / "thickness" / "town_a.png", bands=1)
    assert thickness.dtype == torch.uint16
    expected = scpm.detect(scpm.load(prior), read_unit(images / "town" / "a.png"))
    torch.testing.assert_close(thickness / 65535, expected, rtol=0, atol=1e-5)


def double(image: Tensor) -> np.ndarray:
    return image.numpy().astype(np.float64)


@pytest.mark.parametrize("folders", [("cloudy", "thickness"), ("T_Simulated", "T_Cmask")])
def test_error_of_maps(tmp_path: Path, prior: Path, folders: tuple[str, str]) -> None:
    pairs, out = write_thickness_pairs(tmp_path / "pairs", 3, folders=folders), tmp_path / "out"
    arguments = ["--pairs", pairs, "--checkpoint", prior, "--device", "cpu", "--out", out]
    assert run_script(TEST_CD, *arguments) == 0

    errors, correlations = [], []
    for path in sorted((pairs / folders[1]).iterdir()):
        truth = double(read_unit(path, bands=1))
        cloudy = read_unit(pairs / folders[0] / path.name)
        found = double(scpm.detect(scpm.load(prior), cloudy))
        errors.append(np.abs(found - truth).mean())
        correlations.append(np.corrcoef(found.flatten(), truth.flatten())[0, 1])
    assert json.loads((out / "metrics.json").read_text()) == {
        "count": 3,
        "peak": None,
        "weights": hashlib.sha256(prior.read_bytes()).hexdigest(),
        "mae": pytest.approx(np.mean(errors), abs=1e-6),
        "correlation": pytest.approx(np.mean(correlations), abs=1e-5),
    }
    for folder in ("thickness", "panels"):
        assert len(list((out / folder).iterdir())) == 3


def test_fixed_clouds_over_clear_images(chips: Path, tmp_path: Path, prior: Path) -> None:
    arguments = ["--clear", chips, "--checkpoint", prior, "--device", "cpu"]
    scores = []
    for out in ("one", "other"):
        assert run_script(TEST_CD, *arguments, "--out", tmp_path / out) == 0
        scores.append(json.loads((tmp_path / out / "metrics.json").read_text()))
    assert scores[0] == scores[1]
    assert scores[0]["count"] == 2  # of test/ alone
    assert {path.stem for path in (tmp_path / "one" / "thickness").iterdir()} == {"a", "b"}


def test_default_weights_are_those_of_the_own_run_else_the_released_ones(
    tmp_path: Path, prior: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, trained = tmp_path / "images", tmp_path / "best.pt"
    write_images(images, ["a.png"])
    monkeypatch.setattr(scpm.paths, "TRAINED_PRIOR", trained)
    arguments = ["--images", images, "--device", "cpu", "--out", tmp_path / "out"]
    assert run_script(TEST_CD, *arguments) == 0
    assert f"checkpoint: {ROOT / 'checkpoints' / 'scpm.safetensors'}" in capsys.readouterr().out

    trained.write_bytes(prior.read_bytes())
    assert run_script(TEST_CD, *arguments) == 0
    assert f"checkpoint: {trained}" in capsys.readouterr().out
