"""The estimated opacity of simulated clouds, whose true opacity is known."""

import pytest
import torch
from torch import Tensor

from scpm import CloudOptions, simulate_clouds
from scpm.simulation.atmosphere import draw_atmosphere
from scpm.simulation.clouds import apply_atmosphere
from scpm.simulation.opacity import estimate_brightness, estimate_opacity, smoothed
from trainkit.scoring.metrics import correlation

PATCHY = CloudOptions(
    even_fraction=0.0,
    opacity=(0.4, 0.8),
    scale=(64.0, 256.0),
    slope=(2.4, 4.4),
    smoothing=(1.0, 6.0),
)
EVEN = CloudOptions(
    even_fraction=1.0, opacity=(0.05, 0.8), tint=0.03, blueness=(0.0, 0.0), texture=(0.0, 0.5)
)


def ground(seed: int, size: int = 96) -> Tensor:
    """Clear land (3, size, size) in [0, 1]: fields of different colours, with texture."""
    random = torch.Generator().manual_seed(seed)
    colours = torch.rand(3, size // 16, size // 16, generator=random)
    fields = colours.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return 0.1 + 0.35 * fields + 0.1 * torch.rand(3, size, size, generator=random)


def pearson(one: Tensor, other: Tensor) -> float:
    return float(correlation(one[None], other[None]))


@pytest.mark.parametrize("seed", range(4))
def test_patches_of_known_thickness_are_found(seed: int) -> None:
    clear = ground(seed)
    clouds = simulate_clouds(clear[None], [seed], PATCHY)
    found = estimate_opacity(clouds.cloudy[0], clear)
    assert found.shape == (1, 96, 96)
    assert 0 <= found.min() <= found.max() <= 1

    expected = smoothed(clouds.thickness[0])
    assert pearson(found, expected) > 0.98
    assert (found - expected).abs().mean() < 0.04


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_a_shift_of_a_pixel_do_little_harm(seed: int) -> None:
    clear = ground(seed)
    clouds = simulate_clouds(clear[None], [seed], PATCHY)
    shifted = torch.roll(clouds.cloudy[0], 1, -1) + 0.02 * torch.randn(clear.shape)
    found = estimate_opacity(shifted.clamp(0, 1), clear)
    assert pearson(found, clouds.thickness[0]) > 0.85


def test_even_veils_are_told_apart_between_images() -> None:
    estimates, truths = [], []
    for seed in range(12):
        clear = ground(seed)
        clouds = simulate_clouds(clear[None], [seed], EVEN)
        estimates.append(estimate_opacity(clouds.cloudy[0], clear))
        truths.append(clouds.thickness[0])

    found, true = torch.cat(estimates), torch.cat(truths)
    assert pearson(found, true) > 0.97
    assert (found - true).abs().mean() < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_the_brightness_of_the_cloud_is_found(seed: int) -> None:
    clear, atmosphere = ground(seed), draw_atmosphere(96, 96, [seed], EVEN)
    cloudy = apply_atmosphere(clear[None], atmosphere).cloudy[0]
    true = float(atmosphere.air_light.mean())
    assert estimate_brightness(cloudy, clear) == pytest.approx(true, abs=0.06)


def test_a_veil_that_darkens_bright_ground_is_found() -> None:
    clear = ground(0) + 0.45
    cloudy = 0.5 * clear + 0.5 * 0.6
    assert (cloudy < clear).float().mean() > 0.5
    assert estimate_brightness(cloudy, clear) == pytest.approx(0.6, abs=0.05)
    assert float(estimate_opacity(cloudy, clear).mean()) == pytest.approx(0.5, abs=0.03)


def test_the_formula_at_one_pixel() -> None:
    clear = torch.tensor([0.2, 0.4, 0.5]).view(3, 1, 1)
    cloudy = 0.75 * clear + 0.25 * 0.9
    found = float(estimate_opacity(cloudy, clear, window=1, brightness=0.9))
    assert found == pytest.approx(0.25, abs=1e-5)

    darker = 0.9 * clear
    assert float(estimate_opacity(darker, clear, window=1, brightness=0.9)) == 0


def test_extreme_pairs() -> None:
    """A pair without cloud, one as bright as cloud, and one under opaque cloud."""
    clear = ground(0)
    assert estimate_opacity(clear, clear).abs().max() == 0

    white = torch.ones(3, 8, 8)
    assert estimate_opacity(white, white).isfinite().all()

    opaque = estimate_opacity(torch.full_like(clear, 0.9), clear)
    assert opaque.min() > 0.97


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (16, 5)])
def test_images_smaller_than_the_window(size: tuple[int, int]) -> None:
    clear = ground(1)[:, : size[0], : size[1]]
    found = estimate_opacity(0.5 * clear + 0.45, clear)
    assert found.shape == (1, *size)
    assert found.isfinite().all()


def test_means_over_windows_stay_inside_the_image() -> None:
    maps = torch.rand(2, 9, 7)
    found = smoothed(maps, 5)
    torch.testing.assert_close(found[:, 4, 3], maps[:, 2:7, 1:6].mean((1, 2)))
    torch.testing.assert_close(found[:, 0, 6], maps[:, 0:3, 4:7].mean((1, 2)))


def test_images_that_do_not_fit_are_refused() -> None:
    image = torch.rand(3, 8, 8)
    with pytest.raises(ValueError, match=r"shapes are \(3, 8, 8\) and \(3, 8, 7\)"):
        estimate_opacity(image, image[..., :7])
    with pytest.raises(ValueError, match=r"window is 4, expected an odd number"):
        estimate_opacity(image, image, window=4)
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        estimate_opacity(image + 1, image)
