import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from tests.helpers import noise
from trainkit.scoring.metrics import correlation, mean_absolute_error, psnr, ssim

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def like(image: Tensor, amount: float, seed: int = 9) -> Tensor:
    """Return the image mixed with noise."""
    bands, height, width = image.shape
    return image.lerp(noise(seed, bands=bands, height=height, width=width), amount)


def reference(image: Tensor, other: Tensor, *, gaussian: bool) -> float:
    first, second = (t.permute(1, 2, 0).double().numpy() for t in (image, other))
    return structural_similarity(
        first, second, channel_axis=-1, data_range=1, **(GAUSSIAN if gaussian else {})
    )


@pytest.mark.parametrize("amount", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("size", [(7, 7), (7, 23), (11, 11), (11, 12), (37, 19), (64, 48)])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_as_scikit_image(bands: int, size: tuple[int, int], amount: float) -> None:
    image = noise(bands=bands, height=size[0], width=size[1])
    other = like(image, amount)
    expected = peak_signal_noise_ratio(other.double().numpy(), image.double().numpy(), data_range=1)
    assert psnr(image[None], other[None]).item() == pytest.approx(expected, abs=1e-5)
    assert ssim(image[None], other[None]).item() == pytest.approx(
        reference(image, other, gaussian=False), abs=1e-5
    )

    if min(size) >= 11:
        assert ssim(image[None], other[None], gaussian=True).item() == pytest.approx(
            reference(image, other, gaussian=True), abs=1e-5
        )


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_images_as_scikit_image(level: float) -> None:
    """If the variance is 0 rounding decides; float32 would give wrong digits."""
    image, other = torch.full((3, 16, 16), level), torch.full((3, 16, 16), 0.9 * level)
    for gaussian in (False, True):
        expected = reference(image, other, gaussian=gaussian)
        assert ssim(image[None], other[None], gaussian=gaussian).item() == pytest.approx(
            expected, abs=1e-5
        )


def test_a_batch_is_many_images() -> None:
    images = torch.stack([noise(seed) for seed in range(3)])
    others = torch.stack([like(image, 0.1 * (i + 1)) for i, image in enumerate(images)])
    for metric in (
        psnr,
        ssim,
        lambda x, y: ssim(x, y, gaussian=True),
        mean_absolute_error,
        correlation,
    ):
        single = torch.cat([metric(images[i : i + 1], others[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(metric(images, others), single, rtol=0, atol=1e-12)
        assert len(set(single.tolist())) == 3


def test_equal_images() -> None:
    image = noise()[None]
    assert psnr(image, image).item() == math.inf
    assert ssim(image, image).item() == pytest.approx(1)
    assert psnr(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)).item() == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 1), st.booleans())
def test_symmetric_and_blind_to_orientation(seed: int, amount: float, gaussian: bool) -> None:
    x = noise(seed, height=13, width=12)[None]
    y = like(x[0], amount, seed + 1)[None]
    for metric in (psnr, lambda a, b: ssim(a, b, gaussian=gaussian)):
        value = metric(x, y).item()
        assert metric(y, x).item() == pytest.approx(value, abs=1e-9)
        assert metric(x.flip(2), y.flip(2)).item() == pytest.approx(value, abs=1e-9)
        assert metric(x.transpose(2, 3), y.transpose(2, 3)).item() == pytest.approx(value, abs=1e-9)
    assert -1 <= ssim(x, y, gaussian=gaussian).item() < 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            torch.full((1, 3, 16, 16), 1.001),
            r"image ranges from 1\.001 to 1\.001, expected \[0, 1\]",
        ),
        (torch.full((1, 3, 16, 16), -0.001), r"expected \[0, 1\]"),
        (torch.full((1, 3, 16, 16), math.nan), r"from nan to nan, expected \[0, 1\]"),
        (torch.zeros(1, 3, 16, 17), r"\(1, 3, 16, 17\) and \(1, 3, 16, 16\)"),
        (torch.zeros(3, 16, 16), r"expected \(N, C, H, W\)"),
        (torch.zeros(2, 3, 16, 16), r"expected \(N, C, H, W\) twice the same"),
    ],
)
def test_invalid_images_are_rejected(image: Tensor, message: str) -> None:
    good = torch.zeros(1, 3, 16, 16)
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match=message):
            metric(image, good)
    with pytest.raises(ValueError, match="reference"):
        psnr(good, torch.full((1, 3, 16, 16), 2.0))


@pytest.mark.parametrize("gaussian", [False, True])
def test_unbounded_as_scikit_image(gaussian: bool) -> None:
    """Values outside [0, 1] score by the same formula, for a range of 1."""
    image, other = 3 * noise(height=20, width=17) - 1, noise(1, height=20, width=17)
    expected = peak_signal_noise_ratio(other.double().numpy(), image.double().numpy(), data_range=1)
    assert psnr(image[None], other[None], bounded=False).item() == pytest.approx(expected, abs=1e-5)
    value = ssim(image[None], other[None], gaussian=gaussian, bounded=False).item()
    assert value == pytest.approx(reference(image, other, gaussian=gaussian), abs=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_unbounded_still_takes_numbers_only(metric: Callable[..., Tensor], bad: float) -> None:
    image, good = noise()[None], noise(1)[None]
    image[0, 1, 2, 3] = bad
    with pytest.raises(ValueError, match=r"the image ranges from .*, expected finite values"):
        metric(image, good, bounded=False)
    with pytest.raises(ValueError, match="the reference ranges"):
        metric(good, image, bounded=False)


@pytest.mark.parametrize("peak", [2.0, 255.0])
@pytest.mark.parametrize("gaussian", [False, True])
def test_another_range_is_a_matter_of_scale(peak: float, gaussian: bool) -> None:
    levels = [(peak * noise(seed, height=24, width=24)).double() for seed in (0, 1)]
    first, second = (t.permute(1, 2, 0).numpy() for t in levels)
    scaled = [t[None] / peak for t in levels]
    assert psnr(*scaled).item() == pytest.approx(
        peak_signal_noise_ratio(first, second, data_range=peak), abs=1e-9
    )

    expected = structural_similarity(
        first, second, channel_axis=-1, data_range=peak, **(GAUSSIAN if gaussian else {})
    )
    assert ssim(*scaled, gaussian=gaussian).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("gaussian", "size"), [(False, (6, 16)), (False, (16, 6)), (True, (10, 16)), (True, (16, 10))]
)
def test_smaller_than_the_window(gaussian: bool, size: tuple[int, int]) -> None:
    with pytest.raises(
        ValueError, match=f"{size[0]}x{size[1]} pixels, expected at least {11 if gaussian else 7}"
    ):
        ssim(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size), gaussian=gaussian)


def test_thickness_scores_as_numpy() -> None:
    x, y = noise(0, bands=1), noise(1, bands=1).lerp(noise(0, bands=1), 0.7)
    pair = x[None], y[None]
    expected = np.corrcoef(x.flatten().double().numpy(), y.flatten().double().numpy())[0, 1]
    assert correlation(*pair).item() == pytest.approx(expected, abs=1e-9)
    assert correlation(x[None], 1 - x[None]).item() == pytest.approx(-1)
    assert mean_absolute_error(*pair).item() == pytest.approx(
        np.abs(x.double().numpy() - y.double().numpy()).mean(), abs=1e-12
    )


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_correlation_with_a_constant_is_0(level: float) -> None:
    constant = torch.full((1, 1, 16, 16), level)
    assert correlation(noise(bands=1)[None], constant).item() == 0
    assert correlation(constant, constant).item() == 0
