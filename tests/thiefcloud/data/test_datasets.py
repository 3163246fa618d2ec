from pathlib import Path

import pytest
import torch

from tests.helpers import write_images, write_pairs
from thiefcloud.data.datasets import open_data
from thiefcloud.data.options import DataOptions
from trainkit.data.pairs import DataError


@pytest.fixture
def land(tmp_path: Path) -> Path:
    """Five clear images."""
    write_images(tmp_path / "land", [f"{name}.png" for name in "abcde"])
    return tmp_path / "land"


def test_clear_images_are_both_input_and_truth(land: Path) -> None:
    data = open_data(DataOptions(dataset="clear", root=land))
    assert [scene.name for scene in data.test] == list("abcde")
    assert all(torch.equal(scene.cloudy, scene.truth) for scene in data.test)
    assert all(pair.cloudy == pair.clear and not pair.simulated for pair in data.train)


def test_simulated_clouds_cover_them(land: Path) -> None:
    data = open_data(DataOptions(dataset="simulated", root=land))
    assert [scene.name for scene in data.test] == list("abcde")
    assert not any(torch.equal(scene.cloudy, scene.truth) for scene in data.test)
    assert all(pair.simulated for pair in data.train)
    assert len(data.train) + len(data.val) == 5
    assert data.note.endswith("(4 train, 1 val, 5 test), clouds simulated")


def test_pairs_are_not_taken_for_clear_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds pairs of cloudy and clear images"):
        open_data(DataOptions(dataset="clear", root=write_pairs(tmp_path / "pairs", 2)))
