"""Opacity and recognition of overlays, fitted to statistics of images."""

import pytest
import torch
from torch import Tensor

from tests.thiefcloud.network.overlays import laid_over
from thiefcloud.network.overlay import Overlay, uncover
from thiefcloud.network.statistics import image_statistics
from thiefcloud.training.overlay_fit import (
    best_opacity,
    fit_overlay,
    fit_trust,
    psnr_without,
)
from thiefcloud.training.overlay_samples import Pairs, Samples

NOTHING = torch.empty(0, 5, 9)


def ground(count: int, seed: int) -> Tensor:
    """Clear images with dark and bright places, each by its own curve."""
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(count, 3, 24, 24, generator=random)
    exponents = 1 + 2 * torch.rand(count, 1, 1, 1, generator=random)
    return 0.02 + 0.9 * values**exponents


def hazy(clear: Tensor) -> Tensor:
    """Those images under an even haze whose colour is not that of overlays."""
    return 0.6 * clear + 0.36 * torch.tensor([0.8, 0.9, 1.0]).view(3, 1, 1)


def opacities(count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 0.2 + 0.5 * torch.rand(count, generator=random)


def covered(clear: Tensor, opacity: Tensor) -> Tensor:
    return torch.stack([laid_over(*pair) for pair in zip(clear, opacity, strict=True)])


def fitted(samples: Samples, *, steps: int, seed: int = 1) -> Overlay:
    torch.manual_seed(0)
    overlay = Overlay()
    fit_overlay(overlay, samples, steps=steps, seed=seed, show_progress=False)
    return overlay


@pytest.fixture(scope="module")
def overlay() -> Overlay:
    """An overlay that was fitted to 64 pairs, and other images."""
    clear = ground(64, 0)
    others = ground(64, 1)
    pairs = Pairs.of(covered(clear, opacities(64, 1)), clear)
    return fitted(
        Samples(pairs, Pairs.of(hazy(others), others), image_statistics(ground(64, 2))), steps=200
    )


@torch.no_grad()
def test_the_fit_tells_the_opacity_of_overlays_that_it_has_not_seen(overlay: Overlay) -> None:
    clear, opacity = ground(100, 10), opacities(100, 11)
    found = overlay.raw_opacity(image_statistics(covered(clear, opacity)))
    error = (found - opacity).abs().mean()
    guess = (opacity.mean() - opacity).abs().mean()
    assert guess > 0.1
    assert error < 0.01


@torch.no_grad()
def test_the_fit_recognises_overlays_and_nothing_else(overlay: Overlay) -> None:
    clear = ground(100, 12)
    under = overlay(image_statistics(covered(clear, opacities(100, 13))))
    assert (under > 0).float().mean() > 0.95
    for others in (clear, hazy(clear)):
        assert (overlay(image_statistics(others)) > 0).float().mean() < 0.05


@torch.no_grad()
def test_images_are_restored_by_the_fit(overlay: Overlay) -> None:
    clear = ground(50, 14)
    cloudy = covered(clear, opacities(50, 15))
    error = (uncover(overlay, cloudy, None).images - clear).square().mean().sqrt()
    assert error < 0.1 * (cloudy - clear).square().mean().sqrt()


def test_without_other_images_overlays_are_told_from_the_clear_images_of_pairs() -> None:
    clear = ground(64, 0)
    pairs = Pairs.of(covered(clear, opacities(64, 1)), clear)
    overlay = fitted(Samples(pairs, None, NOTHING), steps=100)
    clear = ground(50, 16)
    under = image_statistics(covered(clear, opacities(50, 17)))
    with torch.no_grad():
        assert (overlay(under) > 0).float().mean() > 0.95
        assert (overlay(image_statistics(clear)) > 0).float().mean() < 0.05


def test_among_other_images_recognition_is_cautious(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = ground(8, 0)
    pairs = Pairs.of(covered(clear, opacities(8, 1)), clear)
    alone = Samples(pairs, None, NOTHING)
    among = Samples(pairs, Pairs.of(hazy(clear), clear), image_statistics(hazy(clear)))
    statistics = image_statistics(ground(5, 2))
    for samples, difference in ((among, 1.0), (alone, 0.0)):
        monkeypatch.undo()
        cautious = fitted(samples, steps=3)
        monkeypatch.setattr("thiefcloud.training.overlay_fit._CAUTION", 0.0)
        bold = fitted(samples, steps=3)
        found = (overlay.recognition(statistics).detach() for overlay in (bold, cautious))
        torch.testing.assert_close(next(found) - next(found), torch.full((5,), difference))


@pytest.mark.parametrize(
    ("best", "expected"), [(0.9, 1.0), (0.6, 0.5), (0.75, 1.0), (0.25, 0.5), (-3.0, 0.0)]
)
def test_the_trust_is_the_best_one_and_the_largest_of_equal_ones(
    best: float, expected: float
) -> None:
    overlay = Overlay()

    def score() -> float:
        return -abs(float(overlay.trust) - best)

    assert fit_trust(overlay, score) == {trust: -abs(trust - best) for trust in (1.0, 0.5, 0.0)}
    assert overlay.trust == expected


def test_the_best_opacity_is_that_of_the_overlay() -> None:
    clear, opacity = ground(20, 0), opacities(20, 1)
    cloudy = covered(clear, opacity)
    pairs = Pairs.of(cloudy, clear)
    torch.testing.assert_close(best_opacity(pairs), opacity, rtol=0, atol=0.0026)
    assert torch.equal(best_opacity(Pairs.of(clear, clear)), torch.zeros(20))

    untouched = psnr_without(pairs, torch.zeros(20))
    error = (cloudy - clear).square().mean((1, 2, 3))  # `trimmed` changes little of it
    assert untouched == pytest.approx(float(-10 * error.log10().mean()), abs=0.1)
    assert psnr_without(pairs, best_opacity(pairs)) > untouched + 20
    assert psnr_without(pairs, opacity) > 60


def test_equal_seeds_fit_equally() -> None:
    clear = ground(8, 0)
    pairs = Pairs.of(covered(clear, opacities(8, 1)), clear)
    samples = Samples(pairs, Pairs.of(hazy(clear), clear), image_statistics(hazy(clear)))

    def weights(seed: int) -> dict[str, Tensor]:
        return dict(fitted(samples, steps=3, seed=seed).named_parameters())

    first, again, other = weights(1), weights(1), weights(2)
    for name, weight in first.items():
        assert torch.equal(weight, again[name])
        assert not torch.equal(weight, other[name])
