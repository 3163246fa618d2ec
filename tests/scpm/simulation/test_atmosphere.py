"""Random atmospheres, and the options that they are drawn from."""

import dataclasses

import pytest
import torch

from scpm import CloudOptions, simulate_clouds
from scpm.simulation.atmosphere import Atmosphere, draw_atmosphere

SEEDS = list(range(200))


def atmospheres(size: int = 32, **options: object) -> Atmosphere:
    return draw_atmosphere(size, size, SEEDS, CloudOptions(**options))  # type: ignore[arg-type]


def test_bands_are_dimmed_by_the_power_law_of_angstrom() -> None:
    transmission = atmospheres(angstrom=(1.3, 1.3)).transmission
    depth = -transmission.double().log()

    red, green, blue = depth.transpose(0, 1)[:, depth.amin(1) > 0.01]
    assert (blue > green).all()
    assert (green > red).all()
    expected = torch.full_like(red, (0.655 / 0.482) ** 1.3)
    torch.testing.assert_close(blue / red, expected, rtol=1e-4, atol=0)


def test_without_angstrom_exponent_clouds_are_gray() -> None:
    transmission = atmospheres(angstrom=(0.0, 0.0)).transmission
    assert torch.equal(transmission[:, 0], transmission[:, 2])


def test_thickness_ranges_from_almost_nothing_to_thick_and_most_is_thin() -> None:
    means = (1 - atmospheres(64).transmission).mean((1, 2, 3))
    assert means.min() < 0.03
    assert means.max() > 0.75
    assert 0.15 < means.median() < 0.45


def test_some_clouds_are_even_veils_and_some_are_patches() -> None:
    thickness = (1 - atmospheres(64).transmission).mean(1).flatten(1)
    thick = thickness[thickness.mean(1) > 0.1]
    lowest, highest = thick.quantile(0.02, dim=1), thick.quantile(0.98, dim=1)

    assert ((highest - lowest) < 0.05).float().mean() > 0.1
    assert ((lowest < 0.05) & (highest > 0.3)).float().mean() > 0.1


def test_opacity_is_that_of_the_options() -> None:
    even = atmospheres(
        opacity=(0.4, 0.4), even_fraction=1.0, even_floor=(1.0, 1.0), reference_wavelength=0.561
    )
    expected = torch.full((len(SEEDS), 32, 32), 0.6)
    torch.testing.assert_close(even.transmission[:, 1], expected, rtol=0, atol=1e-5)


def test_coverage_is_the_fraction_of_the_image_under_cloud() -> None:
    sharp = {
        "even_fraction": 0.0,
        "patchy_floor": (0.0, 0.0),
        "softness": (0.01, 0.01),
        "texture": (0.0, 0.0),
        "slope": (2.4, 4.4),
        "smoothing": (1.0, 6.0),
        "scale": (96.0, 1024.0),  # smaller patches have relatively wide edges
    }
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


def test_overlays_are_gray_and_as_bright_as_they_are_opaque() -> None:
    transmission, air_light = atmospheres(even_fraction=1.0, overlay_fraction=1.0)
    assert torch.equal(air_light, 1 - transmission)
    for one in (transmission, air_light):
        assert torch.equal(one, one[:, :1].expand_as(one))

    clear = torch.rand(len(SEEDS), 3, 32, 32)
    options = CloudOptions(even_fraction=1.0, overlay_fraction=1.0)
    cloudy, thickness = simulate_clouds(clear, SEEDS, options)
    torch.testing.assert_close(thickness, 1 - transmission[:, :1], rtol=0, atol=1e-6)
    expected = (1 - thickness) * clear + thickness.square()
    torch.testing.assert_close(cloudy, expected, rtol=0, atol=1e-5)
    assert 0.1 < thickness.mean() < 0.9


def test_overlays_have_the_opacity_of_the_even_veils_at_the_reference_wavelength() -> None:
    even, overlays = (
        atmospheres(even_fraction=1.0, overlay_fraction=fraction, reference_wavelength=0.561)
        for fraction in (0.0, 1.0)
    )
    assert torch.equal(overlays.transmission[:, 1], even.transmission[:, 1])
    assert not torch.equal(overlays.transmission[:, 0], even.transmission[:, 0])


def test_some_even_veils_become_overlays_and_nothing_else_changes() -> None:
    before, after = (
        atmospheres(even_fraction=0.5, overlay_fraction=fraction) for fraction in (0.0, 0.5)
    )
    other = atmospheres(even_fraction=0.5, even_brightness=(0.3, 0.4))  # changes even veils alone
    even = (other.air_light != before.air_light).flatten(1).any(1)
    changed = (after.air_light != before.air_light).flatten(1).any(1)
    assert 0.4 < even.float().mean() < 0.6
    assert 0.35 < changed.sum() / even.sum() < 0.65
    assert not (changed & ~even).any()

    for one, same in zip(after, before, strict=True):
        assert torch.equal(one[~changed], same[~changed])
    assert torch.equal(after.air_light[changed], 1 - after.transmission[changed])


def test_no_direction_is_preferred() -> None:
    thickness = atmospheres(64, elongation=(3.0, 3.0), even_fraction=0.0).transmission[:, 0]
    down = thickness.diff(dim=1).square().mean((1, 2))
    across = thickness.diff(dim=2).square().mean((1, 2))
    assert 0.75 < down.mean() / across.mean() < 1.33
    ratios = (down / across).log().abs()
    assert ratios.median() > 0.5, "each image has streaks, all of them in another direction"


def test_clouds_do_not_wrap_around_the_image() -> None:
    thickness = atmospheres(64, scale=(1024.0, 1024.0), even_fraction=0.0).transmission[:, 0]
    neighbours = (thickness[..., 0] - thickness[..., 1]).abs().mean()
    opposite = (thickness[..., 0] - thickness[..., -1]).abs().mean()
    assert opposite > 5 * neighbours


def test_clouds_are_smooth_and_show_no_grid() -> None:
    thickness = 1 - atmospheres(64).transmission[:, 0]
    assert thickness.diff(dim=-1).abs().mean() < 0.02

    curvature = thickness.diff(dim=-1, n=2).abs().mean((0, 1))
    assert 0.8 < curvature[0::2].mean() / curvature[1::2].mean() < 1.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opacity", (0.5, 0.2)),
        ("opacity", (0.0, 1.0)),
        ("opacity_skew", 0.0),
        ("even_fraction", 1.5),
        ("overlay_fraction", 1.5),
        ("coverage", (0.0, 0.5)),
        ("softness", (0.0, 0.5)),
        ("elongation", (0.5, 2.0)),
        ("even_brightness", (0.5, 2.1)),
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
    others: dict[str, object] = {
        "elongation": (1.0, 2.0),
        "even_fraction": 1.0,
        "overlay_fraction": 1.0,
    }
    changed = others.get(name)
    if changed is None and isinstance(default, tuple):
        changed = tuple(0.9 * part for part in default)
    elif changed is None:
        changed = 0.5 * default

    before = draw_atmosphere(32, 32, range(8), CloudOptions())
    after = draw_atmosphere(32, 32, range(8), CloudOptions(**{name: changed}))  # type: ignore[arg-type]
    transmission_change = (before.transmission - after.transmission).abs().max()
    air_light_change = (before.air_light - after.air_light).abs().max()
    assert max(transmission_change, air_light_change) > 1e-3
