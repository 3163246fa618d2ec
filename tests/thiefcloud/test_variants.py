"""ThiefCloud without a prior, and with a path around from input to output."""

from pathlib import Path

import pytest
import torch

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from thiefcloud import NoPrior, ThiefCloud, UNet, restore


def saved(model: ThiefCloud | UNet, path: Path) -> Path:
    save_checkpoint(path, model.kind, model.config, {"model": model.state_dict()})
    return path


def test_residual_network_begins_with_nothing_to_add() -> None:
    model, images = ThiefCloud(SCPM(), residual=True).train(), torch.rand(2, 3, 16, 24)
    result = model(images)
    for output in (result.restored, result.half, result.quarter):
        assert torch.equal(output, images)


def test_residual_network_adds_what_the_plain_one_writes() -> None:
    plain, residual = ThiefCloud(SCPM()).eval(), ThiefCloud(SCPM(), residual=True).eval()
    residual.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        for found, written in zip(residual(images, supervision=True)[:3], plain(images, supervision=True)[:3], strict=True):
            torch.testing.assert_close(found - images, written, rtol=0, atol=1e-6)


def test_residual_network_learns_from_its_first_step() -> None:
    model, images = ThiefCloud(SCPM(), residual=True).train(), torch.rand(1, 3, 16, 16)
    result = model(images)
    assert result.half is not None
    assert result.quarter is not None
    sum((output - 0.5).abs().mean() for output in (result.restored, result.half, result.quarter)).backward()
    for level in (model.level_full, model.level_half, model.level_quarter):
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in level.head.parameters())


def test_without_prior_nothing_is_seen() -> None:
    model, images = ThiefCloud(NoPrior()).eval(), torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        result, prior = model(images), SCPM()(images)
    assert torch.equal(result.thickness, torch.zeros(2, 1, 16, 24))
    assert [part.shape for part in model.prior(images)] == [part.shape for part in prior]
    assert sum(weight.numel() for weight in model.parameters()) == 2_064_319 - 268_915


def test_phases_of_a_network_without_prior() -> None:
    model = ThiefCloud(NoPrior())
    weights = list(model.parameters())
    for phase in (model.freeze_prior, model.tune_prior):
        phase()
        assert all(weight.requires_grad for weight in weights)


@pytest.mark.parametrize("model", [ThiefCloud(NoPrior(), residual=True), ThiefCloud(SCPM(), residual=True), UNet(residual=True)])
def test_files_bring_each_network_back(model: ThiefCloud | UNet, tmp_path: Path) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    loaded = thiefcloud.load(saved(model, tmp_path / "best.pt"))
    assert (type(loaded), type(loaded.prior), loaded.config) == (type(model), type(model.prior), model.config)
    image = torch.rand(3, 16, 16)
    assert torch.equal(restore(loaded, image), restore(model, image))


def test_files_from_before_the_residual_path_are_plain(tmp_path: Path) -> None:
    model = ThiefCloud(SCPM())
    del model.config["residual"]
    loaded = thiefcloud.load(saved(model, tmp_path / "best.pt"))
    assert isinstance(loaded, ThiefCloud)
    assert not loaded.residual
