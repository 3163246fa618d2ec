"""Removal of overlays, by the law with which they were laid."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from tests.thiefcloud.network.overlays import (
    changing,
    fix,
    laid_over,
    land,
    recognise_bright,
    with_overlay,
)
from thiefcloud import NoPrior, RemovalNetwork, ThiefCloud, UNet, restore, restore_and_detect
from thiefcloud.network.overlay import Overlay, uncover
from thiefcloud.network.statistics import image_statistics


def unguided() -> UNet:
    torch.manual_seed(1)
    return UNet(residual=True, inversion=False).eval()


@pytest.mark.parametrize("build", [changing, lambda: changing(inversion=False), unguided])
def test_an_untrained_overlay_changes_no_bit(build: Callable[[], RemovalNetwork]) -> None:
    model = build()
    other = copy.deepcopy(model)
    other.add_overlay()

    images = laid_over(land(), 0.4)
    images[0, :, :8, :8] = 0
    with torch.no_grad():
        for given in (None, image_statistics(images)):
            expected, found = (
                one.eval()(images, supervision=True, statistics=given) for one in (model, other)
            )
            for name, part in expected._asdict().items():
                assert (part is None) == (getattr(found, name) is None)
                assert part is None or torch.equal(part, getattr(found, name)), name


def test_an_untrained_overlay_changes_no_bit_of_what_is_restored() -> None:
    model = changing()
    other = copy.deepcopy(model)
    other.add_overlay()
    images = laid_over(land(), 0.4)
    images[0, :, :8, :8] = 0
    for fast in (False, True):
        expected = restore_and_detect(model, images, fast=fast)
        found = restore_and_detect(other.eval(), images, fast=fast)
        assert all(map(torch.equal, found, expected))


def test_an_untrained_overlay_says_nothing_of_any_image() -> None:
    images = laid_over(land(), 0.4)
    uncovered = uncover(Overlay(), images, None)
    assert torch.equal(uncovered.images, images)
    assert uncovered.statistics is not None
    assert torch.equal(uncovered.statistics, image_statistics(images))
    assert torch.equal(uncovered.opacity, torch.zeros(2, 1, 1, 1))
    assert torch.equal(uncovered.trust, torch.ones(2, 1, 1, 1))
    assert torch.equal(uncovered.total_gain(images), images)


def test_without_an_overlay_nothing_is_computed() -> None:
    images, statistics = land(), torch.rand(2, 5, 9)
    for given in (None, statistics):
        uncovered = uncover(None, images, given)
        assert uncovered.images is images
        assert uncovered.statistics is given
        assert not uncovered.opacity.any()


@pytest.mark.parametrize("opacity", [0.05, 0.3, 0.8])
def test_an_overlay_of_known_opacity_is_taken_away(opacity: float) -> None:
    clear = land()
    cloudy = laid_over(clear, opacity)
    uncovered = uncover(fix(Overlay(), opacity), cloudy, None)
    torch.testing.assert_close(uncovered.images, clear, rtol=0, atol=1e-5)
    torch.testing.assert_close(uncovered.opacity, torch.full((2, 1, 1, 1), opacity))
    gain = uncovered.total_gain(torch.full((2, 3, 1, 1), 2.0))
    torch.testing.assert_close(gain, torch.full((2, 3, 32, 48), 2 / (1 - opacity)))
    assert uncovered.statistics is not None
    expected = image_statistics(uncovered.images)
    torch.testing.assert_close(uncovered.statistics, expected, rtol=0, atol=1e-5)


def test_an_opacity_below_two_hundredths_is_none() -> None:
    statistics = image_statistics(land())
    for opacity, expected in ((0.019, 0.0), (0.021, 0.021)):
        found = fix(Overlay(), opacity)(statistics)
        torch.testing.assert_close(found, torch.full((2,), expected))


def test_pixels_stay_in_range_and_do_not_pass_for_those_without_data() -> None:
    images = land()
    images[:, :, 0], images[:, :, 1] = 1e-6, 1.0
    uncovered = uncover(fix(Overlay(), 0.5), images, None)
    assert torch.equal(uncovered.images[:, :, 0], torch.full((2, 3, 48), 1e-3))
    assert torch.equal(uncovered.images[:, :, 1], torch.ones(2, 3, 48))
    assert uncovered.statistics is not None
    assert uncovered.statistics[:, :3, 2:].min() >= 0
    assert uncovered.statistics[:, :3, 2:].max() <= 1


def test_pixels_without_data_stay_and_do_not_count() -> None:
    clear = land()
    cloudy = laid_over(clear, 0.3)
    cloudy[..., 40:] = 0
    overlay = fix(Overlay(), 0.3)
    uncovered = uncover(overlay, cloudy, None)
    assert not uncovered.images[..., 40:].any()
    torch.testing.assert_close(uncovered.images[..., :40], clear[..., :40], rtol=0, atol=1e-5)

    assert uncovered.statistics is not None
    mean = clear[..., :40].mean((2, 3))
    torch.testing.assert_close(uncovered.statistics[:, :3, 0], mean, rtol=0, atol=2e-3)


def test_one_band_of_data_is_enough() -> None:
    images = laid_over(land(), 0.3)
    images[:, 1:, 0, 0] = 0
    uncovered = uncover(fix(Overlay(), 0.3), images, None).images[:, :, 0, 0]
    assert torch.equal(uncovered[:, 1:], torch.full((2, 2), 1e-3))


def test_thickness_is_that_of_overlay_and_cloud() -> None:
    images = laid_over(land(), 0.4)
    thickness = torch.rand(2, 1, 32, 48)
    found = uncover(fix(Overlay(), 0.4), images, None).with_overlay(thickness)
    torch.testing.assert_close(found, 1 - 0.6 * (1 - thickness))

    model = changing()
    cloud = model(images).thickness
    both = with_overlay(model, 0.4)(images).thickness
    uncovered = uncover(model.overlay, images, None).images
    torch.testing.assert_close(both, 1 - 0.6 * (1 - model.prior(uncovered).thickness))
    assert not torch.allclose(both, cloud, atol=0.05)


def test_a_network_sees_the_image_without_its_overlay() -> None:
    model = changing()
    images = laid_over(land(), 0.4)
    uncovered = uncover(fix(Overlay(), 0.4), images, None)
    with torch.no_grad():
        expected = model(uncovered.images, statistics=uncovered.statistics, supervision=True)
        found = with_overlay(model, 0.4)(images, supervision=True)
    for name in ("restored", "half", "quarter", "inverted"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_a_removal_alone_is_the_clear_image() -> None:
    clear = land()
    cloudy = laid_over(clear, 0.35)
    model = with_overlay(UNet(residual=True, inversion=False), 0.35)
    assert model.reads_statistics
    for weight in model.parameters():
        if weight.shape[0] == 3:  # the head, which is what the network adds
            torch.nn.init.zeros_(weight)
    torch.testing.assert_close(model(cloudy).restored, clear, rtol=0, atol=1e-5)


def test_given_statistics_decide_instead_of_those_of_the_image() -> None:
    dark, bright = laid_over(land(), 0.3), 0.25 + laid_over(land(), 0.3)
    overlay = recognise_bright(fix(Overlay(), 0.3), 0.5)
    assert not uncover(overlay, dark, None).opacity.any()
    assert uncover(overlay, bright, None).opacity.all()

    found = uncover(overlay, dark, image_statistics(bright))
    assert found.opacity.all()
    torch.testing.assert_close(found.images, land(), rtol=0, atol=1e-5)
    assert found.statistics is not None
    expected = image_statistics(uncover(overlay, bright, None).images)
    torch.testing.assert_close(found.statistics, expected, rtol=0, atol=1e-5)
    assert torch.equal(uncover(overlay, bright, image_statistics(dark)).images, bright)


def test_each_image_of_a_batch_is_judged_by_itself() -> None:
    images = torch.cat((land(1, seed=1), 0.4 + land(1, seed=2), land(1, seed=3)))
    overlay = recognise_bright(fix(Overlay(), 0.3), 0.5)
    found = uncover(overlay, images, None)
    assert (found.opacity.flatten() > 0).tolist() == [False, True, False]
    assert torch.equal(found.images[::2], images[::2])
    assert found.statistics is not None
    assert torch.equal(found.statistics[::2], image_statistics(images[::2]))

    alone = uncover(overlay, images[1:2], None)
    torch.testing.assert_close(found.images[1:2], alone.images, rtol=0, atol=1e-6)
    assert (found.images[1] != images[1]).float().mean() > 0.99


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision(dtype: torch.dtype) -> None:
    precision = {torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    clear = land()
    overlay = fix(Overlay(), 0.3).to(dtype)
    uncovered = uncover(overlay, laid_over(clear, 0.3).to(dtype), None)
    assert uncovered.images.dtype == dtype
    assert uncovered.statistics is not None
    assert uncovered.statistics.dtype == uncovered.opacity.dtype == torch.float32
    torch.testing.assert_close(uncovered.images.float(), clear, rtol=0, atol=precision)
    assert uncovered.with_overlay(clear[:, :1].to(dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_half_precision_restores(dtype: torch.dtype) -> None:
    model = with_overlay(UNet(residual=True, inversion=True), 0.35)
    image = laid_over(land(), 0.35)
    expected, before = restore(model, image), image
    found = restore(model.to(dtype), image)
    assert (found - expected).abs().max() < 0.03
    assert (expected - before).abs().mean() > 0.03


def test_the_perceptrons_compute_in_float32_under_autocast() -> None:
    overlay, statistics = fix(Overlay(), 0.3), image_statistics(land())
    torch.nn.init.normal_(overlay.opacity.last.weight, std=0.3)
    expected = overlay(statistics)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(overlay(statistics), expected)


def test_other_numbers_of_bands() -> None:
    clear = 0.05 + 0.5 * torch.rand(2, 4, 32, 32)
    uncovered = uncover(fix(Overlay(4), 0.3), laid_over(clear, 0.3), None)
    torch.testing.assert_close(uncovered.images, clear, rtol=0, atol=1e-5)
    model = UNet(4)
    assert model.add_overlay()(torch.rand(1, 7, 9)).shape == (1,)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ThiefCloud(NoPrior(), residual=True, inversion=True),
        lambda: UNet(4, residual=True),
    ],
)
def test_files_keep_the_overlay(build: Callable[[], RemovalNetwork], tmp_path: Path) -> None:
    torch.manual_seed(4)
    model, path = build(), tmp_path / "weights.pt"
    assert "overlay" not in model.config
    overlay = fix(model.add_overlay(), 0.3)
    torch.nn.init.normal_(overlay.opacity.last.weight)
    assert model.config["overlay"] is True
    save_checkpoint(path, model.kind, model.config, {"model": model.state_dict()})

    loaded = thiefcloud.load(path)
    assert loaded.config == model.config
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], weight) for name, weight in model.state_dict().items())

    images = torch.rand(2, model.in_channels, 16, 16)
    assert loaded.overlay is not None
    assert torch.equal(loaded.overlay(image_statistics(images)), overlay(image_statistics(images)))
    model.eval()
    assert torch.equal(restore(loaded, images), restore(model, images))


def test_files_without_an_overlay_stay_so(tmp_path: Path) -> None:
    model, path = UNet(), tmp_path / "weights.pt"
    save_checkpoint(path, model.kind, model.config, {"model": model.state_dict()})
    loaded = thiefcloud.load(path)
    assert loaded.overlay is None
    assert "overlay" not in loaded.config
    assert not any("overlay" in name for name in loaded.state_dict())
    assert not loaded.reads_statistics
