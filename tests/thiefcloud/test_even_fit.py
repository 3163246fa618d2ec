"""The coarsest step of the inversion, fitted to statistics of whole images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.helpers import write_images, write_pairs
from thiefcloud.data import WholeImages, open_data
from thiefcloud.even_fit import Moments, fit_even, random_hazes
from thiefcloud.inversion import Inversion, image_statistics
from thiefcloud.options import DataOptions

CPU = torch.device("cpu")


def ground(count: int, seed: int) -> Tensor:
    """Clear images that have dark places and bright ones, each by its own curve."""
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(count, 3, 24, 24, generator=random)
    return 0.9 * values ** (1 + 2 * torch.rand(count, 1, 1, 1, generator=random))


def hazy(clear: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Those images under gray even hazes: cloudy and clear."""
    random = torch.Generator().manual_seed(seed)
    transmission, air_light = (
        low + span * torch.rand(len(clear), 1, 1, 1, generator=random) for low, span in ((0.3, 0.7), (0.6, 0.3))
    )
    return clear * transmission + air_light * (1 - transmission), clear


def inverted(inversion: Inversion, images: Tensor) -> Tensor:
    gain, offset = inversion.even_gain_and_offset(image_statistics(images))
    return gain[..., None, None] * images + offset[..., None, None]


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).detach().square().mean().sqrt())


def test_moments_tell_the_squared_error() -> None:
    cloudy, clear, gain, offset = torch.rand(3, 2, 8, 9), torch.rand(3, 2, 8, 9), torch.rand(3, 2), torch.rand(3, 2)
    wanted = (gain[..., None, None] * cloudy + offset[..., None, None] - clear).square().mean((1, 2, 3))
    torch.testing.assert_close(Moments.of(cloudy, clear).squared_error(gain, offset), wanted, rtol=0, atol=1e-6)


def test_moments_of_hazes_are_those_of_hazy_images() -> None:
    clear = torch.rand(40, 3, 24, 40)
    transmission, added = random_hazes(40, 3, torch.Generator().manual_seed(1))
    under = transmission[..., None, None] * clear + added[..., None, None]
    for found, wanted in zip(Moments.of(clear, clear).hazed(transmission, added), Moments.of(under, clear), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_random_hazes_leave_images_in_range_and_some_alone() -> None:
    transmission, added = random_hazes(1000, 3, torch.Generator().manual_seed(1))
    assert added.min() >= 0
    assert (transmission + added).max() <= 1
    untouched = (transmission == 1).all(1)
    assert untouched.float().mean() == pytest.approx(0.15, abs=0.04)
    assert not added[untouched].any()
    assert (transmission[~untouched].diff(dim=1) <= 0).all()  # red is dimmed least


def test_it_learns_to_remove_hazes_it_has_not_seen() -> None:
    torch.manual_seed(0)
    inversion = Inversion()
    reported = fit_even(inversion, [hazy(ground(64, 0), 1)], steps=400, seed=3, show_progress=False)
    cloudy, clear = hazy(ground(64, 0), 1)
    assert reported == pytest.approx(error(inverted(inversion, cloudy), clear), abs=1e-5)
    cloudy, clear = hazy(ground(32, 10), 11)
    assert error(inverted(inversion, cloudy), clear) < 0.3 * error(cloudy, clear)
    assert error(inverted(inversion, clear), clear) < 0.3 * error(cloudy, clear)


def test_black_shadows_under_cloud_are_ground_but_black_rims_are_not() -> None:
    clear = torch.rand(1, 3, 16, 32)
    clear[..., :8, :] = 0
    cloudy = 0.5 * clear + 0.4
    rimmed = [torch.nn.functional.pad(image, (0, 0, 0, 8)) for image in (cloudy, clear)]
    with_rim, without = Moments.of(rimmed[0], rimmed[1]), Moments.of(cloudy, clear)
    torch.testing.assert_close(with_rim.cloudy[..., 0], without.cloudy[..., 0])
    torch.testing.assert_close(with_rim.clear[..., 0], without.clear[..., 0])


def test_equal_seeds_fit_equally() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(0)
        inversion = Inversion()
        fit_even(inversion, [hazy(ground(8, 0), 1)], steps=3, seed=seed, show_progress=False)
        return torch.cat([weight.flatten() for weight in inversion.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_whole_images_are_drawn_as_a_pass_draws_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thiefcloud.data._FEWEST", 120)
    write_pairs(tmp_path / "pairs", 4, height=12, width=30)
    write_images(tmp_path / "land", ["a.png", "b.png"], height=40, width=36)
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 1\nvalidate = false\n'
        '[[source]]\ndataset = "clear"\nfolder = "land"\nsimulated = 1\nclear = 1\n',
        encoding="utf-8",
    )
    data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=tmp_path / "mixture.toml"))
    images = WholeImages(data, seed=1, device=CPU)
    found = list(images)
    assert len(found) == len(images) == 120
    assert {tuple(clear.shape) for _, clear in found} == {(1, 3, 12, 30), (1, 3, 40, 36)}
    uses = {"as it is": 0, "pair": 0, "simulated": 0}
    for cloudy, clear in found:
        as_pair = torch.allclose(cloudy, 0.5 * clear + 0.4, atol=0.004)
        uses["as it is" if torch.equal(cloudy, clear) else "pair" if as_pair else "simulated"] += 1
    assert all(count > 120 / 8 for count in uses.values())
    assert all(torch.equal(one, other) for a, b in zip(found, images, strict=True) for one, other in zip(a, b, strict=True))


def test_large_images_are_seen_in_two_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thiefcloud.data._LARGE", 64)
    monkeypatch.setattr("thiefcloud.data._FEWEST", 60)
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)  # a chessboard; at half scale an even gray
    (tmp_path / "land").mkdir()
    Image.fromarray(np.stack((board,) * 3, axis=2)).save(tmp_path / "land" / "board.png")
    (tmp_path / "mixture.toml").write_text('[[source]]\ndataset = "clear"\nfolder = "land"\nclear = 1\n', encoding="utf-8")
    data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=tmp_path / "mixture.toml"))
    even = [bool(clear.std() < 0.01) for _, clear in WholeImages(data, seed=1, device=CPU)]
    assert 0.3 < sum(even) / len(even) < 0.7
