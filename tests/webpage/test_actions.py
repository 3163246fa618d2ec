"""Answers of the page, without a browser."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cloudkit.imaging.images import write_image
from scpm import SCPM
from tests.helpers import noise
from thiefcloud import ThiefCloud
from thiefcloud.inference.provenance import Run
from webpage.options import PageOptions, Work
from webpage.work import take

gr = pytest.importorskip("gradio")
actions = pytest.importorskip("webpage.actions")


def test_another_image_chosen_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first result is not shown, and leaves no file."""
    torch.manual_seed(0)
    upload, root = tmp_path / "a.png", tmp_path / "users"
    root.mkdir()
    write_image(upload, noise(height=40, width=50))
    model = ThiefCloud(SCPM()).eval()
    page = actions.Actions(model, Run("weights.pt", ""), PageOptions(), root, ())
    work = take(upload, root, megapixels=1)
    restore, chosen = actions.restore, []

    def interrupted(*arguments: Any) -> Any:
        chosen.extend(page.upload(work, str(upload), "", ""))  # removes the files of the first
        work.folder.mkdir()  # as the writing of a tile does
        work.source.write_bytes(upload.read_bytes())
        finished = restore(*arguments)
        work.source.unlink()
        return finished

    monkeypatch.setattr(actions, "restore", interrupted)
    answers = page.restore(work, "", "", gr.Progress())
    assert all(answer == gr.skip() for answer in answers)
    second: Work = chosen[0]
    assert list(root.iterdir()) == [second.folder]
    assert second.source.exists()
