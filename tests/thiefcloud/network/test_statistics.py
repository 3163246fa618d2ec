"""Inputs of overlay and inversion."""

import numpy as np
import pytest
import torch

from scpm import SCPM
from thiefcloud.network.statistics import cell_statistics, guide, image_statistics, trimmed


def test_image_statistics_are_those_of_numpy() -> None:
    images = torch.rand(2, 4, 17, 31)
    found = image_statistics(images)
    assert found.shape == (2, 7, 9)

    pixels = images.flatten(2).double().numpy()
    pixels = np.concatenate((pixels, pixels[:, :-1] - pixels[:, 1:]), axis=1)
    quantiles = np.quantile(pixels, [0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98], axis=2)
    pixels = pixels.clip(quantiles[0][..., None], quantiles[-1][..., None])
    np.testing.assert_allclose(trimmed(images, found).flatten(2).numpy(), pixels[:, :4], atol=1e-6)
    expected = np.stack((pixels.mean(2), pixels.std(2), *quantiles), axis=2)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_hundredth_of_odd_pixels_changes_little(value: float) -> None:
    images = 0.3 + 0.2 * torch.rand(1, 3, 100, 100)
    odd = images.clone()
    odd[..., 40, :] = value
    difference = image_statistics(odd) - image_statistics(images)
    assert 0 < difference.abs().max() < 0.005


def test_a_large_image_is_sampled() -> None:
    ramp = torch.linspace(0, 1, 1000).expand(1, 1, 1000, 1000)
    expected = torch.tensor([0.5, (1 / 12) ** 0.5])
    torch.testing.assert_close(image_statistics(ramp)[0, 0, :2], expected, rtol=0, atol=0.005)


def test_cell_statistics_by_hand() -> None:
    images = torch.rand(2, 3, 16, 24)
    found = cell_statistics(images)
    assert found.shape == (2, 12, 4, 6)

    cell = images[1, 2, 8:12, 20:24]
    expected = torch.stack((cell.mean(), cell.std(correction=0), cell.min(), cell.max()))
    torch.testing.assert_close(found[1, 2::3, 2, 5], expected, rtol=0, atol=1e-5)


def test_the_guide_holds_thickness_and_features_of_each_cell() -> None:
    images = torch.rand(1, 3, 32, 40)
    prior = SCPM().eval()(images)
    found = guide(prior)
    assert found.shape == (1, 37, 8, 10)

    torch.testing.assert_close(found[0, 0, 3, 4], prior.thickness[0, 0, 12:16, 16:20].mean())
    torch.testing.assert_close(found[0, 1:13, 3, 4], prior.full[0, :, 12:16, 16:20].mean((1, 2)))
    torch.testing.assert_close(found[0, 13:25, 3, 4], prior.half[0, :, 6:8, 8:10].mean((1, 2)))
    assert torch.equal(found[0, 25:], prior.quarter[0])
