"""The dark channel prior, against NumPy and SciPy, and on images whose haze is known."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from scpm.simulation.opacity import smoothed
from tests.helpers import noise
from thiefcloud.baselines.dark_channel import (
    DarkChannelOptions,
    air_light,
    dark_channel,
    guided_filter,
    remove_haze,
)

SHAPES = [(23, 31), (40, 9), (1, 12), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("patch", [1, 5, 15])
def test_dark_channel_is_the_minimum_filter_of_scipy(shape: tuple[int, int], patch: int) -> None:
    image = noise(1, height=shape[0], width=shape[1])
    darkest = image.numpy().min(axis=0)
    expected = ndimage.minimum_filter(darkest, patch, mode="constant", cval=np.inf)
    np.testing.assert_array_equal(dark_channel(image[None], patch)[0, 0], expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0, 3, 40])
def test_means_of_windows_end_at_the_border(shape: tuple[int, int], radius: int) -> None:
    image = noise(2, height=shape[0], width=shape[1])
    expected = torch.empty_like(image)
    for row in range(shape[0]):
        for column in range(shape[1]):
            window = image[:, *around(row, column, radius)]
            expected[:, row, column] = window.mean(dim=(1, 2))

    torch.testing.assert_close(smoothed(image[None], 2 * radius + 1)[0], expected)


def around(row: int, column: int, radius: int) -> tuple[slice, slice]:
    """Window around a pixel, which ends at the upper and left border."""
    rows = slice(max(0, row - radius), row + radius + 1)
    return rows, slice(max(0, column - radius), column + radius + 1)


def fitted(guide: np.ndarray, image: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Guided filter from its definition: in each window a ridge regression as least squares."""
    bands, height, width = guide.shape
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            part = around(row, column, radius)
            x, y = guide[:, *part].reshape(bands, -1).T, image[part].ravel()
            ridge = np.sqrt(len(y) * epsilon) * np.eye(bands)
            inputs = np.vstack((x - x.mean(0), ridge))
            outputs = np.append(y - y.mean(), np.zeros(bands))
            slope = np.linalg.lstsq(inputs, outputs, rcond=None)[0]

            # A pixel takes the mean of the fits of all windows that hold it.
            total[part] += np.tensordot(slope, guide[:, *part], 1) + y.mean() - x.mean(0) @ slope
            count[part] += 1

    return total / count


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(("radius", "epsilon"), [(2, 1e-3), (4, 0.1), (30, 1e-3)])
def test_guided_filter_is_the_mean_of_ridge_regressions(
    bands: int, radius: int, epsilon: float
) -> None:
    guide = noise(3, bands=bands, height=11, width=14)
    image = noise(4, bands=1, height=11, width=14)
    expected = fitted(guide.double().numpy(), image[0].double().numpy(), radius, epsilon)

    exact = guided_filter(guide[None].double(), image[None].double(), radius, epsilon)
    np.testing.assert_allclose(exact[0, 0], expected, atol=1e-10)
    single = guided_filter(guide[None], image[None], radius, epsilon)
    np.testing.assert_allclose(single[0, 0], expected, atol=1e-5)


def scene(transmission: float, light: Tensor) -> tuple[Tensor, Tensor]:
    """A hazy image (3, 48, 64) with an opaque corner of 9x9, and the clear one.

    The clear one has a dark value in every 3x3 patch.
    """
    clear = noise(5, height=48, width=64).to(light)
    clear[0, ::3, ::3] = 0
    through = torch.full((1, 48, 64), transmission).to(light)
    through[:, :9, :9] = 0
    return clear * through + light[:, None, None] * (1 - through), clear


@pytest.mark.parametrize("transmission", [0.4, 0.75])
@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (0.9, 0.8, 0.7)])
def test_known_haze_is_removed(transmission: float, light: tuple[float, ...]) -> None:
    hazy, clear = scene(transmission, torch.tensor(light))
    restored, thickness = remove_haze(hazy, DarkChannelOptions(patch=5, omega=1.0, radius=4))
    far = np.s_[:, 20:, 20:]  # from the opaque corner: patches and windows do not reach it
    torch.testing.assert_close(
        thickness[far], torch.full_like(thickness[far], 1 - transmission), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(restored[far], clear[far], atol=1e-4, rtol=0)
    assert thickness[:, :3, :3].min() > thickness[far].max()


def test_doubles_are_not_rounded() -> None:
    hazy, clear = scene(0.5, torch.ones(3, dtype=torch.float64))
    restored, _ = remove_haze(hazy, DarkChannelOptions(patch=5, omega=1.0, radius=4))
    torch.testing.assert_close(restored[:, 20:, 20:], clear[:, 20:, 20:], atol=1e-12, rtol=0)


def test_thickness_stays_in_its_range_where_the_guided_filter_overshoots() -> None:
    image, options = noise(5, height=30, width=30), DarkChannelOptions(patch=5, omega=1.0, radius=2)
    rough = 1 - dark_channel(image[None] / air_light(image[None], options), 5)
    assert guided_filter(image[None], rough, 2, options.epsilon).max() > 1.001
    assert remove_haze(image, options)[1].min() == 0


def test_a_fraction_of_the_haze_stays() -> None:
    hazy, _ = scene(0.6, torch.ones(3))
    thickness = remove_haze(hazy, DarkChannelOptions(patch=5, omega=0.5, radius=4))[1]
    torch.testing.assert_close(
        thickness[:, 20:, 20:], torch.full((1, 28, 44), 0.5 * 0.4), atol=1e-5, rtol=0
    )


def test_recovery_stops_at_the_smallest_transmission() -> None:
    hazy, clear = scene(0.2, torch.ones(3))
    options = DarkChannelOptions(patch=5, omega=1.0, radius=4, smallest_transmission=0.5)
    restored, thickness = remove_haze(hazy, options, raw=True)

    far = np.s_[:, 20:, 20:]
    torch.testing.assert_close(restored[far], (clear[far] - 1) * 0.2 / 0.5 + 1, atol=1e-5, rtol=0)
    expected = torch.full_like(thickness[far], 0.8)
    torch.testing.assert_close(thickness[far], expected, atol=1e-5, rtol=0)


def test_air_light_is_the_brightest_image_value_where_the_dark_channel_is_brightest() -> None:
    image = torch.full((3, 20, 50), 0.1)
    image[0, 0, 0] = 1.0  # bright, but not in every band
    image[:, 5, 5:7] = torch.tensor([[0.7, 0.6], [0.6, 0.9], [0.6, 0.6]])
    image[:, 9, 9] = 0.5
    options = DarkChannelOptions(patch=1, brightest=0.003)  # 3 of 1000 pixels
    assert air_light(image[None], options).flatten().tolist() == pytest.approx([0.6, 0.9, 0.6])

    image[:, 9, 9] = 0.59
    image[1, 9, 9] = 1.0  # the third by its dark channel, the first by its intensity
    assert air_light(image[None], options).flatten().tolist() == pytest.approx([0.59, 1.0, 0.59])

    one = DarkChannelOptions(patch=1, brightest=1e-6)  # less than a pixel
    image[:, 9, 9] = 0.61
    assert air_light(image[None], one).flatten().tolist() == pytest.approx([0.61] * 3)


def test_a_batch_is_its_images() -> None:
    images = 0.8 * torch.rand(3, 3, 17, 26) + torch.tensor([0, 0.1, 0.2])[:, None, None, None]
    restored, thickness = remove_haze(images)
    assert (restored.shape, thickness.shape) == ((3, 3, 17, 26), (3, 1, 17, 26))
    for index, image in enumerate(images):
        alone = remove_haze(image)
        assert (alone[0].shape, alone[1].shape) == ((3, 17, 26), (1, 17, 26))
        torch.testing.assert_close((restored[index], thickness[index]), alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (33, 18)])
def test_any_size_and_type(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    image = noise(7, height=shape[0], width=shape[1]).to(dtype)
    restored, thickness = remove_haze(image)
    assert (restored.dtype, thickness.dtype) == (dtype, dtype)

    for output in (restored, thickness):
        assert output.isfinite().all()
        assert output.min() >= 0
        assert output.max() <= 1

    expected = remove_haze(image.double())
    torch.testing.assert_close((restored.double(), thickness.double()), expected, atol=0.01, rtol=0)


def test_restored_values_are_clamped_unless_raw() -> None:
    image = noise(8) * 0.6 + 0.3
    image[:, 2:4, 2:4] = 0
    raw, _ = remove_haze(image, raw=True)
    assert raw.min() < 0
    assert torch.equal(remove_haze(image)[0], raw.clamp(0, 1))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_images_of_one_colour(value: float) -> None:
    restored, thickness = remove_haze(torch.full((3, 20, 20), value))
    torch.testing.assert_close(restored, torch.full((3, 20, 20), value))
    torch.testing.assert_close(thickness, torch.full((1, 20, 20), 0.95 * value))


@pytest.mark.parametrize(
    "image",
    [torch.full((3, 8, 8), 2.0), torch.zeros(8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)],
)
def test_other_images_are_refused(image: Tensor) -> None:
    with pytest.raises(ValueError, match="images"):
        remove_haze(image)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patch", 14),
        ("patch", -1),
        ("radius", -1),
        ("epsilon", 0.0),
        ("omega", 1.1),
        ("brightest", 0),
        ("smallest_transmission", 0),
    ],
)
def test_parameters_it_cannot_use_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}, expected"):
        DarkChannelOptions(**{name: value})  # type: ignore[arg-type]
