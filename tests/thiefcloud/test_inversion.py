"""The guided inversion: gain and offset at each place, before the network begins."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import CheckpointError, save_checkpoint
from scpm import SCPM, CloudOptions, Prior, simulate_clouds
from thiefcloud import NoPrior, ThiefCloud, UNet, restore
from thiefcloud.inversion import CELL, Inversion, cell_statistics, fill, guide, has_data, image_statistics
from thiefcloud.options import TrainOptions

GRAY = CloudOptions(angstrom=(0.0, 0.0), tint=0.0, blueness=(0.0, 0.0), patchy_brightness=(0.9, 0.9), opacity=(0.3, 0.8))


def nothing(images: Tensor) -> Prior:
    return NoPrior(images.shape[1])(images)


def randomised(bands: int = 3) -> Inversion:
    """An inversion that changes images, each place otherwise."""
    torch.manual_seed(1)
    inversion = Inversion(bands)
    for layer in (*inversion.heads, inversion.even, inversion.from_guide):
        torch.nn.init.normal_(layer.weight, std=0.2)
    return inversion.eval()


def ground(count: int, seed: int, size: int = 64) -> Tensor:
    """Clear land: dark texture with bright spots."""
    random = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(count, 3, size // 8, size // 8, generator=random), scale_factor=8)
    return 0.35 * coarse * torch.rand(count, 3, size, size, generator=random)


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (64, 136)])
def test_untrained_it_changes_nothing(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(Inversion()(images, nothing(images)), images, rtol=0, atol=1e-6)


def test_restored_is_gain_times_image_plus_offset() -> None:
    inversion, images = randomised(), torch.rand(2, 3, 40, 72)
    gain, offset = inversion.gain_and_offset(cell_statistics(images), guide(nothing(images)), image_statistics(images))
    assert gain.shape == offset.shape == (2, 3, 10, 18)
    assert gain.std() > 0.01
    maps = (F.interpolate(part, scale_factor=CELL, mode="bilinear") for part in (gain, offset))
    first, second = maps
    wanted = first * images + second
    torch.testing.assert_close(inversion(images, nothing(images)), wanted, rtol=0, atol=1e-5)


def test_image_statistics_are_those_of_numpy() -> None:
    images = torch.rand(2, 4, 17, 31)
    found = image_statistics(images)
    assert found.shape == (2, 4, 11)
    pixels = images.flatten(2).double().numpy()
    quantiles = np.quantile(pixels, [0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999], axis=2)
    wanted = np.concatenate((pixels.mean(2)[None], pixels.std(2)[None], quantiles)).transpose(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)


def test_a_large_image_is_sampled() -> None:
    ramp = torch.linspace(0, 1, 1000).expand(1, 1, 1000, 1000)
    assert torch.allclose(image_statistics(ramp)[0, 0, :2], torch.tensor([0.5, (1 / 12) ** 0.5]), atol=0.005)


def test_cell_statistics_by_hand() -> None:
    images = torch.rand(2, 3, 16, 24)
    found = cell_statistics(images)
    assert found.shape == (2, 12, 4, 6)
    cell = images[1, 2, 8:12, 20:24]
    wanted = torch.stack((cell.mean(), cell.std(correction=0), cell.min(), cell.max()))
    torch.testing.assert_close(found[1, 2::3, 2, 5], wanted, rtol=0, atol=1e-5)


def test_the_guide_holds_thickness_and_features_of_each_cell() -> None:
    images = torch.rand(1, 3, 32, 40)
    prior = SCPM().eval()(images)
    found = guide(prior)
    assert found.shape == (1, 37, 8, 10)
    torch.testing.assert_close(found[0, 0, 3, 4], prior.thickness[0, 0, 12:16, 16:20].mean())
    torch.testing.assert_close(found[0, 1:13, 3, 4], prior.full[0, :, 12:16, 16:20].mean((1, 2)))
    torch.testing.assert_close(found[0, 13:25, 3, 4], prior.half[0, :, 6:8, 8:10].mean((1, 2)))
    assert torch.equal(found[0, 25:], prior.quarter[0])


def test_the_prior_drives_it_but_a_new_one_begins_without_effect() -> None:
    images = torch.rand(1, 3, 32, 32)
    prior = SCPM().eval()(images)
    driven = randomised()
    assert (driven(images, prior) - driven(images, nothing(images))).abs().max() > 1e-3
    torch.nn.init.zeros_(driven.from_guide.weight)
    assert torch.equal(driven(images, prior), driven(images, nothing(images)))


def test_it_learns_to_remove_patches_it_has_not_seen() -> None:
    torch.manual_seed(0)
    inversion = Inversion()
    optimizer = torch.optim.Adam(inversion.parameters(), lr=1e-3)
    for step in range(100):
        clear = ground(8, step)
        cloudy = simulate_clouds(clear, range(8 * step, 8 * step + 8), GRAY).cloudy
        optimizer.zero_grad()
        F.l1_loss(inversion(cloudy, nothing(cloudy)), clear).backward()
        optimizer.step()

    clear = ground(16, 10_000)
    cloudy = simulate_clouds(clear, range(10_000, 10_016), GRAY).cloudy
    with torch.no_grad():
        restored = inversion(cloudy, nothing(cloudy))
        unharmed = inversion(clear, nothing(clear))
    assert F.l1_loss(restored, clear) < 0.35 * F.l1_loss(cloudy, clear)
    assert F.l1_loss(unharmed, clear) < 0.5 * F.l1_loss(cloudy, clear)


def test_a_part_of_a_scene_equals_the_scene_where_its_statistics_are_handed_in() -> None:
    """Pixels farther away than a halo do not count, if the part begins at a multiple of 32 pixels."""
    inversion, scene = randomised(), torch.rand(1, 3, 64, 1280)
    statistics = image_statistics(scene)
    whole = inversion(scene, nothing(scene), statistics)
    part = scene[..., 320:960]
    found = inversion(part, nothing(part), statistics)
    torch.testing.assert_close(found[..., 288:-288], whole[..., 608:672], rtol=0, atol=1e-5)
    with_own = inversion(part, nothing(part))
    assert (with_own - found).abs().max() > 0


def test_pixels_without_data_take_no_part_and_stay() -> None:
    inversion, image = randomised(), 0.2 + 0.5 * torch.rand(1, 3, 64, 64)
    rimmed = image.clone()
    rimmed[..., 48:] = 0
    found = inversion(rimmed, nothing(rimmed))
    assert torch.equal(found[..., 48:], torch.zeros(1, 3, 64, 16))
    mean = rimmed[..., :48].mean((2, 3), keepdim=True)
    ground_alone = fill(rimmed, has_data(rimmed))
    torch.testing.assert_close(ground_alone[..., 48:], mean.expand(1, 3, 64, 16))
    torch.testing.assert_close(found[..., :48], inversion(ground_alone, nothing(image))[..., :48])
    black = torch.zeros(1, 3, 16, 16)
    assert torch.equal(inversion(black, nothing(black)), black)


def test_precision_is_kept_under_autocast() -> None:
    inversion, images = randomised(), torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = inversion(images, nothing(images))
    assert torch.equal(inside, inversion(images, nothing(images)))


@pytest.mark.parametrize("bands", [1, 4])
def test_other_numbers_of_bands(bands: int) -> None:
    images = torch.rand(2, bands, 16, 8)
    assert randomised(bands)(images, nothing(images)).shape == images.shape


@pytest.mark.parametrize("kind", ["thiefcloud", "unet"])
def test_a_network_begins_where_the_inversion_leaves_off(kind: str, tmp_path: Path) -> None:
    model = ThiefCloud(NoPrior(), residual=True, inversion=True) if kind == "thiefcloud" else UNet(residual=True, inversion=True)
    assert model.inversion is not None
    model.inversion.load_state_dict(randomised().state_dict())
    cloudy = torch.rand(2, 3, 32, 24)
    result = model.train()(cloudy)
    for output in (result.restored, result.half, result.quarter):
        wanted = model.inversion(cloudy, nothing(cloudy)).clamp(-0.5, 1.5)
        torch.testing.assert_close(output, wanted, rtol=0, atol=1e-6)

    save_checkpoint(tmp_path / "best.pt", model.kind, model.config, {"model": model.state_dict()})
    loaded = thiefcloud.load(tmp_path / "best.pt")
    assert loaded.config["inversion"]
    torch.testing.assert_close(restore(loaded, cloudy), restore(model, cloudy), rtol=0, atol=1e-5)


def test_another_prior_can_take_the_place_of_the_first() -> None:
    model = ThiefCloud(NoPrior(), residual=True, inversion=True)
    model.replace_prior(SCPM())
    assert model.config["prior"] == SCPM().config
    assert ThiefCloud(SCPM(), residual=True, inversion=True).state_dict().keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match="the prior takes 4 bands, expected in_channels = 3"):
        model.replace_prior(SCPM(in_channels=4))


@pytest.mark.parametrize("network", [lambda **ways: ThiefCloud(NoPrior(), **ways), UNet])
def test_it_needs_the_path_around(network: type[UNet]) -> None:
    with pytest.raises(ValueError, match="needs residual = True"):
        network(inversion=True)


def test_older_weights_with_a_veil_are_refused_with_advice(tmp_path: Path) -> None:
    model = ThiefCloud(NoPrior(), residual=True)
    save_checkpoint(tmp_path / "old.pt", model.kind, {**model.config, "veil": True}, {"model": model.state_dict()})
    with pytest.raises(CheckpointError, match=r"old\.pt cannot be used: .* which the inversion has replaced"):
        thiefcloud.load(tmp_path / "old.pt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs_inversion": 10}, "--epochs-inversion needs --residual"),
        ({"epochs_inversion": -1, "residual": True}, "epochs-inversion"),
        ({"lr_inversion": 0.0}, "--lr-inversion is 0"),
        ({"jitter": -0.1}, "--jitter is -0.1"),
        ({"epochs_frozen": 0, "epochs_tunable": 0}, "nothing to train"),
        ({"pretrained": Path("best.pt"), "network": "unet"}, "--pretrained brings its network and prior along"),
        ({"pretrained": Path("best.pt"), "no_prior": True}, "--pretrained brings its network and prior along"),
    ],
)
def test_options_that_contradict(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**given)
