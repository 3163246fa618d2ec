"""Training of stage 1 on mixtures: the clear images of several datasets."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.helpers import TRAIN_CD, assert_same_state, run_script, write_images, write_pairs

SMALL = ["--preset", "quick", "--crop", 8, "--batch", 2, "--steps", 5, "--save-every", 2]
SMALL += ["--device", "cpu"]
LAND = '[[source]]\ndataset = "clear"\nfolder = "land"\nvalidate = true\n'
PAIRS = '[[source]]\ndataset = "folder"\nfolder = "pairs"\nvalidate = false\n'


def written(folder: Path, text: str) -> list[object]:
    """Write a mixture and clear images for it, and return the arguments that name it."""
    write_images(folder / "land", [f"{10 * n}.png" for n in range(4)])
    path = folder / "mixture.toml"
    path.write_text(text, encoding="utf-8")
    return ["--mixture", path, "--root", folder, *SMALL]


def test_a_mixture_gives_its_clear_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{LAND}simulated = 2\nclear = 1\n{PAIRS}pairs = 5\nsimulated = 1\n"
    arguments = written(tmp_path, text)
    write_pairs(tmp_path / "pairs", 3)
    for run in ("one", "other"):
        assert run_script(TRAIN_CD, *arguments, "--out", tmp_path / run) == 0
    shown = capsys.readouterr().out
    assert "a pass draws 6 simulated, 3 clear" in shown
    assert "a pass draws 3 simulated\n" in shown
    assert_same_state(tmp_path / "one" / "last.pt", tmp_path / "other" / "last.pt")


def test_a_clear_image_of_a_mixture_has_no_thickness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = written(tmp_path, f"{LAND}clear = 1\n")
    truths: list[torch.Tensor] = []
    l1_loss = F.l1_loss

    def keep(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        truths.append(truth)
        return l1_loss(found, truth)

    monkeypatch.setattr(F, "l1_loss", keep)
    assert run_script(TRAIN_CD, *arguments, "--out", tmp_path / "run") == 0
    assert truths
    assert not any(truth.any() for truth in truths)
