"""Scenes under an overlay: windows, gains and exported networks."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import thiefcloud
from scpm import SCPM
from tests.thiefcloud.inference.scenes import scene
from tests.thiefcloud.network.inversions import randomised
from tests.thiefcloud.network.overlays import laid_over, recognise_bright, with_overlay
from thiefcloud import (
    RemovalNetwork,
    ThiefCloud,
    UNet,
    Window,
    restore,
    restore_and_detect,
)
from thiefcloud.inference.export import Exportable, export
from thiefcloud.inference.tiles import ArraySource
from thiefcloud.inference.windows import restore_with_gain
from thiefcloud.network.overlay import uncover
from thiefcloud.network.statistics import image_statistics

OPACITY = 0.4
WINDOWS = [Window(0, 0, 40, 40), Window(43, 51, 33, 41), Window(60, 76, 20, 20)]


def inverting() -> ThiefCloud:
    """A network whose parts all change images, with an overlay."""
    torch.manual_seed(1)
    model = ThiefCloud(SCPM(), residual=True, inversion=True)
    model.inversion = randomised()
    for weight in model.level_full.head.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    with_overlay(model, OPACITY)
    return model


def plain() -> UNet:
    """A network without inversion."""
    torch.manual_seed(1)
    model = UNet(residual=True, inversion=False)
    with_overlay(model, OPACITY)
    return model


def under_overlay() -> Tensor:
    """A scene under an overlay, with a corner without data."""
    clear = scene(80, 96)
    return torch.where(clear.any(0), laid_over(clear, OPACITY), 0)


@pytest.mark.parametrize(("build", "fast"), [(inverting, False), (inverting, True), (plain, False)])
def test_any_window_is_that_of_one_pass(build: Callable[[], RemovalNetwork], fast: bool) -> None:
    model, image = build(), under_overlay()
    source = ArraySource(image.numpy())
    expected = restore_and_detect(model, image, fast=fast)
    assert (expected[0] - image).abs().mean() > 0.03

    statistics = thiefcloud.measure_scene(model, source, fast=fast, tile=64)
    for window in WINDOWS:
        found = thiefcloud.restore_window(model, source, statistics, window)
        for one, other, tolerance in zip(found, expected, (1e-5, 1e-3), strict=True):
            difference = (one - window.of(other)).abs() * window.of(image).any(0)
            assert difference.max() < tolerance


def test_statistics_of_the_scene_decide_in_each_window() -> None:
    model, image = plain(), scene(80, 96)
    image = torch.where(image.any(0), (0.2 + 0.6 * image), 0)
    image[:, :, 60:] *= 0.4
    assert model.overlay is not None
    recognise_bright(model.overlay, 0.45)
    dark, bright = Window(40, 60, 36, 36), Window(40, 10, 36, 36)
    for window, recognised in ((dark, False), (bright, True)):
        part = image_statistics(window.of(image)[None])
        assert bool(model.overlay(part) > 0) == recognised

    source = ArraySource(image.numpy())
    statistics = thiefcloud.measure_scene(model, source)
    assert statistics.image is not None
    is_overlay = bool(model.overlay(statistics.image) > 0)
    for window in (dark, bright):
        thickness = thiefcloud.restore_window(model, source, statistics, window)[1]
        expected = torch.full_like(thickness, OPACITY if is_overlay else 0)
        torch.testing.assert_close(thickness, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fast", [False, True])
def test_the_gain_is_that_of_overlay_and_inversion(fast: bool) -> None:
    model, image, window = inverting(), under_overlay(), Window(0, 10, 60, 50)
    source = ArraySource(image.numpy())
    statistics = thiefcloud.measure_scene(model, source, fast=fast)
    pixels, _, found = restore_with_gain(model, source, statistics, window, gain=True)

    with torch.no_grad():
        clear = uncover(model.overlay, image[None], statistics.image).images[0]
    without = ArraySource(clear.numpy())
    model.overlay = None
    statistics = thiefcloud.measure_scene(model, without, fast=fast)
    expected_pixels, _, gain = restore_with_gain(model, without, statistics, window, gain=True)

    valid = window.of(image).any(0)
    assert 0 < (~valid).sum() < valid.sum()
    expected = torch.where(valid, gain / (1 - OPACITY), 1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(pixels, expected_pixels, rtol=0, atol=2e-3)
    assert gain.std() > 0.01


def test_the_gain_of_an_overlay_alone() -> None:
    model, image, window = plain(), under_overlay(), Window(0, 10, 60, 50)
    source = ArraySource(image.numpy())
    statistics = thiefcloud.measure_scene(model, source)
    gain = restore_with_gain(model, source, statistics, window, gain=True)[2]
    expected = torch.where(window.of(image).any(0), 1 / (1 - OPACITY), 1).expand(3, -1, -1)
    torch.testing.assert_close(gain, expected)
    assert torch.equal(
        restore_with_gain(model, source, statistics, window)[2], torch.ones(3, 60, 50)
    )


def test_batches_and_all_orientations_have_the_same_overlay() -> None:
    model, image = plain(), under_overlay()
    thickness = restore_and_detect(model, image, flips=True)[1]
    expected = OPACITY * image.any(0, keepdim=True)
    torch.testing.assert_close(thickness, expected, rtol=0, atol=1e-5)

    assert model.overlay is not None
    recognise_bright(model.overlay, float(image[:, image.any(0)].mean()) - 0.05)
    images = torch.stack((image, 0.5 * image))
    found = restore_and_detect(model, images)[1].amax((1, 2, 3))
    torch.testing.assert_close(found, torch.tensor([OPACITY, 0.0]), rtol=0, atol=1e-5)
    for one, its_thickness in zip(images, found, strict=True):
        assert restore_and_detect(model, one)[1].max() == its_thickness


def test_the_exported_network_is_the_same(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    model, path = plain(), tmp_path / "model.onnx"
    assert Exportable(model).inputs == ["image", "statistics"]
    assert export(model, path, {}) < 1e-5

    image = under_overlay()
    expected = restore(model, image)
    found = restore(thiefcloud.load_onnx(path), image)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - image).abs().mean() > 0.03


def test_the_exported_network_tells_overlays_from_statistics(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    model, path, image = plain(), tmp_path / "model.onnx", under_overlay()[None, :, :64, :64]
    assert model.overlay is not None
    recognise_bright(model.overlay, 0.5)
    export(model, path, {}, tile=64)

    session = onnxruntime.InferenceSession(path)
    for one, recognised in ((0.4 * image, False), (image.clamp_min(0.6), True)):
        with torch.no_grad():
            result = model(one)
        assert bool((result.thickness > 0).any()) == recognised
        (found,) = session.run(None, {"image": one.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), result.restored, rtol=0, atol=1e-5)
