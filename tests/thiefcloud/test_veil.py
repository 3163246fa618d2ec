"""The veil: estimated from statistics alone, and taken away before the network begins."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from tests.helpers import write_images, write_pairs
from thiefcloud import NoPrior, ThiefCloud, UNet, restore
from thiefcloud.data import Looks, open_data
from thiefcloud.options import DataOptions, TrainOptions
from thiefcloud.veil import Veil, fit_veil
from thiefcloud.veil.seen import CELL, Seen, cells, filled, has_data, random_veils, see, see_cells, statistics

CPU = torch.device("cpu")


def ground(count: int, seed: int) -> Tensor:
    """Clear images that have dark places and bright ones, each by its own curve."""
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(count, 3, 24, 24, generator=random)
    return 0.9 * values ** (1 + 2 * torch.rand(count, 1, 1, 1, generator=random))


def pairs_under(clear: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Those images under gray even veils: cloudy and clear."""
    random = torch.Generator().manual_seed(seed)
    transmission, air_light = (
        low + span * torch.rand(len(clear), 1, 1, 1, generator=random) for low, span in ((0.3, 0.7), (0.6, 0.3))
    )
    return clear * transmission + air_light * (1 - transmission), clear


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().mean().sqrt())


@pytest.fixture(scope="module")
def fitted() -> Veil:
    veil = Veil()
    fit_veil(veil, [pairs_under(ground(64, 0), 1)], steps=400, seed=3, show_progress=False)
    return veil


def test_an_unfitted_veil_changes_nothing() -> None:
    images = torch.rand(2, 3, 9, 13)
    assert torch.equal(Veil()(images), images)


def test_statistics_are_those_of_numpy() -> None:
    images = torch.rand(2, 4, 17, 31)
    found = statistics(images)
    assert found.shape == (2, 4, 11)
    pixels = images.flatten(2).double().numpy()
    quantiles = np.quantile(pixels, [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999], axis=2)
    wanted = np.concatenate((pixels.mean(2)[None], pixels.std(2)[None], quantiles)).transpose(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


def test_a_large_image_is_looked_at_by_a_grid() -> None:
    ramp = torch.linspace(0, 1, 1000).expand(1, 1, 1000, 1000)
    assert torch.allclose(statistics(ramp)[0, 0, :2], torch.tensor([0.5, math.sqrt(1 / 12)]), atol=0.005)


def test_moments_tell_the_squared_error() -> None:
    cloudy, clear, gain, offset = torch.rand(3, 2, 8, 9), torch.rand(3, 2, 8, 9), torch.rand(3, 2), torch.rand(3, 2)
    wanted = (gain[..., None, None] * cloudy + offset[..., None, None] - clear).square().mean((1, 2, 3))
    torch.testing.assert_close(see(cloudy, clear).squared_error(gain, offset), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("look", [see, see_cells])
def test_veiled_statistics_are_those_of_veiled_images(look: Callable[[Tensor, Tensor], Seen]) -> None:
    cloudy, clear = torch.rand(40, 3, 24, 40), torch.rand(40, 3, 24, 40)
    transmission, added = random_veils(40, 3, torch.Generator().manual_seed(1))
    under = transmission[..., None, None] * cloudy + added[..., None, None]
    for found, wanted in zip(look(cloudy, clear).veiled(transmission, added), look(under, clear), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    for found, wanted in zip(look(cloudy, clear).cleared(), look(clear, clear), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_random_veils_leave_images_in_range_and_some_alone() -> None:
    transmission, added = random_veils(1000, 3, torch.Generator().manual_seed(1))
    assert added.min() >= 0
    assert (transmission + added).max() <= 1
    untouched = (transmission == 1).all(1)
    assert untouched.float().mean() == pytest.approx(0.15, abs=0.04)
    assert transmission[~untouched].min() >= 0.04
    assert not added[untouched].any()
    assert (transmission[~untouched].diff(dim=1) <= 0).all()  # red is dimmed least
    mild, _ = random_veils(1000, 3, torch.Generator().manual_seed(1), thickest=0.3)
    assert mild.min() >= 0.7**1.2


def test_cells_are_squares_that_borders_may_cut() -> None:
    images = torch.rand(2, 3, 40, 16)
    found = cells(images)
    assert found.shape == (2, 3, 4, 3, 1)
    last = images[1, 2, 32:]
    wanted = torch.stack((last.mean(), last.std(correction=0), last.min(), last.max()))
    torch.testing.assert_close(found[1, 2, :, 2, 0], wanted)


def test_it_learns_to_take_away_veils_it_has_not_seen(fitted: Veil) -> None:
    cloudy, clear = pairs_under(ground(32, 10), 11)
    assert error(fitted(cloudy), clear) < 0.3 * error(cloudy, clear)
    assert error(fitted(clear), clear) < 0.3 * error(cloudy, clear)
    assert not any(weight.requires_grad for weight in fitted.parameters())


def test_it_learns_to_take_away_what_changes_from_place_to_place() -> None:
    """Half of each image lies under a veil; its statistics alone would not tell which."""

    def half_veiled(count: int, seed: int) -> tuple[Tensor, Tensor]:
        clear = 0.5 * torch.rand(count, 3, 4 * CELL, 4 * CELL, generator=torch.Generator().manual_seed(seed))
        transmission = torch.ones_like(clear)
        transmission[: count // 2, ..., : 2 * CELL] = 0.4
        transmission[count // 2 :, :, : 2 * CELL] = 0.4
        return clear * transmission + 0.9 * (1 - transmission), clear

    veil = Veil()
    fit_veil(veil, [half_veiled(32, 0)], steps=250, show_progress=False)
    cloudy, clear = half_veiled(8, 1)

    assert error(veil(cloudy), clear) < 0.5 * error(cloudy, clear)
    gain, _ = veil.gain_and_offset(cells(cloudy), statistics(cloudy))
    assert gain[0, 0, :, 0].min() > 1.5 * gain[0, 0, :, -1].max()


def test_black_rims_are_not_taken_for_ground(fitted: Veil) -> None:
    cloudy, _ = pairs_under(ground(2, 20), 21)
    torch.testing.assert_close(filled(cloudy, has_data(cloudy)), cloudy)
    rimmed = torch.nn.functional.pad(cloudy, (0, 24, 0, 0))
    assert torch.equal(fitted(rimmed)[..., 24:], torch.zeros(2, 3, 24, 24))
    ground_mean = filled(rimmed, has_data(rimmed))[..., 24:]
    torch.testing.assert_close(ground_mean, cloudy.mean((2, 3), keepdim=True).expand_as(ground_mean))
    without_rim, with_rim = fitted(cloudy), fitted(rimmed)[..., :24]
    as_dark_ground = fitted(rimmed.clamp_min(1e-9))[..., :24]
    assert error(with_rim, without_rim) < 0.5 * error(as_dark_ground, without_rim)
    black = torch.zeros(1, 3, 16, 16)
    assert torch.equal(fitted(black), black)


def test_black_shadows_under_cloud_are_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is black in both halves of a pair is no ground."""
    clear = torch.rand(1, 3, CELL, 2 * CELL)
    clear[..., :8, :] = 0
    cloudy = 0.5 * clear + 0.4
    cloudy[..., CELL:] = clear[..., CELL:] = 0
    looked_at: list[tuple[Tensor, Tensor]] = []

    def see_and_keep(*pair: Tensor) -> Seen:
        looked_at.append((pair[0], pair[1]))
        return see(*pair)

    monkeypatch.setattr("thiefcloud.veil.fitting.see", see_and_keep)
    fit_veil(Veil(), [(cloudy, clear)], steps=1, show_progress=False)
    ((seen_cloudy, seen_clear),) = looked_at
    assert not seen_clear[..., :8, :CELL].any()
    torch.testing.assert_close(seen_cloudy, 0.5 * seen_clear + 0.4)


def test_looks_of_several_sizes_are_fitted_together() -> None:
    veil = Veil()
    fit_veil(veil, [pairs_under(torch.rand(1, 3, side, side), side) for side in (8, 16, 40, 40)], steps=3, show_progress=False)
    assert veil(torch.rand(1, 3, 17, 40)).shape == (1, 3, 17, 40)


def test_equal_seeds_fit_equal_veils() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(0)
        veil = Veil()
        fit_veil(veil, [pairs_under(ground(8, 0), 1)], steps=3, seed=seed, show_progress=False)
        return torch.cat([weight.flatten() for weight in veil.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_error_it_reports_is_that_of_its_images() -> None:
    veil, (cloudy, clear) = (
        Veil(),
        pairs_under(ground(16, 2)[..., :CELL, :CELL], 3),
    )  # of one cell, in which gain and offset are even
    reported = fit_veil(veil, [(cloudy, clear)], steps=40, show_progress=False)
    assert reported == pytest.approx(error(veil(cloudy), clear), abs=1e-5)


@pytest.mark.parametrize("bands", [1, 4])
def test_other_numbers_of_bands(bands: int) -> None:
    veil, images = Veil(bands), torch.rand(2, bands, 8, 8)
    fit_veil(veil, [(images, images)], steps=2, show_progress=False)
    assert veil(images).shape == images.shape


def test_precision_is_kept_under_autocast(fitted: Veil) -> None:
    images = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = fitted(images)
    assert torch.equal(inside, fitted(images))


@pytest.mark.parametrize("kind", ["thiefcloud", "unet"])
def test_a_network_begins_where_the_veil_leaves_off(kind: str, fitted: Veil, tmp_path: Path) -> None:
    model = ThiefCloud(NoPrior(), residual=True, veil=True) if kind == "thiefcloud" else UNet(residual=True, veil=True)
    assert model.veil is not None
    model.veil.load_state_dict(fitted.state_dict())
    cloudy, _ = pairs_under(ground(2, 7), 8)
    result = model.train()(cloudy)
    for output in (result.restored, result.half, result.quarter):
        assert torch.equal(output, fitted(cloudy))
    model.tune_prior()
    assert not any(weight.requires_grad for weight in model.veil.parameters())

    save_checkpoint(tmp_path / "best.pt", model.kind, model.config, {"model": model.state_dict()})
    loaded = thiefcloud.load(tmp_path / "best.pt")
    assert loaded.config["veil"]
    torch.testing.assert_close(restore(loaded, cloudy), restore(model, cloudy), rtol=0, atol=1e-6)


def test_prior_sees_the_cloudy_image_and_the_network_the_rest(fitted: Veil) -> None:
    with_veil, without = ThiefCloud(SCPM(), residual=True, veil=True).eval(), ThiefCloud(SCPM(), residual=True).eval()
    assert with_veil.veil is not None
    with_veil.veil.load_state_dict(fitted.state_dict())
    without.load_state_dict({name: weight for name, weight in with_veil.state_dict().items() if not name.startswith("veil.")})
    seen: list[Tensor] = []
    with_veil.shallow.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    cloudy, _ = pairs_under(ground(1, 7), 8)
    with torch.no_grad():
        assert torch.equal(with_veil(cloudy).thickness, without(cloudy).thickness)
    assert torch.equal(seen[0], fitted(cloudy))


@pytest.mark.parametrize("network", [lambda **ways: ThiefCloud(NoPrior(), **ways), UNet])
def test_a_veil_needs_the_path_around(network: type[UNet]) -> None:
    with pytest.raises(ValueError, match="needs residual = True"):
        network(veil=True)


def test_looks_are_squares_of_few_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thiefcloud.data._SIDES", (16, 32))
    monkeypatch.setattr("thiefcloud.data._USUAL", 32)
    write_pairs(tmp_path / "pairs", 4, height=12, width=30)
    write_images(tmp_path / "land", ["a.png", "b.png"], height=40, width=36)
    write_images(tmp_path / "city", ["a.png"], height=64, width=70)
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 1\nvalidate = false\n'
        '[[source]]\ndataset = "clear"\nfolder = "land"\nsimulated = 1\nclear = 1\n'
        '[[source]]\ndataset = "clear"\nfolder = "city"\nclear = 4\n',
        encoding="utf-8",
    )
    data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=tmp_path / "mixture.toml"))
    looks = Looks(data, seed=1, device=CPU)
    found = list(looks)
    assert len(found) == len(looks) == 256
    assert all(cloudy.shape == clear.shape and cloudy.shape[:2] == (1, 3) for cloudy, clear in found)
    sizes = [tuple(clear.shape[-2:]) for _, clear in found]
    assert set(sizes) == {(12, 12), (16, 16), (32, 32)}
    assert sizes.count((32, 32)) > 2 * sizes.count((16, 16)) > 0
    uses = {"as it is": 0, "pair": 0, "simulated": 0}
    for cloudy, clear in found:
        as_pair = torch.allclose(cloudy, 0.5 * clear + 0.4, atol=0.004)
        uses["as it is" if torch.equal(cloudy, clear) else "pair" if as_pair else "simulated"] += 1
    assert all(count > 256 / 12 for count in uses.values())
    assert all(torch.equal(one, other) for a, b in zip(found, looks, strict=True) for one, other in zip(a, b, strict=True))


def test_large_images_are_looked_at_in_two_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thiefcloud.data._SIDES", (32,))
    monkeypatch.setattr("thiefcloud.data._USUAL", 32)
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)  # a chessboard; at half scale an even gray
    (tmp_path / "land").mkdir()
    Image.fromarray(np.stack((board,) * 3, axis=2)).save(tmp_path / "land" / "board.png")
    (tmp_path / "mixture.toml").write_text('[[source]]\ndataset = "clear"\nfolder = "land"\nclear = 1\n', encoding="utf-8")
    data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=tmp_path / "mixture.toml"))
    even = [bool(clear.std() < 0.01) for _, clear in Looks(data, seed=1, device=CPU)]
    assert 0.3 < sum(even) / len(even) < 0.7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"veil": 10}, "--veil needs --residual"),
        ({"veil": -1, "residual": True}, "veil"),
        ({"pretrained": Path("best.pt"), "network": "unet"}, "--pretrained brings its network and prior along"),
        ({"pretrained": Path("best.pt"), "no_prior": True}, "--pretrained brings its network and prior along"),
    ],
)
def test_options_that_contradict(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**given)
