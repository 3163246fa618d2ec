"""Guided inversion: gain and offset at each place, before the network begins."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scpm import SCPM, CloudOptions, simulate_clouds
from tests.thiefcloud.network.inversions import nothing, randomised
from thiefcloud import ThiefCloud, restore
from thiefcloud.network.inversion import Inversion, total_gain
from thiefcloud.network.statistics import (
    CELL,
    cell_statistics,
    fill,
    guide,
    has_data,
    image_statistics,
)

GRAY = CloudOptions(
    angstrom=(0.0, 0.0),
    tint=0.0,
    blueness=(0.0, 0.0),
    patchy_brightness=(0.9, 0.9),
    opacity=(0.3, 0.8),
)


def ground(count: int, seed: int, size: int = 64) -> Tensor:
    """Clear land: dark texture with bright spots."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=random)
    coarse = F.interpolate(coarse, scale_factor=8)
    return 0.35 * coarse * torch.rand(count, 3, size, size, generator=random)


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (64, 136)])
def test_untrained_it_changes_nothing_without_a_prior(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(Inversion()(images, nothing(images)), images, rtol=0, atol=1e-6)


def test_the_scattering_model_is_inverted_with_the_estimated_maps() -> None:
    inversion, images = randomised(), torch.rand(2, 3, 40, 72)
    prior = nothing(images)._replace(thickness=torch.rand(2, 1, 40, 72))
    estimate = inversion.estimate(cell_statistics(images), guide(prior), image_statistics(images))
    assert estimate.shape == (2, 9, 10, 18)
    assert estimate.std() > 0.01

    pixels = F.interpolate(estimate, scale_factor=CELL, mode="bilinear")
    log_gain, colour, trust = pixels.chunk(3, dim=1)
    gain = total_gain(log_gain, trust, prior.thickness)
    expected = gain * images + colour * (1 - gain)
    torch.testing.assert_close(inversion(images, prior), expected, rtol=0, atol=1e-5)


def test_the_gain_of_a_known_thickness() -> None:
    thickness = torch.tensor([-0.2, 0.0, 0.03, 0.515, 0.9, 1.3]).view(1, 1, 1, 6)
    zeros, ones = torch.zeros(1, 3, 1, 6), torch.ones(1, 3, 1, 6)
    trusted = total_gain(zeros, ones, thickness)
    assert torch.equal(trusted[..., :3], ones[..., :3])  # clear ground stays exactly as it is
    torch.testing.assert_close(trusted[..., 3], torch.full((1, 3, 1), 2.0))
    assert (trusted[..., 3:].diff() > 0).all()
    assert torch.equal(total_gain(zeros, zeros, thickness), ones)


def test_untrained_it_removes_a_cloud_of_the_usual_colour_that_the_prior_knows() -> None:
    clear = ground(2, 3)
    thickness = torch.linspace(0.03, 0.9, 64).expand(2, 1, 64, 64)
    transmission = (1 - thickness) / 0.97
    cloudy = clear * transmission + 0.95 * (1 - transmission)
    prior = nothing(cloudy)._replace(thickness=thickness)
    torch.testing.assert_close(Inversion()(cloudy, prior), clear, rtol=0, atol=1e-5)


def test_the_features_of_a_new_prior_begin_without_effect() -> None:
    images = torch.rand(1, 3, 32, 32)
    features = SCPM().eval()(images)._replace(thickness=torch.zeros(1, 1, 32, 32))
    driven = randomised()
    assert (driven(images, features) - driven(images, nothing(images))).abs().max() > 1e-3

    torch.nn.init.zeros_(driven.from_guide.weight)
    assert torch.equal(driven(images, features), driven(images, nothing(images)))


def test_it_learns_to_remove_new_patches() -> None:
    torch.manual_seed(0)
    inversion = Inversion()
    optimizer = torch.optim.Adam(inversion.parameters(), lr=1e-3)

    for step in range(100):
        clear = ground(8, step)
        cloudy = simulate_clouds(clear, range(8 * step, 8 * step + 8), GRAY).cloudy
        optimizer.zero_grad()
        F.l1_loss(inversion(cloudy, nothing(cloudy)), clear).backward()
        optimizer.step()

    clear = ground(16, 10_000)
    cloudy = simulate_clouds(clear, range(10_000, 10_016), GRAY).cloudy
    with torch.no_grad():
        restored = inversion(cloudy, nothing(cloudy))
        unharmed = inversion(clear, nothing(clear))
    assert F.l1_loss(restored, clear) < 0.35 * F.l1_loss(cloudy, clear)
    assert F.l1_loss(unharmed, clear) < 0.5 * F.l1_loss(cloudy, clear)


def test_a_part_of_a_scene_equals_the_scene_if_its_statistics_are_given() -> None:
    """Pixels beyond a halo do not count, if the part begins at a multiple of 32 pixels."""
    inversion, scene = randomised(), torch.rand(1, 3, 64, 1280)
    statistics = image_statistics(scene)
    expected = inversion(scene, nothing(scene), statistics)

    part = scene[..., 320:960]
    found = inversion(part, nothing(part), statistics)
    torch.testing.assert_close(found[..., 288:-288], expected[..., 608:672], rtol=0, atol=1e-5)

    with_own = inversion(part, nothing(part))
    assert (with_own - found).abs().max() > 0


def test_pixels_without_data_take_no_part_and_stay() -> None:
    inversion, image = randomised(), 0.2 + 0.5 * torch.rand(1, 3, 64, 64)
    rimmed = image.clone()
    rimmed[..., 48:] = 0
    found = inversion(rimmed, nothing(rimmed))
    assert torch.equal(found[..., 48:], torch.zeros(1, 3, 64, 16))

    mean = rimmed[..., :48].mean((2, 3), keepdim=True)
    ground_alone = fill(rimmed, has_data(rimmed))
    torch.testing.assert_close(ground_alone[..., 48:], mean.expand(1, 3, 64, 16))
    torch.testing.assert_close(found[..., :48], inversion(ground_alone, nothing(image))[..., :48])

    black = torch.zeros(1, 3, 16, 16)
    assert torch.equal(inversion(black, nothing(black)), black)


def test_precision_is_kept_under_autocast() -> None:
    inversion, images = randomised(), torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = inversion(images, nothing(images))
    assert torch.equal(inside, inversion(images, nothing(images)))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-5)],
)
def test_weights_of_other_precision(dtype: torch.dtype, tolerance: float) -> None:
    model = ThiefCloud(SCPM(), residual=True, inversion=True).eval()
    assert model.inversion is not None
    model.inversion.load_state_dict(randomised().state_dict())
    image = torch.rand(3, 24, 40)
    image[..., :8] = 0  # no data
    expected = restore(model, image)

    model.to(dtype)
    inverted = model.inversion(image[None].to(dtype), model.prior(image[None].to(dtype)))
    assert inverted.dtype == dtype
    found = restore(model, image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * tolerance)
    assert (found - expected).abs().mean() < tolerance


def test_half_precision_learns() -> None:
    inversion = randomised().bfloat16()
    images = torch.rand(1, 3, 16, 16).bfloat16()
    inversion(images, nothing(images)).float().mean().backward()
    for weight in inversion.heads.parameters():
        assert weight.grad is not None
        assert weight.grad.dtype == torch.bfloat16
        assert weight.grad.any()


@pytest.mark.parametrize("bands", [1, 4])
def test_other_numbers_of_bands(bands: int) -> None:
    images = torch.rand(2, bands, 16, 8)
    assert randomised(bands)(images, nothing(images)).shape == images.shape
