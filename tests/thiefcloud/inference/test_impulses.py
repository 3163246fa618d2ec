"""Single odd pixels are found, and ground is not taken for them."""

import pytest
import torch
from torch import Tensor

from tests.helpers import land, noise
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


def filtered_plainly(images: Tensor) -> Tensor:
    """Sort all neighbours of each pixel, one pixel at a time."""
    found = images.clone()
    height, width = images.shape[-2:]
    for row in range(height):
        for column in range(width):
            rows, columns = torch.meshgrid(
                torch.arange(row - 1, row + 2).clamp(0, height - 1),
                torch.arange(column - 1, column + 2).clamp(0, width - 1),
                indexing="ij",
            )
            window = images[..., rows, columns].flatten(-2)
            around = window[..., [0, 1, 2, 3, 5, 6, 7, 8]].sort(dim=-1).values
            low, high, pixel = around[..., 1], around[..., -2], images[..., row, column]
            outside = torch.maximum(low - pixel, pixel - high)
            odd = (outside > (2 * (high - low)).clamp_min(0.15)).any(1, keepdim=True)
            median = (around[..., 3] + around[..., 4]) / 2
            found[..., row, column] = torch.where(odd, median, pixel)
    return found


@pytest.mark.parametrize("power", [1, 6])
def test_the_candidates_hold_all_odd_pixels(power: int) -> None:
    images = noise(4, bands=6, height=24, width=31).view(2, 3, 24, 31) ** power
    expected = filtered_plainly(images)
    assert (expected != images).any()
    assert torch.equal(without_impulses(images), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)])
def test_small_images(size: tuple[int, int]) -> None:
    assert without_impulses(torch.rand(2, 3, *size)).shape == (2, 3, *size)
