"""ThiefCloud without a prior, and as a residual network."""

from pathlib import Path

import pytest
import torch

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from thiefcloud import NoPrior, RemovalNetwork, ThiefCloud, UNet, restore


def saved(model: RemovalNetwork, path: Path) -> Path:
    save_checkpoint(path, model.kind, model.config, {"model": model.state_dict()})
    return path


def test_residual_network_begins_with_nothing_to_add() -> None:
    model, images = ThiefCloud(SCPM(), residual=True).train(), torch.rand(2, 3, 16, 24)
    result = model(images)
    for output in (result.restored, result.half, result.quarter):
        assert torch.equal(output, images)


def test_residual_network_adds_the_output_of_the_plain_one() -> None:
    plain, residual = ThiefCloud(SCPM()).eval(), ThiefCloud(SCPM(), residual=True).eval()
    residual.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 16, 24)

    with torch.no_grad():
        found = residual(images, supervision=True)
        added = plain(images, supervision=True)
    for level in range(3):
        torch.testing.assert_close(found[level] - images, added[level], rtol=0, atol=1e-6)


def test_residual_network_learns_from_its_first_step() -> None:
    model, images = ThiefCloud(SCPM(), residual=True).train(), torch.rand(1, 3, 16, 16)
    result = model(images)
    outputs = torch.stack((result.restored, result.half, result.quarter))
    (outputs - 0.5).abs().mean().backward()

    for level in (model.level_full, model.level_half, model.level_quarter):
        for weight in level.head.parameters():
            assert weight.grad is not None
            assert weight.grad.any()


def test_without_prior_thickness_is_zero() -> None:
    model, images = ThiefCloud(NoPrior()).eval(), torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        result, none, prior = model(images), model.prior(images), SCPM()(images)
    assert torch.equal(result.thickness, torch.zeros(2, 1, 16, 24))
    for ours, theirs in zip(none, prior, strict=True):
        assert ours.shape == theirs.shape

    weights = torch.nn.utils.parameters_to_vector(model.parameters())
    assert len(weights) == 2_064_319 - 268_915


def test_phases_of_a_network_without_prior() -> None:
    model = ThiefCloud(NoPrior())
    for phase in (model.freeze_prior, model.tune_prior):
        phase()
        assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(
    "model",
    [ThiefCloud(NoPrior(), residual=True), ThiefCloud(SCPM(), residual=True), UNet(residual=True)],
)
def test_files_bring_each_network_back(model: RemovalNetwork, tmp_path: Path) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)

    loaded = thiefcloud.load(saved(model, tmp_path / "best.pt"))
    assert type(loaded) is type(model)
    assert type(loaded.prior) is type(model.prior)
    assert loaded.config == model.config
    image = torch.rand(3, 16, 16)
    assert torch.equal(restore(loaded, image), restore(model, image))


def test_older_files_that_do_not_name_the_residual_path_are_plain(tmp_path: Path) -> None:
    model = ThiefCloud(SCPM())
    del model.config["residual"]
    loaded = thiefcloud.load(saved(model, tmp_path / "best.pt"))
    assert isinstance(loaded, ThiefCloud)
    assert not loaded.residual
