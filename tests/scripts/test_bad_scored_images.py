"""Scores of fewer images than a dataset has are refused."""

from pathlib import Path

import pytest
import torch

from tests.helpers import TEST, TEST_CD, noise, run_script, write_pairs, write_thickness_pairs
from tests.scripts.hostile import assert_named


def test_scores_of_fewer_images_are_refused(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All bad ones are named at once, before any is scored."""
    pairs = write_pairs(tmp_path / "pairs", 4)
    for name in ("10.png", "30.png"):
        (pairs / "clear" / name).write_bytes(b"no image")
    scored = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "cloudy"]
    assert run_script(TEST, *scored, "--device", "cpu", "--out", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert "nothing is done, because these cannot be used" in shown
    assert_named(shown, ["10.png", "30.png"])
    assert not (tmp_path / "out").exists()

    maps = write_thickness_pairs(tmp_path / "maps", 4)
    for name in ("10.png", "30.png"):
        (maps / "thickness" / name).write_bytes(b"no image")
    arguments = ["--pairs", maps, "--checkpoint", prior, "--device", "cpu"]
    assert run_script(TEST_CD, *arguments, "--out", tmp_path / "detected") == 2
    shown = capsys.readouterr().err
    assert "no means are written, because these were left out" in shown
    assert_named(shown, ["10.png", "30.png"])
    assert not (tmp_path / "detected" / "metrics.json").exists()


def test_too_little_memory_for_one_of_the_scored_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs", 3)

    def limited(path: Path, **options: object) -> torch.Tensor:
        if path.parent.name == "restored" and path.stem == "10":
            raise MemoryError
        return noise()

    (tmp_path / "restored").mkdir()
    for path in (pairs / "clear").iterdir():
        (tmp_path / "restored" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("cloudkit.imaging.images.read_unit", limited)
    scored = ["--dataset", "folder", "--root", pairs, "--restored", tmp_path / "restored"]
    assert run_script(TEST, *scored, "--device", "cpu", "--out", tmp_path / "out") == 2
    shown = capsys.readouterr().err
    assert "no scores are written" in shown
    assert_named(shown, ["10 needs more memory"])
    assert not (tmp_path / "out" / "metrics.json").exists()
