"""Odd pixels of training pairs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from thiefcloud.data.odd import lay_odd_pixels


def laid(seed: int, size: tuple[int, int] = (96, 128)) -> tuple[Tensor, Tensor, Tensor]:
    """Return odd pixels, and the pair with them."""
    cloudy, clear = torch.rand(2, 3, *size)
    odd_cloudy, odd_clear = lay_odd_pixels(cloudy, clear, np.random.default_rng(seed))
    odd = (odd_cloudy != cloudy).any(0)
    assert torch.equal(odd_cloudy[:, odd], odd_clear[:, odd])
    assert torch.equal(odd_clear[:, ~odd], clear[:, ~odd])
    return odd, odd_cloudy, odd_clear


@pytest.mark.parametrize("seed", range(30))
def test_few_pixels_are_odd_and_alike_in_both_images(seed: int) -> None:
    odd, cloudy, _ = laid(seed)
    assert 0 < odd.sum() < 0.16 * odd.numel()  # a frame of 4 pixels covers 14 % of this image
    assert cloudy.min() >= 0
    assert cloudy.max() <= 1


def test_every_kind_is_drawn() -> None:
    full_lines, spots = 0, 0
    for seed in range(30):
        odd, _, _ = laid(seed)
        if odd.all(0).any() or odd.all(1).any():
            full_lines += 1
        else:
            spots += 1
    assert full_lines > 4
    assert spots > 8


def test_equal_seeds_draw_equal_pixels() -> None:
    cloudy, clear = torch.rand(2, 3, 40, 40)
    one, other = (lay_odd_pixels(cloudy, clear, np.random.default_rng(4)) for _ in range(2))
    assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 40)])
def test_small_images(size: tuple[int, int]) -> None:
    for seed in range(12):
        cloudy, clear = torch.rand(2, 3, *size)
        for image in lay_odd_pixels(cloudy, clear, np.random.default_rng(seed)):
            assert image.shape == (3, *size)
