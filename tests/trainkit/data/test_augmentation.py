"""Random changes of scale and colour of clear ground."""

import pytest
import torch
from torch import Tensor

from trainkit.data.augmentation import augment_ground


@pytest.fixture
def ground() -> Tensor:
    """Twenty images of smooth ground with a ramp from left to right."""
    ramp = torch.linspace(0.2, 0.6, 48).expand(20, 3, 40, 48)
    return ramp + 0.02 * torch.rand(20, 3, 40, 48, generator=torch.Generator().manual_seed(1))


def test_a_fraction_changes_and_the_rest_stays(ground: Tensor) -> None:
    before = ground.clone()
    some = augment_ground(ground, range(20), 0.5)
    every = augment_ground(ground, range(20), 1.0)
    assert torch.equal(ground, before), "the images given stay as they are"

    changed = (some != ground).flatten(1).any(1)
    assert 4 <= changed.sum() <= 16
    torch.testing.assert_close(some, torch.where(changed[:, None, None, None], every, ground))
    assert (every != ground).flatten(1).any(1).all()


def test_results_are_images_that_depend_on_their_seed_alone(ground: Tensor) -> None:
    every = augment_ground(ground, range(20), 1.0)
    assert every.shape == ground.shape
    assert float(every.min()) >= 0
    assert float(every.max()) <= 1
    torch.testing.assert_close(augment_ground(ground[7:8], [7], 1.0), every[7:8])
    assert not torch.allclose(augment_ground(ground[7:8], [8], 1.0), every[7:8], atol=0.01)


def test_scale_and_colour_vary(ground: Tensor) -> None:
    """The ramp gets steeper or flatter, and the bands differ in brightness."""
    every = augment_ground(ground, range(20), 1.0)
    spread = every.amax((1, 2, 3)) - every.amin((1, 2, 3))
    assert spread.max() > 1.5 * spread.min()
    bands = every.mean((2, 3))
    assert (bands.amax(1) - bands.amin(1)).mean() > 0.05


def test_gray_ground_keeps_its_order_of_brightness() -> None:
    """Dark stays darker than bright, in each band."""
    image = torch.linspace(0.1, 0.9, 32).expand(8, 3, 32, 32).transpose(2, 3)
    for result in augment_ground(image, range(8), 1.0):
        rows = result.mean(2)
        assert (rows[:, -1] - rows[:, 0]).abs().min() > 0.05


def test_small_and_odd_sizes() -> None:
    images = torch.rand(6, 3, 8, 9, generator=torch.Generator().manual_seed(2))
    assert augment_ground(images, range(6), 1.0).shape == images.shape
