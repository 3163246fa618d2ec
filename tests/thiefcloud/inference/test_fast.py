"""Fast restoration: the inversion alone, with a prior that sees half the scale."""

import pytest
import torch
import torch.nn.functional as F

import thiefcloud
from cloudkit.errors import UserError
from scpm import Prior
from tests.helpers import land, noise
from tests.thiefcloud.inference.scenes import Blur, with_random_residual
from tests.thiefcloud.network.inversions import randomised
from thiefcloud import ThiefCloud, UNet, restore, restore_and_detect
from thiefcloud.inference.fast import prior_of_reduced, require_inversion
from thiefcloud.inference.restore import scene_statistics
from thiefcloud.network.overlay import uncover


@pytest.fixture(scope="module")
def model() -> ThiefCloud:
    """The released network with much behind its inversion, which fast restoration leaves out."""
    return with_random_residual()


@pytest.mark.parametrize("size", [(48, 64), (41, 57), (1, 1)])
def test_the_inversion_is_applied_to_the_pixels_themselves(
    model: ThiefCloud, size: tuple[int, int]
) -> None:
    image = 0.3 + 0.1 * noise(2, height=size[0], width=size[1])  # without odd pixels and borders
    height, width = size
    bottom, right = 16 + -height % 16, 16 + -width % 16
    mode = "reflect" if min(size) > 31 else "replicate"
    padded = F.pad(image[None], (16, right, 16, bottom), mode=mode)

    with torch.no_grad():
        small = model.prior(F.avg_pool2d(padded, 2))
        maps = [F.interpolate(part, scale_factor=2, mode="bilinear") for part in small]
        whole = uncover(model.overlay, padded, scene_statistics(model, image))
        expected = model.invert(whole, Prior(*maps))
    inside = (slice(16, 16 + height), slice(16, 16 + width))

    found, thickness = restore_and_detect(model, image, raw=True, fast=True)
    torch.testing.assert_close(found, expected[0][:, *inside], rtol=0, atol=1e-5)
    seen = maps[0][0][:, *inside].clamp(0, 1)
    torch.testing.assert_close(thickness, seen, rtol=0, atol=1e-5)


def test_even_haze_is_seen_at_half_the_scale_as_at_the_whole() -> None:
    model = thiefcloud.load("general")
    clear = land(3)
    hazy = 0.6 * clear + 0.35
    fast, full = restore(model, hazy, fast=True), restore(model, hazy)
    before = (hazy - clear).square().mean().sqrt()
    for restored in (full, fast):
        assert (restored - clear).square().mean().sqrt() < 0.6 * before


def test_maps_of_the_reduced_have_the_shapes_of_the_whole(model: ThiefCloud) -> None:
    image = noise(1, height=32, width=48)[None]
    with torch.no_grad():
        for one, other in zip(
            prior_of_reduced(model.prior, image), model.prior(image), strict=True
        ):
            assert one.shape == other.shape


def test_batches_and_flips(model: ThiefCloud) -> None:
    images = torch.stack([land(4), land(5)])
    restored = restore(model, images, fast=True)
    for number in range(2):
        one = restore(model, images[number], fast=True)
        torch.testing.assert_close(restored[number], one, rtol=0, atol=1e-4)

    square = 0.2 + 0.5 * noise(3, height=32, width=32)
    upright = restore(model, square, fast=True, flips=True)
    rotated = restore(model, torch.rot90(square, 1, (-2, -1)), fast=True, flips=True)
    torch.testing.assert_close(torch.rot90(upright, 1, (-2, -1)), rotated, rtol=0, atol=1e-4)


def test_borders_and_pixels_without_data_stay(model: ThiefCloud) -> None:
    image = land(6)
    image[:, :9], image[:, 20:30, 20:30] = 0.95, 0.0
    found, thickness = restore_and_detect(model, image, fast=True)
    stays = torch.zeros(image.shape[1:], dtype=torch.bool)
    stays[:9], stays[20:30, 20:30] = True, True
    assert torch.equal(found[:, stays], image[:, stays])
    assert not thickness[:, stays].any()
    assert (found[:, ~stays] != image[:, ~stays]).float().mean() > 0.9


def test_a_network_without_inversion_is_refused() -> None:
    for model in (Blur(), UNet(residual=True)):
        with pytest.raises(UserError, match="which this network lacks: leave out fast"):
            restore(model, torch.rand(3, 8, 8), fast=True)
    inverting = UNet(residual=True, inversion=True)
    inverting.inversion = randomised()
    require_inversion(inverting)
