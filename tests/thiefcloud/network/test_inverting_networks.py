"""Networks with an inversion, their files, and the options that ask for one."""

from pathlib import Path

import pytest
import torch

import thiefcloud
from cloudkit.checkpoints import CheckpointError, save_checkpoint
from scpm import SCPM
from tests.thiefcloud.network.inversions import nothing, randomised
from thiefcloud import NoPrior, ThiefCloud, restore
from thiefcloud.inference.weights import BUILDERS
from thiefcloud.training.options import TrainOptions


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_network_begins_where_the_inversion_leaves_off(kind: str, tmp_path: Path) -> None:
    config = {"in_channels": 3, "prior": None, "residual": True, "inversion": True}
    model = BUILDERS[kind](config)
    assert model.inversion is not None
    model.inversion.load_state_dict(randomised().state_dict())

    cloudy = torch.rand(2, 3, 32, 24)
    result = model.train()(cloudy)
    expected = model.inversion(cloudy, nothing(cloudy)).clamp(-0.5, 1.5)
    for output in (result.restored, result.half, result.quarter):
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)

    save_checkpoint(tmp_path / "best.pt", model.kind, model.config, {"model": model.state_dict()})
    loaded = thiefcloud.load(tmp_path / "best.pt")
    assert loaded.config["inversion"]
    torch.testing.assert_close(restore(loaded, cloudy), restore(model, cloudy), rtol=0, atol=1e-5)


def test_another_prior_can_take_the_place_of_the_first() -> None:
    model = ThiefCloud(NoPrior(), residual=True, inversion=True)
    model.replace_prior(SCPM())
    assert model.config["prior"] == SCPM().config
    expected = ThiefCloud(SCPM(), residual=True, inversion=True)
    assert model.state_dict().keys() == expected.state_dict().keys()

    with pytest.raises(ValueError, match="the prior takes 4 bands, expected in_channels = 3"):
        model.replace_prior(SCPM(in_channels=4))


@pytest.mark.parametrize("kind", BUILDERS)
def test_it_needs_a_residual_network(kind: str) -> None:
    with pytest.raises(ValueError, match="needs residual = True"):
        BUILDERS[kind]({"in_channels": 3, "prior": None, "inversion": True})


def test_weights_of_the_inversion_before_are_refused_with_advice(tmp_path: Path) -> None:
    """It wrote two maps for each band, not three."""
    model = ThiefCloud(SCPM(), residual=True, inversion=True)
    weights = model.state_dict()
    weights["inversion.even.bias"] = torch.zeros(6)
    save_checkpoint(tmp_path / "old.pt", model.kind, model.config, {"model": weights})
    message = r"1 of another shape \(inversion\.even\.bias\)\. Name weights of this version"
    with pytest.raises(CheckpointError, match=message):
        thiefcloud.load(tmp_path / "old.pt")


def test_older_weights_with_a_veil_are_refused_with_advice(tmp_path: Path) -> None:
    model = ThiefCloud(NoPrior(), residual=True)
    config = {**model.config, "veil": True}
    save_checkpoint(tmp_path / "old.pt", model.kind, config, {"model": model.state_dict()})

    message = r"old\.pt cannot be used: .* which the inversion has replaced"
    with pytest.raises(CheckpointError, match=message):
        thiefcloud.load(tmp_path / "old.pt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs_inversion": 10}, "--epochs-inversion needs --residual"),
        ({"epochs_inversion": -1, "residual": True}, "epochs-inversion"),
        ({"lr_inversion": 0.0}, "--lr-inversion is 0"),
        ({"jitter": -0.1}, "--jitter is -0.1"),
        ({"jitter": 5.0}, "--jitter is 5.0, expected a fraction from 0 to 1"),
        ({"epochs_frozen": 0, "epochs_tunable": 0}, "nothing to train"),
        (
            {"pretrained": Path("best.pt"), "network": "unet"},
            "--pretrained brings its network and prior along",
        ),
        (
            {"pretrained": Path("best.pt"), "no_prior": True},
            "--pretrained brings its network and prior along",
        ),
    ],
)
def test_options_that_contradict(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**given)
