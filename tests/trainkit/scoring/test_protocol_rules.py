"""Differences between the protocols."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from skimage.measure import block_reduce
from torch import Tensor

from tests.trainkit.scoring.references import REFERENCES, SIX_DB, SIZE, arrays, raw, scene
from trainkit.scoring.metrics import psnr, ssim
from trainkit.scoring.protocols import PROTOCOLS, Protocol, score


def test_plain_is_the_metrics_of_clamped_images() -> None:
    restored, clear = raw(SIZE)
    pair = restored.clamp(0, 1)[None], clear[None]
    expected = {
        "psnr": psnr(*pair).item(),
        "ssim": ssim(*pair).item(),
        "ssim_gaussian": ssim(*pair, gaussian=True).item(),
    }
    assert score("plain", restored, clear) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [144, 512])
@pytest.mark.parametrize("seed", range(3))
def test_the_official_map_adds_six_db(size: int, seed: int) -> None:
    pair = scene(size, seed=seed)
    assert score("thiefcloud", *pair)["psnr"] - score("plain", *pair)["psnr"] == pytest.approx(
        SIX_DB, abs=1e-9
    )
    assert pytest.approx(6.0206, abs=1e-5) == SIX_DB


def test_the_official_clamp_spares_negative_values_alone() -> None:
    """Above 1 both clamp alike. A value below 0 stays an error there, down to -1."""
    restored, clear = scene(SIZE)
    above, below, far_below = (restored.clone() for _ in range(3))
    above[:, 10, :] = 1.5
    below[:, 10, :], far_below[:, 10, :] = -1.0, -7.0
    gain = {
        name: score("thiefcloud", image, clear)["psnr"] - score("plain", image, clear)["psnr"]
        for name, image in {"above": above, "below": below, "far below": far_below}.items()
    }

    assert gain["above"] == pytest.approx(SIX_DB, abs=1e-9)
    assert gain["below"] < SIX_DB - 1
    assert gain["far below"] == pytest.approx(gain["below"], abs=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_clamps_at_0_and_1(protocol: Protocol) -> None:
    restored, clear = raw(SIZE)
    clamped = score(protocol, restored.clamp(0, 1), clear)
    same = score(protocol, restored, clear) == pytest.approx(clamped, abs=1e-12)
    assert same == (protocol not in ("thiefcloud", "geocr"))


def test_dehazeformer_differs_from_plain_by_pooling_alone() -> None:
    for size in (256, 383, 512):
        pair = raw(size)
        plain, pooled = score("plain", *pair), score("dehazeformer", *pair)
        assert pooled["psnr"] == pytest.approx(plain["psnr"], abs=1e-12)
        if size < 384:  # round(383 / 256) is 1
            assert pooled["ssim"] == pytest.approx(plain["ssim_gaussian"], abs=1e-12)
        else:
            assert pooled["ssim"] > plain["ssim_gaussian"] + 0.05


def test_pooling_of_512_is_a_mean_of_four() -> None:
    restored, clear = scene(512)
    halved = [
        torch.from_numpy(block_reduce(image.numpy(), (1, 2, 2), np.mean))
        for image in (restored, clear)
    ]
    for protocol in ("dehazeformer", "thiefcloud"):
        expected = score(protocol, halved[0], halved[1])["ssim"]
        assert score(protocol, restored, clear)["ssim"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [144, 256, 512])
@pytest.mark.parametrize("seed", range(3))
def test_halved_contrast_lifts_ssim(size: int, seed: int) -> None:
    pair = scene(size, seed=seed)
    assert score("thiefcloud", *pair)["ssim"] > score("dehazeformer", *pair)["ssim"]


def gray_levels(first: np.ndarray, second: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return gray images of these levels."""
    images = [
        torch.from_numpy(levels).expand(3, -1, -1).double() / 255 for levels in (first, second)
    ]
    return images[0], images[1]


def test_the_range_of_y_alone_adds_1_32_db() -> None:
    gain = 20 * math.log10(255 / 219)
    random = np.random.default_rng(0)
    exact = [
        85 * random.integers(0, 4, (32, 32)) for _ in range(2)
    ]  # 16, 89, 162, 235: nothing is rounded
    pair = gray_levels(exact[0], exact[1])
    assert score("matlab-y", *pair)["psnr"] - score("plain", *pair)["psnr"] == pytest.approx(
        gain, abs=1e-9
    )

    rounded = [random.integers(0, 256, (64, 64)) for _ in range(2)]
    pair = gray_levels(rounded[0], rounded[1])
    difference = score("matlab-y", *pair)["psnr"] - score("plain", *pair)["psnr"]
    assert difference == pytest.approx(gain, abs=0.01)
    assert difference != pytest.approx(gain, abs=1e-7)


def y_error(colour: tuple[float, float, float]) -> float:
    """Return the difference of Y of a colour from that of black, in levels, from the PSNR."""
    image = torch.tensor(colour, dtype=torch.float64).view(3, 1, 1).expand(3, 16, 16) / 255
    return 255 * 10 ** (-score("matlab-y", image, torch.zeros(3, 16, 16))["psnr"] / 20)


@pytest.mark.parametrize(
    ("colour", "y"),
    [
        ((255, 255, 255), 235),
        ((255, 0, 0), 81),  # 81.481
        ((0, 255, 0), 145),  # 144.553
        ((0, 0, 255), 41),  # 40.966
        ((127.5, 127.5, 127.5), 126),  # 8 bits: 128; Y 125.93. Without rounding to 8 bits: 125.5
        ((127.49, 127.49, 127.49), 125),  # 127; Y 125.07
    ],
)
def test_y_as_matlab_rounds_it(colour: tuple[float, float, float], y: int) -> None:
    assert y_error(colour) == pytest.approx(y - 16, abs=1e-9)


@cache
def halves() -> list[tuple[int, int, int]]:
    """Return colours with Y half way between levels: 299 R + 587 G + 114 B is 42500 or 127500."""
    grid = np.arange(256)
    luma = 299 * grid[:64, None, None] + 587 * grid[None, :, None] + 114 * grid[None, None, :]
    return [(int(r), int(g), int(b)) for r, g, b in np.argwhere(np.isin(luma, (42500, 127500)))]


def test_halves_of_y_are_rounded_up() -> None:
    colours = halves()
    assert len(colours) > 25
    for colour in colours[:25]:
        luma = sum(weight * level for weight, level in zip((299, 587, 114), colour, strict=True))
        assert y_error(colour) == pytest.approx({42500: 37, 127500: 110}[luma], abs=1e-9)


def test_spagan_weighs_blue_as_others_weigh_red() -> None:
    clear = torch.full((3, 16, 16), 0.5, dtype=torch.float64)
    error = {}
    for band in range(3):
        restored = clear.clone()
        restored[band] += 0.1
        error[band] = 10 ** (-score("spagan", restored, clear)["psnr"] / 20)
    assert error == pytest.approx({0: 0.0114478, 1: 0.0586611, 2: 0.0298912}, abs=1e-8)


def test_spagan_takes_white() -> None:
    """Its weights sum to a little more than 1."""
    white = torch.ones(3, 16, 16)
    assert score("spagan", white, white) == {"psnr": math.inf, "ssim": pytest.approx(1)}


def test_sui_truncates_and_keeps_8_bit_images() -> None:
    levels = torch.arange(256, dtype=torch.float32).view(1, 16, 16).expand(3, -1, -1)
    clear = levels / 255
    assert score("sui", (levels + 0.9).clamp(max=255) / 255, clear)["psnr"] == math.inf
    assert score("sui", (levels - 0.1) / 255, clear)["psnr"] == pytest.approx(
        20 * math.log10(255), abs=0.02
    )


@pytest.mark.parametrize("level", [0, 1, 51, 77, 128, 254, 255])
def test_sui_resizes_a_flat_image_without_losing_a_level(level: int) -> None:
    flat = torch.full((3, 300, 400), level / 255, dtype=torch.float64)
    expected = math.inf if level == 0 else 20 * math.log10(255 / level)
    assert score("sui", flat, torch.zeros(3, 300, 400))["psnr"] == pytest.approx(expected, abs=1e-9)


def test_sui_reduces_what_is_larger_than_256() -> None:
    restored, clear = scene(256)
    doubled = [image.repeat_interleave(2, 1).repeat_interleave(2, 2) for image in (restored, clear)]
    assert score("sui", restored, clear)["psnr"] == pytest.approx(
        REFERENCES["sui"](*arrays(restored, clear))["psnr"], abs=1e-9
    )
    assert (
        score("sui", doubled[0], doubled[1])["psnr"] > score("sui", restored, clear)["psnr"] + 0.01
    )  # its filter is wider


def test_rsdformer_is_blind_to_the_border() -> None:
    restored, clear = scene(160)
    harmed = restored.clone()
    harmed[:, :64], harmed[:, -64:], harmed[..., :64], harmed[..., -64:] = 0, 1, 0, 1
    assert score("rsdformer", harmed, clear) == score("rsdformer", restored, clear)
    harmed = restored.clone()
    harmed[:, 64, 64] = 0
    assert score("rsdformer", harmed, clear)["psnr"] < score("rsdformer", restored, clear)["psnr"]


def test_rsdformer_takes_the_mean_over_bands_of_db() -> None:
    clear = torch.full((3, SIZE, SIZE), 0.5)
    restored = clear + torch.tensor([0.1, 0.01, 0.001]).view(3, 1, 1)
    assert score("rsdformer", restored, clear)["psnr"] == pytest.approx(
        (20 + 40 + 60) / 3, abs=1e-3
    )
    assert score("plain", restored, clear)["psnr"] < 25
