"""Clouds of both backends, laid over images."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from scpm import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.simulation.atmosphere import Atmosphere, draw_atmosphere
from scpm.simulation.clouds import apply_atmosphere
from scpm.simulation.clouds_scg import simulate_clouds_scg

Simulate = Callable[[Tensor, list[int]], SimulatedClouds]


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


# Both backends.


def test_a_cloud_depends_only_on_its_own_image_and_seed(simulate: Simulate, clear: Tensor) -> None:
    together = simulate(clear, [5, 6, 7, 8])
    for index in (0, 2):
        alone = simulate(clear[index : index + 1], [5 + index])
        torch.testing.assert_close(alone.cloudy[0], together.cloudy[index], rtol=0, atol=1e-6)
        torch.testing.assert_close(alone.thickness[0], together.thickness[index], rtol=0, atol=1e-6)


def test_equal_seeds_draw_equal_clouds_and_others_draw_others(
    simulate: Simulate, clear: Tensor
) -> None:
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
def test_results_have_the_dtype_of_the_input(
    simulate: Simulate, clear: Tensor, dtype: torch.dtype
) -> None:
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
def test_unfit_input_is_refused(
    simulate: Simulate, images: Tensor, seeds: list[int], message: str
) -> None:
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

    cloudy = clear * transmission + air_light * (1 - transmission)
    torch.testing.assert_close(clouds.cloudy, cloudy, rtol=0, atol=1e-6)
    assert torch.equal(clouds.thickness, (1 - transmission).mean(1, keepdim=True))


def test_atmosphere_with_numbers_worked_by_hand() -> None:
    transmission = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    air_light = torch.tensor([1.0, 0.8]).view(1, 2, 1, 1)
    clear = torch.tensor([0.2, 0.4]).view(1, 2, 1, 1)
    clouds = apply_atmosphere(clear, Atmosphere(transmission, air_light))
    torch.testing.assert_close(clouds.cloudy.flatten(), torch.tensor([0.6, 0.7]))
    assert clouds.thickness.item() == pytest.approx(0.625)


def test_a_cloud_brighter_than_1_saturates_where_it_is_thick(clear: Tensor) -> None:
    dim, bright = (
        simulate_clouds(
            clear,
            [1, 2, 3, 4],
            CloudOptions(opacity=(0.9, 0.99), even_fraction=0, patchy_brightness=(value, value)),
        )
        for value in (1.0, 1.6)
    )
    assert torch.equal(dim.thickness, bright.thickness)
    assert bright.cloudy.max() == 1
    white = (bright.cloudy == 1).all(1, keepdim=True)
    assert white[bright.thickness > 0.8].all()
    assert not white[bright.thickness < 0.1].any()


def test_other_bands_need_their_wavelengths() -> None:
    images = torch.rand(1, 4, 9, 9)
    with pytest.raises(ValueError, match="4 bands, the options 3 wavelengths"):
        simulate_clouds(images, [1])

    clouds = simulate_clouds(images, [1], CloudOptions(wavelengths=(0.655, 0.561, 0.482, 0.865)))
    assert clouds.cloudy.shape == images.shape
    assert clouds.thickness.shape == (1, 1, 9, 9)


def test_drawing_on_the_cpu_gives_fixed_clouds(clear: Tensor) -> None:
    """If these numbers change, recorded validation scores are no longer comparable."""
    thickness = simulate_clouds(clear[:3], [0, 1, 2], draw_on="cpu").thickness
    expected = torch.tensor([0.1298, 0.2958, 0.2942])
    torch.testing.assert_close(thickness.mean((1, 2, 3)), expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu(clear: Tensor) -> None:
    on_gpu, state = clear.cuda(), torch.cuda.get_rng_state()
    seeds = [1, 2, 3, 4]

    drawn_on_gpu = simulate_clouds(on_gpu, seeds)
    alone = simulate_clouds(on_gpu[1:2], seeds[1:2])
    assert drawn_on_gpu.cloudy.is_cuda
    torch.testing.assert_close(drawn_on_gpu.cloudy[1:2], alone.cloudy, rtol=0, atol=1e-5)

    drawn_on_cpu = simulate_clouds(on_gpu, seeds, draw_on="cpu").cloudy.cpu()
    expected = simulate_clouds(clear, seeds).cloudy
    torch.testing.assert_close(drawn_on_cpu, expected, rtol=0, atol=1e-5)
    assert torch.equal(state, torch.cuda.get_rng_state())

    torch.cuda.set_sync_debug_mode("error")  # an error if anything waits for the GPU
    try:
        simulate_clouds(on_gpu, seeds)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# The backend satellite-cloud-generator.


def test_scg_label_is_the_opacity_of_a_white_cloud(clear: Tensor) -> None:
    """Black ground shows the opacity of each band. All bands have the same pattern, not shifted."""
    simulate = backend("scg")
    seeds = [1, 2, 3, 4]
    opacity = simulate(torch.zeros_like(clear), seeds).cloudy
    clouds = simulate(clear, seeds)

    torch.testing.assert_close(clouds.thickness, opacity.mean(1, keepdim=True))
    torch.testing.assert_close(clouds.cloudy, clear * (1 - opacity) + opacity)

    ratio = opacity[:, 0] / opacity[:, 2].clamp_min(1e-3)
    medians = ratio.median(2).values.median(1).values
    torch.testing.assert_close(ratio.amax((1, 2)), medians, rtol=1e-3, atol=0)


def test_missing_scg_names_the_command_to_install_it(
    clear: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "satellite_cloud_generator", None)
    with pytest.raises(UserError, match=r"pip install -e .*\[scg\]"):
        simulate_clouds_scg(clear, [1, 2, 3, 4])
