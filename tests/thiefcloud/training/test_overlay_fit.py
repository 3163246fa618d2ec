"""Opacity and recognition of overlays, fitted to statistics of images."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import read_unit, write_image
from scpm import CloudOptions
from tests.batches import ALONE
from tests.helpers import write_images, write_pairs
from tests.thiefcloud.network.overlays import laid_over
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.data.options import DataOptions, Dataset
from thiefcloud.network.overlay import Overlay, uncover
from thiefcloud.network.statistics import image_statistics
from thiefcloud.training.overlay_fit import (
    Pairs,
    Samples,
    best_opacity,
    fit_overlay,
    fit_trust,
    psnr_without,
    read_samples,
)

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


def opened(folder: Path, text: str) -> Data:
    mixture = folder / "mixture.toml"
    mixture.write_text(text, encoding="utf-8")
    clouds = CloudOptions(even_fraction=0.0)
    options = DataOptions(dataset="mixture", root=folder, mixture=mixture, clouds=clouds)
    return open_data(options)


def read(data: Data, seed: int = 1) -> Samples:
    return read_samples(data, ALONE, crop=16, seed=seed, show_progress=False)


PAIRS = '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 2\nvalidate = false\n'
OTHER = '[[source]]\ndataset = "folder"\nfolder = "other"\npairs = 2\nvalidate = false\n'
LAND = '[[source]]\ndataset = "clear"\nfolder = "land"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folders of pairs, and clear images, all of them small."""
    write_pairs(tmp_path / "pairs", 4, height=24, width=32)
    write_pairs(tmp_path / "other", 6, height=25, width=31)
    write_images(tmp_path / "land", ["a.png", "b.png"], height=40, width=36)
    return tmp_path


def statistics_in(*folders: Path) -> set[float]:
    """Return the mean of each image of some folders."""
    means = set()
    for folder in folders:
        for path in folder.iterdir():
            means.add(float(image_statistics(read_unit(path)[None])[0, 0, 0]))
    return means


def means(statistics: Tensor) -> list[float]:
    return sorted(map(float, statistics[:, 0, 0]))


def test_sources_under_overlays_and_others_are_kept_apart(root: Path) -> None:
    text = f"{PAIRS}overlay = true\nclear = 2\nveiled = 1\n{OTHER}{LAND}clear = 3\nsimulated = 4\n"
    samples = read(opened(root, text))
    # Each image counts once, however often a pass draws it.
    assert means(samples.pairs.cloudy) == sorted(statistics_in(root / "pairs" / "cloudy"))
    assert means(samples.pairs.clear) == sorted(statistics_in(root / "pairs" / "clear"))

    others = statistics_in(root / "other" / "cloudy", root / "other" / "clear", root / "land")
    assert samples.others is not None
    assert {*means(samples.others.cloudy), *means(samples.others.clear)} == others
    assert samples.crops.shape[1:] == (5, 9)
    assert len(samples.crops) >= 16


def test_crops_are_under_simulated_clouds(root: Path) -> None:
    plain, cloudy = (
        read(opened(root, f"{PAIRS}overlay = true\n{LAND}{use} = 8\n"))
        for use in ("clear", "simulated")
    )
    assert torch.equal(*(samples.pairs.cloudy for samples in (plain, cloudy)))
    assert plain.others is not None
    assert cloudy.others is not None
    assert torch.equal(plain.others.cloudy, cloudy.others.cloudy)
    assert len(plain.crops) == len(cloudy.crops) == 16
    assert cloudy.crops[..., 0].mean() > plain.crops[..., 0].mean() + 0.02


def test_equal_seeds_read_equally(root: Path) -> None:
    data = opened(root, f"{PAIRS}overlay = true\n{LAND}simulated = 8\n")
    first, again, other = read(data), read(data), read(data, seed=2)
    assert torch.equal(first.crops, again.crops)
    assert not torch.equal(first.crops, other.crops)
    assert first.others is not None
    assert other.others is not None
    assert torch.equal(first.others.cloudy, other.others.cloudy)


def test_few_other_images_are_enough(root: Path) -> None:
    samples = read(opened(root, f"{PAIRS}overlay = true\n{LAND}clear = 1\n"))
    assert len(samples.crops) > 0
    assert samples.others is not None
    assert len(samples.others.clear) == 2


def test_all_pairs_are_under_overlays_if_no_source_says_so(root: Path) -> None:
    samples = read(opened(root, f"{PAIRS}{OTHER}{LAND}clear = 1\n"))
    expected = statistics_in(root / "pairs" / "cloudy", root / "other" / "cloudy")
    assert means(samples.pairs.cloudy) == sorted(expected)
    assert samples.others is None
    assert len(samples.crops) == 0

    data = open_data(DataOptions(dataset="folder", root=root / "pairs"))
    assert len(read(data).pairs.cloudy) == len(data.train) == 3


@pytest.mark.parametrize("dataset", ["clear", "simulated"])
def test_images_without_pairs_are_refused(root: Path, dataset: Dataset) -> None:
    data = open_data(DataOptions(dataset=dataset, root=root / "land"))
    with pytest.raises(UserError, match="there is no pair of images under an overlay, expected"):
        read(data)


def test_pairs_of_two_sizes_are_refused(root: Path) -> None:
    data = opened(root, PAIRS)
    path = data.train[0].clear
    write_image(path, read_unit(path)[:, 1:])
    with pytest.raises(UserError, match=r"have the shapes .*expected two images of the same size"):
        read(data)


def test_pixels_without_data_do_not_count(root: Path) -> None:
    whole = read(opened(root, PAIRS)).pairs
    for name in ("cloudy", "clear"):
        for path in (root / "pairs" / name).iterdir():
            image = read_unit(path)
            write_image(path, torch.cat((image, torch.zeros_like(image)), dim=1))
    padded = read(opened(root, PAIRS)).pairs
    torch.testing.assert_close(padded.cloudy[..., 0], whole.cloudy[..., 0], rtol=0, atol=2e-3)
