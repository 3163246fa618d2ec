"""Single odd pixels are found, and ground is not taken for them."""

import pytest
import torch

from tests.helpers import land
from thiefcloud.inference.impulses import without_impulses


@pytest.mark.parametrize("value", [0.0, 0.01, 1.0])
def test_odd_pixels_become_like_their_neighbours(value: float) -> None:
    image = land(1)[None]
    random = torch.Generator().manual_seed(0)
    odd = torch.rand(1, 1, *image.shape[-2:], generator=random) < 0.01
    far = (image - value).abs().amax(1, keepdim=True) > 0.5  # from ground that is much like them
    odd &= far
    assert odd.sum() > 30
    found = without_impulses(torch.where(odd, value, image))

    error = (found - image).abs().amax(1, keepdim=True)
    assert (error[odd] < 0.1).float().mean() > 0.9
    assert torch.equal(found[(~odd).expand_as(found)], image[(~odd).expand_as(image)])


def test_ground_stays_as_it_is() -> None:
    image = land(2)[None]
    assert (without_impulses(image) != image).float().mean() < 0.001
    noise = torch.rand(1, 3, 64, 64)
    assert (without_impulses(noise) != noise).float().mean() < 0.03


def test_lines_and_edges_stay() -> None:
    image = torch.full((1, 3, 32, 32), 0.3)
    image[..., 10, :] = 0.9
    image[..., 20:] = 0.7
    image[..., 25:27, 5:9] = 0.0
    assert torch.equal(without_impulses(image), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)])
def test_small_images(size: tuple[int, int]) -> None:
    assert without_impulses(torch.rand(2, 3, *size)).shape == (2, 3, *size)
