"""A window of a scene is restored as one pass over the whole restores it."""

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from scpm import SCPM
from scpm.network.scene import Moments
from tests.helpers import noise
from tests.thiefcloud.inference.scenes import scene, with_random_residual
from tests.thiefcloud.network.inversions import randomised
from thiefcloud import (
    NoPrior,
    RemovalNetwork,
    Restoration,
    Restorer,
    ThiefCloud,
    UNet,
    restore,
    restore_and_detect,
)
from thiefcloud.inference.measuring import measure_scene
from thiefcloud.inference.scene_statistics import HALOS
from thiefcloud.inference.scenes import restore_scene
from thiefcloud.inference.tiles import ArraySource, ArrayTarget, Window
from thiefcloud.inference.windows import COARSEST, reach_of, restore_window

# At corners, across the edges of measured tiles, of odd sizes.
WINDOWS = [Window(0, 0, 40, 40), Window(57, 131, 33, 71), Window(137, 211, 46, 52)]


def of_the_paper() -> ThiefCloud:
    """A network without inversion: its gates decide all."""
    torch.manual_seed(1)
    return ThiefCloud(SCPM(sampling="official")).eval()


def far_seeing() -> UNet:
    """A network whose inversion needs a wide halo."""
    model = UNet(residual=True, inversion=True).eval()
    model.inversion = randomised()
    return model


@pytest.mark.parametrize("build", [with_random_residual, of_the_paper, far_seeing])
def test_any_window_is_that_of_one_pass(build: Callable[[], RemovalNetwork]) -> None:
    model = build()
    image = scene(183, 263)
    source = ArraySource(image.numpy())
    expected = restore_and_detect(model, image)

    statistics = measure_scene(model, source, tile=128)
    for window in WINDOWS:
        found = restore_window(model, source, statistics, window)
        valid = window.of(image).any(0)
        for one, other, tolerance in zip(found, expected, (1e-5, 1e-3), strict=True):
            difference = (one - window.of(other)).abs() * valid
            assert difference.max() < tolerance


@pytest.mark.parametrize("build", [with_random_residual, of_the_paper])
def test_odd_pixels_are_replaced_as_in_one_pass(build: Callable[[], RemovalNetwork]) -> None:
    model = build()
    image = scene(183, 263)
    image[:, 100:103, 100:103], image[:, 101, 101] = 0.5, 0  # without data among the ground
    odd = noise(3, height=183, width=263)
    image = torch.where((odd[:1] < 0.01) & image.any(0), (odd > 0.5).float(), image)
    image[:, :, :20] = 0.9  # a border, where the margin of the filter ends
    source = ArraySource(image.numpy())
    expected = restore(model, image)

    statistics = measure_scene(model, source, tile=128)
    for window in [*WINDOWS, Window(0, 15, 50, 60)]:
        found, _ = restore_window(model, source, statistics, window)
        difference = (found - window.of(expected)).abs() * window.of(image).any(0)
        assert difference.max() < 1e-5


def test_a_tile_by_itself_differs() -> None:
    """Otherwise the test above would show nothing."""
    model, image = with_random_residual(), scene(183, 263)
    window = WINDOWS[1]
    difference = restore(model, window.of(image)) - window.of(restore(model, image))
    assert difference.abs().max() > 1e-2


def test_fast_restoration_is_the_inversion_alone() -> None:
    torch.manual_seed(2)
    model = ThiefCloud(NoPrior(), residual=True, inversion=True).eval()  # behind it comes nothing
    model.inversion = randomised()
    image = scene(90, 110)
    source = ArraySource(image.numpy())

    statistics = measure_scene(model, source, tile=64, fast=True)
    found, _ = restore_window(model, source, statistics, Window(20, 30, 50, 60))
    expected = Window(20, 30, 50, 60).of(restore(model, image))
    valid = Window(20, 30, 50, 60).of(image).any(0)
    torch.testing.assert_close(found * valid, expected * valid, rtol=0, atol=1e-5)
    assert not torch.allclose(found, Window(20, 30, 50, 60).of(image), atol=0.05)


@pytest.mark.parametrize("build", [with_random_residual, far_seeing])
@pytest.mark.parametrize("size", [(183, 263), (496, 90)])
def test_any_fast_window_is_that_of_one_fast_pass(
    build: Callable[[], RemovalNetwork], size: tuple[int, int]
) -> None:
    model, image = build(), scene(*size)
    image[:, : size[0] // 8] = 0.9  # a border, so that the ground begins at no multiple
    source = ArraySource(image.numpy())
    expected = restore_and_detect(model, image, fast=True)

    statistics = measure_scene(model, source, tile=128, fast=True)
    for window in [Window(20, 0, 40, 40), Window(57, 31, 33, 57), Window(137, 17, 46, 52)]:
        found = restore_window(model, source, statistics, window)
        valid = window.of(image).any(0)
        for one, other, tolerance in zip(found, expected, (1e-5, 1e-3), strict=True):
            difference = (one - window.of(other)).abs() * valid
            assert difference.max() < tolerance


def test_halos_grow_with_the_range_of_the_inversion() -> None:
    source = ArraySource(scene(500, 90).numpy())
    near = UNet(residual=True, inversion=True)
    assert measure_scene(near, source).halo == 128
    assert measure_scene(near, source, fast=True).halo == 192  # of a prior at half the scale
    assert measure_scene(far_seeing(), source).halo > 128


@pytest.mark.parametrize("halo", [HALOS[0], HALOS[-1]])
def test_a_part_of_a_scene_is_enough_for_its_windows(halo: int) -> None:
    """Statistics, window and part travel to another process, and the result has equal bits."""
    model, image = far_seeing(), scene(1000, 1100)
    image[:, :, :27] = 0.9  # a border
    source = ArraySource(image.numpy())
    statistics = replace(measure_scene(model, source, fast=True, most=1), halo=halo)
    reach = reach_of(statistics)

    sent = pickle.loads(pickle.dumps((statistics, model)))
    for window in (Window(0, 0, 40, 40), Window(497, 503, 21, 45), Window(950, 1080, 50, 20)):
        near = window.grown(reach, 1, (1000, 1100))
        part = ArraySource(near.of(image).numpy(), at=near[:2], size=(1000, 1100))
        expected = restore_window(model, source, statistics, window)
        found = restore_window(sent[1], part, sent[0], window)
        assert all(map(torch.equal, found, expected))

    smaller = Window(497, 503, 21, 45).grown(reach - COARSEST, 1, (1000, 1100))
    part = ArraySource(smaller.of(image).numpy(), at=smaller[:2], size=(1000, 1100))
    with pytest.raises(ValueError, match="expected one that holds Window"):
        restore_window(model, part, statistics, Window(497, 503, 21, 45))


class Exported(Restorer):
    """A network without parts."""

    in_channels, reads_statistics, sees_thickness = 3, False, True

    def forward(self, *arguments: object, **named: object) -> Restoration:
        """Fail: it is refused before it runs."""
        pytest.fail("it ran")


def test_other_things_than_networks_sources_and_windows_are_named() -> None:
    model, image = UNet().eval(), scene(40, 48)
    source, target = ArraySource(image.numpy()), ArrayTarget(image.numpy())
    statistics = measure_scene(model, source)
    for wrong in (Exported(), "general"):
        message = f"the model is {type(wrong).__name__}, expected a network of thiefcloud.load"
        with pytest.raises(UserError, match=message):
            measure_scene(wrong, source)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            restore_scene(wrong, source, target)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            restore_window(wrong, source, statistics, Window(0, 0, 8, 8))  # type: ignore[arg-type]

    for other in (image, image.numpy()):
        message = f"the scene is {type(other).__name__}, expected a source"
        with pytest.raises(UserError, match=message):
            measure_scene(model, other)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            restore_window(model, other, statistics, Window(0, 0, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"the window is \(0, 0, 8, 8\), expected thiefcloud.Win"):
        restore_window(model, source, statistics, (0, 0, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the model is Tensor, expected a network"):
        restore(image, model)  # type: ignore[arg-type]


def misplaced(numbers: Tensor) -> Tensor:
    """Return equal numbers, which begin at another place in memory than PyTorch would choose."""
    place = torch.empty(numbers.numel() + 1)[1:].view(numbers.shape)
    return place.copy_(numbers)


def test_statistics_that_come_from_elsewhere_give_the_same_bits() -> None:
    model, source = of_the_paper(), ArraySource(scene(144, 192).numpy())
    statistics = measure_scene(model, source, tile=64)
    moments = {}
    for name, (mean, variance) in statistics.moments.items():
        moments[name] = Moments(misplaced(mean), misplaced(variance))
    elsewhere = replace(statistics, moments=moments)
    for window in Window(0, 0, 144, 192).tiles(48):
        expected = restore_window(model, source, statistics, window)
        found = restore_window(model, source, elsewhere, window)
        assert all(map(torch.equal, found, expected))
