"""The coarsest step of the inversion, fitted to statistics of whole images."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tests.helpers import write_images, write_pairs
from thiefcloud.data.batches import WholeImages
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.data.options import DataOptions
from thiefcloud.network.inversion import Inversion
from thiefcloud.network.statistics import image_statistics, trimmed
from thiefcloud.training.even_fit import Moments, fit_even, random_hazes

CPU = torch.device("cpu")


def ground(count: int, seed: int) -> Tensor:
    """Clear images with dark and bright places, each by its own curve."""
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(count, 3, 24, 24, generator=random)
    exponents = 1 + 2 * torch.rand(count, 1, 1, 1, generator=random)
    return 0.9 * values**exponents


def hazy(clear: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Those images under gray even hazes: cloudy and clear."""
    random = torch.Generator().manual_seed(seed)
    transmission = 0.3 + 0.7 * torch.rand(len(clear), 1, 1, 1, generator=random)
    air_light = 0.6 + 0.3 * torch.rand(len(clear), 1, 1, 1, generator=random)
    return clear * transmission + air_light * (1 - transmission), clear


def inverted(inversion: Inversion, images: Tensor) -> Tensor:
    gain, offset = inversion.even_gain_and_offset(image_statistics(images))
    return gain[..., None, None] * images + offset[..., None, None]


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().square().mean().sqrt())


def test_moments_give_the_squared_error() -> None:
    cloudy, clear = torch.rand(3, 2, 8, 9), torch.rand(3, 2, 8, 9)
    gain, offset = torch.rand(3, 2), torch.rand(3, 2)
    kept_cloudy = trimmed(cloudy, image_statistics(cloudy))
    kept_clear = trimmed(clear, image_statistics(clear))
    restored = gain[..., None, None] * kept_cloudy + offset[..., None, None]
    expected = (restored - kept_clear).square().mean((1, 2, 3))
    found = Moments.of(cloudy, clear).squared_error(gain, offset)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_moments_of_hazes_are_those_of_hazy_images() -> None:
    clear = torch.rand(40, 3, 24, 40)
    transmission, added = random_hazes(40, 3, torch.Generator().manual_seed(1))
    cloudy = transmission[..., None, None] * clear + added[..., None, None]
    computed, expected = (
        Moments.of(clear, clear).hazed(transmission, added),
        Moments.of(cloudy, clear),
    )
    for found, part in zip(computed, expected, strict=True):
        torch.testing.assert_close(found, part, rtol=0, atol=1e-4)


def test_random_hazes_leave_images_in_range_and_some_alone() -> None:
    transmission, added = random_hazes(1000, 3, torch.Generator().manual_seed(1))
    assert added.min() >= 0
    assert (transmission + added).max() <= 1
    untouched = (transmission == 1).all(1)
    assert untouched.float().mean() == pytest.approx(0.15, abs=0.04)
    assert not added[untouched].any()
    assert (transmission[~untouched].diff(dim=1) <= 0).all()  # red is dimmed least


def test_the_fit_removes_hazes_that_it_has_not_seen() -> None:
    torch.manual_seed(0)
    inversion = Inversion()
    training = [hazy(ground(64, 0), 1)]
    reported = fit_even(inversion, training, steps=400, seed=3, show_progress=False)

    cloudy, clear = hazy(ground(64, 0), 1)
    assert reported == pytest.approx(error(inverted(inversion, cloudy), clear), abs=1e-4)
    cloudy, clear = hazy(ground(32, 10), 11)
    assert error(inverted(inversion, cloudy), clear) < 0.3 * error(cloudy, clear)
    assert error(inverted(inversion, clear), clear) < 0.3 * error(cloudy, clear)


def test_black_shadows_under_cloud_are_ground_but_black_rims_are_not() -> None:
    clear = torch.rand(1, 3, 16, 32)
    clear[..., :8, :] = 0
    cloudy = 0.5 * clear + 0.4
    rim = (0, 0, 0, 8)
    with_rim = Moments.of(F.pad(cloudy, rim), F.pad(clear, rim))
    without = Moments.of(cloudy, clear)
    # The rim's filling narrows the outermost quantiles a little.
    for padded, alone in ((with_rim.cloudy, without.cloudy), (with_rim.clear, without.clear)):
        torch.testing.assert_close(padded[..., 0], alone[..., 0], rtol=0, atol=1e-3)


def test_equal_seeds_fit_equally() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(0)
        inversion = Inversion()
        fit_even(inversion, [hazy(ground(8, 0), 1)], steps=3, seed=seed, show_progress=False)
        return torch.cat([weight.flatten() for weight in inversion.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def opened(folder: Path) -> Data:
    mixture = folder / "mixture.toml"
    return open_data(DataOptions(dataset="mixture", root=folder, mixture=mixture))


def use_of(cloudy: Tensor, clear: Tensor) -> str:
    if torch.equal(cloudy, clear):
        return "clear"
    return "pair" if torch.allclose(cloudy, 0.5 * clear + 0.4, atol=0.004) else "simulated"


def test_whole_images_are_drawn_as_a_pass_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thiefcloud.data.batches._FEWEST", 120)
    write_pairs(tmp_path / "pairs", 4, height=12, width=30)
    write_images(tmp_path / "land", ["a.png", "b.png"], height=40, width=36)
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 1\nvalidate = false\n'
        '[[source]]\ndataset = "clear"\nfolder = "land"\nsimulated = 1\nclear = 1\n',
        encoding="utf-8",
    )
    data = opened(tmp_path)
    images = WholeImages(data, seed=1, device=CPU)
    found = list(images)
    assert len(found) == len(images) == 120
    assert {tuple(clear.shape) for _, clear in found} == {(1, 3, 12, 30), (1, 3, 40, 36)}

    uses = Counter(use_of(cloudy, clear) for cloudy, clear in found)
    assert uses.keys() == {"clear", "pair", "simulated"}
    assert min(uses.values()) > 120 / 8
    for first, again in zip(found, images, strict=True):
        assert all(map(torch.equal, first, again))


def test_large_images_are_used_at_two_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thiefcloud.data.batches._LARGE", 64)
    monkeypatch.setattr("thiefcloud.data.batches._FEWEST", 60)
    # A chessboard is an even gray at half scale.
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    (tmp_path / "land").mkdir()
    Image.fromarray(np.stack((board,) * 3, axis=2)).save(tmp_path / "land" / "board.png")
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "clear"\nfolder = "land"\nclear = 1\n', encoding="utf-8"
    )

    images = WholeImages(opened(tmp_path), seed=1, device=CPU)
    even = [bool(clear.std() < 0.01) for _, clear in images]
    assert 0.3 < sum(even) / len(even) < 0.7
