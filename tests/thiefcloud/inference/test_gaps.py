"""Pixels without data are filled, in tiles as in one pass over the whole."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers import noise
from tests.thiefcloud.inference.scenes import empty_target, scene, with_random_residual
from thiefcloud import restore_and_detect
from thiefcloud.inference.gaps import REACH, without_gaps
from thiefcloud.inference.scenes import restore_scene
from thiefcloud.inference.tiles import ArraySource


def gapped(height: int = 150, width: int = 170) -> Tensor:
    """A scene with a diagonal corner without data, round holes, and single pixels."""
    image = scene(height, width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    image[:, rows + 0.8 * columns < 100] = 0
    for row, column, radius in ((90, 120, 14), (64, 128, 5), (130, 40, 9), (20, 150, 1)):
        image[:, (rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 0
    image[:, 100:103, 100:103], image[:, 101, 101] = 0, 0.5  # ground among no data
    return image


@pytest.mark.parametrize("tile", [64, 96])
def test_tiles_equal_the_whole_beside_pixels_without_data(tile: int) -> None:
    model, image = with_random_residual(), gapped()
    source, invalid = ArraySource(image.numpy()), ~image.any(0)
    target = empty_target(source)
    restore_scene(model, source, target, tile=tile)
    assert target.thickness is not None

    restored, thickness = restore_and_detect(model, image)
    found = torch.from_numpy(target.pixels), torch.from_numpy(target.thickness)
    torch.testing.assert_close(found, (restored, thickness), rtol=0, atol=1e-5)
    assert (restored[:, ~invalid] != image[:, ~invalid]).float().mean() > 0.9
    for one in (restored, thickness):
        assert not one[:, invalid].any()


def test_only_gaps_are_filled_from_the_ground_beside_them() -> None:
    image = gapped()
    filled = without_gaps(image[None])[0]
    valid = image.any(0)
    assert torch.equal(filled[:, valid], image[:, valid])
    for band, values in zip(filled, image[:, valid], strict=True):
        assert values.min() - 1e-6 <= band.min() <= band.max() <= values.max() + 1e-6
    assert torch.equal(without_gaps(filled[None])[0], filled)


def test_beyond_the_reach_is_the_mean() -> None:
    image = torch.zeros(1, 3, 8, 100)
    image[..., :10] = 0.1 + 0.8 * noise(height=8, width=10)
    filled = without_gaps(image)
    mean = image[..., :10].mean((2, 3), keepdim=True)
    torch.testing.assert_close(filled[..., 10 + REACH :], mean.expand(1, 3, 8, 58))
    assert (filled[..., 10 : 10 + REACH] != mean).all()
    given = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    filled = without_gaps(image, given)
    assert torch.equal(filled[..., 10 + REACH :], given.expand(1, 3, 8, 58))


def test_a_window_with_the_reach_around_it_is_enough() -> None:
    image = gapped()
    whole = without_gaps(image[None])
    mean = whole[:, :, :1, :1]  # the corner is beyond the reach
    part = without_gaps(image[None, :, 20:130, 30:140], mean)
    inner = part[..., REACH:-REACH, REACH:-REACH]
    expected = whole[..., 20 + REACH : 130 - REACH, 30 + REACH : 140 - REACH]
    torch.testing.assert_close(inner, expected, rtol=0, atol=1e-6)


def test_an_image_without_any_data_stays() -> None:
    image = torch.zeros(3, 40, 40)
    restored, thickness = restore_and_detect(with_random_residual(), image)
    assert not restored.any()
    assert not thickness.any()


def test_a_gap_costs_little_beside_it() -> None:
    """A network that sees black pixels there darkens or brightens the ground around them."""
    model = with_random_residual()
    image = scene(96, 96).clamp_min(0.1)
    expected = restore_and_detect(model, image)[0]
    image[:, 40:56, 40:56] = 0
    found = restore_and_detect(model, image)[0]
    rim = np.s_[:, 32:64, 32:64]
    difference = (found - expected)[rim][image[rim].any(0).expand(3, -1, -1)]
    assert difference.square().mean().sqrt() < 0.02
