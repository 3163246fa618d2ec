"""Training batches of the prior."""

from pathlib import Path

import pytest
import torch

from cloudkit.processes import Processes
from scpm.batches import Batch, PriorCrops
from scpm.data import open_prior_data
from scpm.options import PriorTrainOptions
from tests.helpers import write_images
from trainkit.data.sampling import StepSampler

ALONE = Processes(0, 1, torch.device("cpu"))


def one_pass(root: Path, *, opaque: float = 0.0, augment: float = 0.0) -> Batch:
    """Return one pass over the clear images of a folder as one batch."""
    data = open_prior_data(PriorTrainOptions(clear=root))
    crops = PriorCrops(data, crop=32, store="host", processes=ALONE, opaque=opaque, augment=augment)
    sampler = StepSampler(len(crops), len(crops), seed=1, phase=0, processes=ALONE)
    return crops.__getitems__(sampler.batch_at(0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve clear images."""
    write_images(tmp_path, [f"{name}.png" for name in "abcdefghijkl"], height=40, width=36)
    return tmp_path


def test_opaque_clouds_have_the_thickness_1(root: Path) -> None:
    cloudy, thickness = one_pass(root, opaque=1.0)
    assert thickness.amax((1, 2, 3)).median() > 0.97
    assert 0 <= thickness.min() < 0.7
    assert thickness.max() <= 1
    opaque = thickness[:, 0] > 0.99
    assert opaque.any()
    assert cloudy.movedim(1, -1)[opaque].mean() > 0.6, "clouds are bright"

    plain = one_pass(root)
    some = one_pass(root, opaque=0.5)
    covered = (some[1] != plain[1]).flatten(1).any(1)
    assert covered.any()
    assert not covered.all()
    assert torch.equal(some[0][~covered], plain[0][~covered])


def test_augmented_ground_keeps_its_cloud(root: Path) -> None:
    plain, augmented = one_pass(root), one_pass(root, augment=1.0)
    torch.testing.assert_close(plain[1], augmented[1])
    assert not torch.allclose(plain[0], augmented[0], atol=0.05)


def test_thickness_pairs_are_not_augmented(root: Path) -> None:
    with pytest.raises(ValueError, match="--augment changes clear images, and --pairs has none"):
        PriorTrainOptions(pairs=root, augment=0.5)
