import itertools
import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from scpm import DeformConv2d, deform_conv2d
from scpm.network import deform
from scpm.network.deform import Sampling, sample_taps

SIZES = [(1, 2, 5, 7), (2, 3, 9, 4), (2, 2, 1, 5), (1, 2, 6, 1), (1, 1, 1, 1)]
REACHES = [0.3, 2.0, 30.0]  # standard deviation of the offsets, in pixels


def random_case(size: tuple[int, int, int, int], reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features, offsets and weight in float64 that require gradients."""
    n, channels, height, width = size
    generator = torch.Generator().manual_seed(0)

    features = torch.randn(size, generator=generator, dtype=torch.float64)
    offsets = reach * torch.randn(n, 18, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, channels, 3, 3, generator=generator, dtype=torch.float64)
    return features.requires_grad_(), offsets.requires_grad_(), weight.requires_grad_()


def assert_equal_with_gradients(ours: Tensor, theirs: Tensor, inputs: tuple[Tensor, ...]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)

    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(ours.shape, generator=generator, dtype=ours.dtype)
    found = torch.autograd.grad(ours, inputs, direction)
    expected = torch.autograd.grad(theirs, inputs, direction)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("size", SIZES)
def test_standard_sampling_is_that_of_torchvision(
    size: tuple[int, int, int, int], reach: float
) -> None:
    features, offsets, weight = random_case(size, reach)
    rows, columns = offsets.chunk(2, dim=1)
    interleaved = torch.stack((rows, columns), dim=2).flatten(1, 2)
    theirs = torchvision.ops.deform_conv2d(features, interleaved, weight, padding=1)
    ours = deform_conv2d(features, offsets, weight)
    assert_equal_with_gradients(ours, theirs, (features, offsets, weight))


def official_pixel_by_pixel(features: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Compute the official operator in a loop over pixels.

    The grid lies one pixel too far, and each of two neighbours is clamped by itself.
    """
    n, _, height, width = features.shape
    rows = []
    for image, i, j in itertools.product(range(n), range(height), range(width)):
        value = torch.zeros(len(weight), dtype=weight.dtype)
        for tap, (dy, dx) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
            y = i + 1 + dy + offsets[image, tap, i, j]
            x = j + 1 + dx + offsets[image, 9 + tap, i, j]
            for row, row_weight in clamped_neighbours(y, height):
                for column, column_weight in clamped_neighbours(x, width):
                    sample = row_weight * column_weight * features[image, :, row, column]
                    value = value + weight[:, :, dy + 1, dx + 1] @ sample
        rows.append(value)

    return torch.stack(rows).reshape(n, height, width, -1).permute(0, 3, 1, 2)


def clamped_neighbours(coordinate: Tensor, size: int) -> list[tuple[int, Tensor]]:
    """Return the two pixels around a coordinate, clamped to the image, and their weights."""
    lower = math.floor(coordinate.item())
    inside = coordinate.clamp(0, size - 1)

    neighbours = []
    for pixel in (lower, lower + 1):
        clamped = min(max(pixel, 0), size - 1)
        neighbours.append((clamped, 1 - (clamped - inside).abs()))
    return neighbours


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("size", [(1, 2, 5, 3), (2, 1, 1, 4), (1, 1, 3, 1)])
def test_official_sampling_is_that_of_a_loop_over_pixels(
    size: tuple[int, int, int, int], reach: float
) -> None:
    inputs = random_case(size, reach)
    ours = deform_conv2d(*inputs, sampling="official")
    assert_equal_with_gradients(ours, official_pixel_by_pixel(*inputs), inputs)


def test_official_sampling_at_integer_coordinates() -> None:
    """The last row and column count double, the first ones do not."""
    features, offsets, weight = random_case((1, 2, 5, 4), 2.0)
    inputs = (features, offsets.detach().round(), weight)
    expected = official_pixel_by_pixel(*inputs)
    torch.testing.assert_close(deform_conv2d(*inputs, sampling="official"), expected)


@pytest.mark.parametrize("sampling", ["standard", "official"])
def test_coordinates_are_exact_in_wide_images(sampling: Sampling) -> None:
    features, offsets, _ = random_case((1, 1, 3, 4096), 2.0)
    found = sample_taps(features.float(), offsets.float(), sampling)
    assert (found - sample_taps(features, offsets, sampling)).abs().max() < 1e-2


@pytest.mark.parametrize("sampling", ["standard", "official"])
def test_coordinates_are_float32_under_autocast(sampling: Sampling) -> None:
    # bfloat16 would round columns beyond 256 to even numbers.
    features, offsets, _ = random_case((1, 1, 3, 600), 2.0)
    features, offsets = features.float(), offsets.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        samples = sample_taps(features, offsets, sampling)
    assert torch.equal(samples, sample_taps(features, offsets.float(), sampling))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_layer_computes_in_the_dtype_of_its_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, features = DeformConv2d(2, 3), torch.rand(1, 2, 6, 5)
    expected = layer(features)
    found = layer.to(dtype)(features.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("sampling", ["Official", "torchvision", ""])
def test_unknown_sampling_is_refused(sampling: str) -> None:
    with pytest.raises(
        ValueError, match=r"sampling is '.*', expected one of \('standard', 'official'\)"
    ):
        DeformConv2d(3, 4, sampling)  # type: ignore[arg-type]


def count_fast_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with every call of the fast path."""
    calls: list[object] = []
    original = deform._convolve_gathered

    def counted(*arguments: Any) -> Tensor:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(deform, "_convolve_gathered", counted)
    return calls


@pytest.mark.parametrize("strip", [1, 13, 2**14])
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling", ["standard", "official"])
def test_both_implementations_are_equal(
    sampling: Sampling,
    size: tuple[int, int, int, int],
    reach: float,
    strip: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without gradients a CPU gathers, strip by strip."""
    monkeypatch.setattr(deform, "_STRIP", strip)
    monkeypatch.setattr(deform, "_MIN_CHANNELS", 1)
    calls = count_fast_calls(monkeypatch)

    inputs = random_case(size, reach)
    plain = deform_conv2d(*inputs, sampling)
    assert len(calls) == 0
    with torch.no_grad():
        fast = deform_conv2d(*inputs, sampling)
    assert len(calls) == 1
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("channels", "gathers"), [(3, False), (12, True), (24, True)])
def test_few_channels_are_sampled(
    channels: int, gathers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_fast_calls(monkeypatch)
    features, weight = torch.rand(1, channels, 4, 4), torch.rand(2, channels, 3, 3)
    deform_conv2d(features, torch.rand(1, 18, 4, 4), weight)
    assert bool(calls) == gathers


def test_invalid_offsets_change_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deform, "_MIN_CHANNELS", 1)
    features, offsets, weight = random_case(SIZES[0], 1.0)
    with torch.no_grad():
        offsets[0, 0, 0, 0], offsets[0, 9, 1, 1], offsets[0, 10, 2, 2] = math.nan, math.inf, -1e30
        found = deform_conv2d(features, offsets, weight)
    assert found[..., 3:, 3:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_features_are_gathered_at_exact_places(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deform, "_MIN_CHANNELS", 1)
    case = random_case((1, 2, 5, 300), 1.0)
    features, offsets, weight = (tensor.detach().float() for tensor in case)

    exact = deform_conv2d(features.to(dtype).float(), offsets, weight.to(dtype).float())
    found = deform_conv2d(features.to(dtype), offsets, weight.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), exact, rtol=1e-2, atol=1e-2)
