import dataclasses
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from scpm.clouds import Atmosphere, CloudOptions, SimulatedClouds, cover, draw_atmosphere, simulate_clouds
from scpm.clouds_scg import simulate_clouds_scg

Simulate = Callable[[Tensor, list[int]], SimulatedClouds]
SEEDS = list(range(200))


def backend(name: str) -> Simulate:
    if name == "scg":
        pytest.importorskip("satellite_cloud_generator")
        return simulate_clouds_scg
    return simulate_clouds


@pytest.fixture(params=["physical", "scg"])
def simulate(request: pytest.FixtureRequest) -> Simulate:
    return backend(request.param)


@pytest.fixture
def clear() -> Tensor:
    return torch.rand(4, 3, 40, 57, generator=torch.Generator().manual_seed(0))


def atmospheres(size: int = 32, **options: object) -> Atmosphere:
    return draw_atmosphere(size, size, SEEDS, CloudOptions(**options))  # type: ignore[arg-type]


# What holds for both backends.


def test_a_cloud_depends_on_its_own_image_and_seed_only(simulate: Simulate, clear: Tensor) -> None:
    together = simulate(clear, [5, 6, 7, 8])
    for index in (0, 2):
        alone = simulate(clear[index : index + 1], [5 + index])
        torch.testing.assert_close(alone.cloudy[0], together.cloudy[index], rtol=0, atol=1e-6)
        torch.testing.assert_close(alone.thickness[0], together.thickness[index], rtol=0, atol=1e-6)


def test_equal_seeds_draw_equal_clouds_and_others_draw_others(simulate: Simulate, clear: Tensor) -> None:
    same_ground = clear[:1].expand(3, -1, -1, -1)
    thickness = simulate(same_ground, [1, 1, 2]).thickness
    assert torch.equal(thickness[0], thickness[1])
    assert (thickness[0] - thickness[2]).abs().max() > 0.01


def test_global_random_state_is_neither_read_nor_changed(simulate: Simulate, clear: Tensor) -> None:
    torch.manual_seed(1)
    first, before = simulate(clear, [1, 2, 3, 4]), torch.random.get_rng_state()
    assert torch.equal(before, torch.Generator().manual_seed(1).get_state())
    torch.manual_seed(2)
    assert torch.equal(first.cloudy, simulate(clear, [1, 2, 3, 4]).cloudy)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 5), (65, 130)])
def test_any_size(simulate: Simulate, size: tuple[int, int]) -> None:
    clouds = simulate(torch.rand(2, 3, *size), [1, 2])
    assert clouds.cloudy.shape == (2, 3, *size)
    assert clouds.thickness.shape == (2, 1, *size)
    for part in clouds:
        assert part.isfinite().all()
        assert part.min() >= 0
        assert part.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_results_have_the_dtype_of_the_input(simulate: Simulate, clear: Tensor, dtype: torch.dtype) -> None:
    given = clear[:1].to(dtype)
    clouds, expected = simulate(given, [3]), simulate(given.float(), [3])
    for part, wide in zip(clouds, expected, strict=True):
        assert part.dtype == dtype
        torch.testing.assert_close(part, wide.to(dtype))


@pytest.mark.parametrize(
    ("images", "seeds", "message"),
    [
        (torch.zeros(3, 8, 8), [1], "N, C, H, W"),
        (torch.zeros(1, 3, 0, 8), [1], "N, C, H, W"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), [1], "torch.uint8"),
        (torch.zeros(2, 3, 8, 8), [1], "1 seeds for 2 images"),
    ],
)
def test_unfit_input_is_refused(simulate: Simulate, images: Tensor, seeds: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(images, seeds)


def test_over_black_ground_thicker_is_brighter(simulate: Simulate) -> None:
    clouds = simulate(torch.zeros(1, 3, 64, 64), [2])
    light, thickness = clouds.cloudy.mean(1).flatten(), clouds.thickness.flatten()
    assert torch.corrcoef(torch.stack((light, thickness)))[0, 1] > 0.99


# The physical backend.


def test_cloudy_and_thickness_follow_the_model_exactly(clear: Tensor) -> None:
    seeds = [1, 2, 3, 4]
    transmission, air_light = draw_atmosphere(40, 57, seeds, CloudOptions())
    clouds = simulate_clouds(clear, seeds)
    torch.testing.assert_close(clouds.cloudy, clear * transmission + air_light * (1 - transmission), rtol=0, atol=1e-6)
    torch.testing.assert_close(clouds.thickness, (1 - transmission).mean(1, keepdim=True), rtol=0, atol=0)


def test_cover_with_numbers_worked_by_hand() -> None:
    atmosphere = Atmosphere(torch.tensor([0.5, 0.25]).view(1, 2, 1, 1), torch.tensor([1.0, 0.8]).view(1, 2, 1, 1))
    clouds = cover(torch.tensor([0.2, 0.4]).view(1, 2, 1, 1), atmosphere)
    torch.testing.assert_close(clouds.cloudy.flatten(), torch.tensor([0.6, 0.7]))
    assert clouds.thickness.item() == pytest.approx(0.625)


def test_bands_are_dimmed_by_the_power_law_of_angstrom() -> None:
    transmission = atmospheres(angstrom=(1.3, 1.3)).transmission
    depth = -transmission.double().log()
    red, green, blue = depth.transpose(0, 1)[:, depth.amin(1) > 0.01]
    assert (blue > green).all()
    assert (green > red).all()
    torch.testing.assert_close(blue / red, torch.full_like(red, (0.655 / 0.482) ** 1.3), rtol=1e-4, atol=0)


def test_without_angstrom_exponent_clouds_are_gray() -> None:
    transmission = atmospheres(angstrom=(0.0, 0.0)).transmission
    assert torch.equal(transmission[:, 0], transmission[:, 2])


def test_other_bands_need_their_wavelengths() -> None:
    images = torch.rand(1, 4, 9, 9)
    with pytest.raises(ValueError, match="4 bands, the options 3 wavelengths"):
        simulate_clouds(images, [1])
    clouds = simulate_clouds(images, [1], CloudOptions(wavelengths=(0.655, 0.561, 0.482, 0.865)))
    assert clouds.cloudy.shape == images.shape
    assert clouds.thickness.shape == (1, 1, 9, 9)


def test_thickness_ranges_from_almost_nothing_to_thick_and_most_is_thin() -> None:
    means = (1 - atmospheres(64).transmission).mean((1, 2, 3))
    assert means.min() < 0.03
    assert means.max() > 0.75
    assert 0.15 < means.median() < 0.45


def test_there_are_even_veils_and_patches_with_clear_gaps() -> None:
    thickness = (1 - atmospheres(64).transmission).mean(1).flatten(1)
    thick = thickness[thickness.mean(1) > 0.1]
    lowest, highest = thick.quantile(0.02, dim=1), thick.quantile(0.98, dim=1)
    assert ((highest - lowest) < 0.05).float().mean() > 0.1
    assert ((lowest < 0.05) & (highest > 0.3)).float().mean() > 0.1


def test_opacity_is_what_was_asked_for() -> None:
    even = atmospheres(opacity=(0.4, 0.4), even_share=1.0, even_floor=(1.0, 1.0), reference_wavelength=0.561)
    torch.testing.assert_close(even.transmission[:, 1], torch.full((len(SEEDS), 32, 32), 0.6), rtol=0, atol=1e-5)


def test_coverage_is_the_share_of_the_image_under_cloud() -> None:
    sharp = {"even_share": 0.0, "patchy_floor": (0.0, 0.0), "softness": (0.01, 0.01), "texture": (0.0, 0.0)}
    sharp["scale"] = (96.0, 1024.0)  # the edges of smaller patches are wide beside them
    for coverage in (0.25, 0.75):
        thickness = 1 - atmospheres(64, coverage=(coverage, coverage), **sharp).transmission[:, 0]
        covered = (thickness > 1e-3 * thickness.amax((1, 2), keepdim=True)).float().mean()
        assert covered.item() == pytest.approx(coverage, abs=0.06)


def test_air_light_is_bright_and_nearly_white() -> None:
    air_light = atmospheres(even_brightness=(0.7, 1.0), tint=0.03, blueness=(0.0, 0.0)).air_light
    assert air_light.min() >= 0.67
    assert air_light.max() <= 1
    assert 0 < (air_light.amax(1) - air_light.amin(1)).max() <= 0.03


def test_thin_cloud_can_be_bluish() -> None:
    red, green, blue = atmospheres(tint=0.0, blueness=(0.2, 0.2)).air_light[..., 0, 0].T
    torch.testing.assert_close(blue - red, torch.full_like(red, 0.2))
    assert ((red < green) & (green < blue)).all()


def test_no_direction_is_preferred() -> None:
    thickness = atmospheres(64, elongation=(3.0, 3.0), even_share=0.0).transmission[:, 0]
    down = thickness.diff(dim=1).square().mean((1, 2))
    across = thickness.diff(dim=2).square().mean((1, 2))
    assert 0.75 < down.mean() / across.mean() < 1.33
    ratios = (down / across).log().abs()
    assert ratios.median() > 0.5, "each image has streaks, all of them in another direction"


def test_clouds_do_not_wrap_around_the_image() -> None:
    thickness = atmospheres(64, scale=(1024.0, 1024.0), even_share=0.0).transmission[:, 0]
    neighbours = (thickness[..., 0] - thickness[..., 1]).abs().mean()
    opposite = (thickness[..., 0] - thickness[..., -1]).abs().mean()
    assert opposite > 5 * neighbours


def test_clouds_are_smooth_and_show_no_grid() -> None:
    thickness = 1 - atmospheres(64).transmission[:, 0]
    steps = thickness.diff(dim=-1).abs()
    assert steps.mean() < 0.02
    curvature = thickness.diff(dim=-1, n=2).abs().mean((0, 1))  # at even and at odd columns
    assert 0.8 < curvature[0::2].mean() / curvature[1::2].mean() < 1.25


def test_drawing_on_the_cpu_gives_the_same_clouds_for_ever(clear: Tensor) -> None:
    """Validation clouds are fixed: a change of these numbers makes all recorded scores incomparable."""
    thickness = simulate_clouds(clear[:3], [0, 1, 2], draw_on="cpu").thickness
    expected = torch.tensor([0.1449, 0.3040, 0.3093])
    torch.testing.assert_close(thickness.mean((1, 2, 3)), expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu(clear: Tensor) -> None:
    on_gpu, state = clear.cuda(), torch.cuda.get_rng_state()
    seeds = [1, 2, 3, 4]
    drawn_there, again = simulate_clouds(on_gpu, seeds), simulate_clouds(on_gpu[1:2], seeds[1:2])
    assert drawn_there.cloudy.is_cuda
    torch.testing.assert_close(drawn_there.cloudy[1:2], again.cloudy, rtol=0, atol=1e-5)
    drawn_here = simulate_clouds(on_gpu, seeds, draw_on="cpu")
    torch.testing.assert_close(drawn_here.cloudy.cpu(), simulate_clouds(clear, seeds).cloudy, rtol=0, atol=1e-5)
    assert torch.equal(state, torch.cuda.get_rng_state())
    torch.cuda.set_sync_debug_mode("error")  # nothing waits for the GPU
    try:
        simulate_clouds(on_gpu, seeds)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opacity", (0.5, 0.2)),
        ("opacity", (0.0, 1.0)),
        ("opacity_skew", 0.0),
        ("even_share", 1.5),
        ("coverage", (0.0, 0.5)),
        ("softness", (0.0, 0.5)),
        ("elongation", (0.5, 2.0)),
        ("even_brightness", (0.5, 1.1)),
        ("patchy_brightness", (-0.1, 1.0)),
        ("tint", 0.5),
        ("blueness", (0.0, 0.35)),
        ("scale", (float("nan"), 100.0)),
        ("wavelengths", ()),
        ("wavelengths", (0.6, -0.5, 0.4)),
        ("reference_wavelength", 0.0),
    ],
)
def test_contradictory_options_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} "):
        CloudOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(CloudOptions)])
def test_no_option_is_without_effect(name: str) -> None:
    default = getattr(CloudOptions(), name)
    smaller = tuple(0.9 * part for part in default) if isinstance(default, tuple) else 0.5 * default
    changed = {"elongation": (1.0, 2.0), "even_share": 1.0}.get(name, smaller)
    before = draw_atmosphere(32, 32, range(8), CloudOptions())
    after = draw_atmosphere(32, 32, range(8), CloudOptions(**{name: changed}))  # type: ignore[arg-type]
    assert any((old - new).abs().max() > 1e-3 for old, new in zip(before, after, strict=True))


# The backend of the package.


def test_scg_label_is_the_opacity_of_a_white_cloud(clear: Tensor) -> None:
    """Over black ground one sees the opacity of each band; it is the same pattern in all bands, not shifted."""
    simulate = backend("scg")
    seeds = [1, 2, 3, 4]
    opacity = simulate(torch.zeros_like(clear), seeds).cloudy
    clouds = simulate(clear, seeds)
    torch.testing.assert_close(clouds.thickness, opacity.mean(1, keepdim=True))
    torch.testing.assert_close(clouds.cloudy, clear * (1 - opacity) + opacity)
    ratio = opacity[:, 0] / opacity[:, 2].clamp_min(1e-3)
    torch.testing.assert_close(ratio.amax((1, 2)), ratio.median(2).values.median(1).values, rtol=1e-3, atol=0)


def test_scg_absent_says_how_to_install(clear: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "satellite_cloud_generator", None)
    with pytest.raises(UserError, match=r"pip install -e .*\[scg\]"):
        simulate_clouds_scg(clear, [1, 2, 3, 4])
