"""Stage 1's training on mixtures: the clear images of several data sets."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.helpers import TRAIN_CD, assert_same_state, run_script, write_images, write_pairs

SMALL = ["--preset", "quick", "--crop", 8, "--batch", 2, "--steps", 5, "--save-every", 2, "--device", "cpu"]


def test_a_mixture_gives_its_clear_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "land", [f"{10 * n}.png" for n in range(4)])
    write_pairs(tmp_path / "pairs", 3)
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "clear"\nfolder = "land"\nsimulated = 2\nclear = 1\nvalidate = true\n'
        '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 5\nsimulated = 1\nvalidate = false\n',
        encoding="utf-8",
    )
    arguments = ["--mixture", tmp_path / "mixture.toml", "--root", tmp_path, *SMALL]
    for run in ("one", "other"):
        assert run_script(TRAIN_CD, *arguments, "--out", tmp_path / run) == 0
    shown = capsys.readouterr().out
    assert "a pass draws 6 simulated, 3 clear" in shown
    assert "a pass draws 3 simulated\n" in shown
    assert_same_state(tmp_path / "one" / "last.pt", tmp_path / "other" / "last.pt")


def test_a_clear_image_of_a_mixture_has_no_thickness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "land", [f"{10 * n}.png" for n in range(4)])
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "clear"\nfolder = "land"\nclear = 1\nvalidate = true\n', encoding="utf-8"
    )
    truths: list[torch.Tensor] = []
    l1_loss = F.l1_loss

    def keep(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        truths.append(truth)
        return l1_loss(found, truth)

    monkeypatch.setattr(F, "l1_loss", keep)
    arguments = ["--mixture", tmp_path / "mixture.toml", "--root", tmp_path, *SMALL, "--out", tmp_path / "run"]
    assert run_script(TRAIN_CD, *arguments) == 0
    assert truths
    assert not any(truth.any() for truth in truths)
