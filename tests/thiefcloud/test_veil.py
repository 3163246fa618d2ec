"""The even veil: estimated from statistics alone, and taken away before the network begins."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from tests.helpers import write_images, write_pairs
from thiefcloud import NoPrior, ThiefCloud, UNet, restore
from thiefcloud.data import Looks, open_data
from thiefcloud.options import DataOptions, TrainOptions
from thiefcloud.veil import EvenVeil, fit_veil, see, statistics, veiled

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
def fitted() -> EvenVeil:
    veil = EvenVeil()
    fit_veil(veil, [pairs_under(ground(64, 0), 1)], steps=600, seed=3, show_progress=False)
    return veil


def test_an_unfitted_veil_changes_nothing() -> None:
    images = torch.rand(2, 3, 9, 13)
    assert torch.equal(EvenVeil()(images), images)


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


def test_veiled_statistics_are_those_of_veiled_images() -> None:
    clear = ground(40, 5)
    seen = veiled(statistics(clear), torch.Generator().manual_seed(1))
    transmission = seen.cloudy[..., 1] / seen.clear[..., 1]
    added = seen.cloudy[..., 0] - transmission * seen.clear[..., 0]
    cloudy = transmission[..., None, None] * clear + added[..., None, None]
    for found, wanted in zip(seen, see(cloudy, clear), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert cloudy.min() >= 0
    assert cloudy.max() <= 1
    untouched = (transmission == 1).all(1)
    assert 0 < untouched.float().mean() < 0.4
    assert transmission[~untouched].min() >= 0.04
    assert torch.equal(seen.cloudy[untouched], seen.clear[untouched])


def test_it_learns_to_take_away_veils_it_has_not_seen(fitted: EvenVeil) -> None:
    cloudy, clear = pairs_under(ground(32, 10), 11)
    assert error(fitted(cloudy), clear) < 0.3 * error(cloudy, clear)
    assert error(fitted(clear), clear) < 0.3 * error(cloudy, clear)
    assert not any(weight.requires_grad for weight in fitted.parameters())


def test_equal_seeds_fit_equal_veils() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(0)
        veil = EvenVeil()
        fit_veil(veil, [pairs_under(ground(8, 0), 1)], steps=3, seed=seed, show_progress=False)
        return torch.cat([weight.flatten() for weight in veil.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_error_it_reports_is_that_of_its_images(fitted: EvenVeil) -> None:
    veil, (cloudy, clear) = EvenVeil(), pairs_under(ground(16, 2), 3)
    reported = fit_veil(veil, [(cloudy, clear)], steps=40, show_progress=False)
    assert reported == pytest.approx(error(veil(cloudy), clear), abs=1e-5)


@pytest.mark.parametrize("bands", [1, 4])
def test_other_numbers_of_bands(bands: int) -> None:
    veil, images = EvenVeil(bands), torch.rand(2, bands, 8, 8)
    fit_veil(veil, [(images, images)], steps=2, show_progress=False)
    assert veil(images).shape == images.shape


def test_precision_is_kept_under_autocast(fitted: EvenVeil) -> None:
    images = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = fitted(images)
    assert torch.equal(inside, fitted(images))


@pytest.mark.parametrize("kind", ["thiefcloud", "unet"])
def test_a_network_begins_where_the_veil_leaves_off(kind: str, fitted: EvenVeil, tmp_path: Path) -> None:
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
    assert torch.equal(restore(loaded, cloudy), restore(model, cloudy))


def test_prior_sees_the_cloudy_image_and_the_network_the_rest(fitted: EvenVeil) -> None:
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


def test_looks_are_whole_images_and_parts_of_them(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", 4, height=24, width=32)
    write_images(tmp_path / "land", ["a.png", "b.png"], height=40, width=24)
    (tmp_path / "mixture.toml").write_text(
        '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 1\nvalidate = false\n'
        '[[source]]\ndataset = "clear"\nfolder = "land"\nsimulated = 1\nclear = 1\n',
        encoding="utf-8",
    )
    data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=tmp_path / "mixture.toml"))
    looks = Looks(data, smallest=16, seed=1, device=CPU)
    found = list(looks)
    assert len(found) == len(looks) == 256
    assert all(cloudy.shape == clear.shape and cloudy.shape[:2] == (1, 3) for cloudy, clear in found)
    sizes = {tuple(clear.shape[-2:]) for _, clear in found}
    assert {(24, 32), (40, 24)} <= sizes
    assert {min(size) for size in sizes} == set(range(16, 25))
    uses = {"as it is": 0, "pair": 0, "simulated": 0}
    for cloudy, clear in found:
        as_pair = torch.allclose(cloudy, 0.5 * clear + 0.4, atol=0.004)
        uses["as it is" if torch.equal(cloudy, clear) else "pair" if as_pair else "simulated"] += 1
    assert all(count > 256 / 8 * 0.5 for count in uses.values())
    assert all(torch.equal(one, other) for a, b in zip(found, looks, strict=True) for one, other in zip(a, b, strict=True))


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
