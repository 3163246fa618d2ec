"""The network that a training begins with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from cloudkit.errors import UserError
from scpm import SCPM
from thiefcloud import NoPrior, ThiefCloud, UNet
from thiefcloud.inference.weights import NETWORKS
from thiefcloud.training.options import TrainOptions
from thiefcloud.training.start import describe_start, new_model, options_in_force

OPTIONS = TrainOptions(dataset="folder", root=Path("x"), residual=True)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_network_has_a_prior_if_it_takes_one(network: str) -> None:
    options = replace(OPTIONS, network=network, untrained_prior=True)
    model = new_model(options)
    takes_prior = NETWORKS[network].takes_prior
    assert type(model) is NETWORKS[network]
    assert isinstance(model.prior, SCPM) == takes_prior
    assert describe_start(options) == ("prior: untrained" if takes_prior else None)

    without = replace(OPTIONS, network=network, no_prior=True)
    assert isinstance(new_model(without).prior, NoPrior)
    assert describe_start(without) is None


def test_the_network_begins_alike_whatever_its_prior() -> None:
    untrained = new_model(replace(OPTIONS, untrained_prior=True)).state_dict()
    none = new_model(replace(OPTIONS, no_prior=True)).state_dict()
    assert none.keys() < untrained.keys()
    assert all(torch.equal(value, untrained[name]) for name, value in none.items())


def test_pretrained_weights_take_another_prior(tmp_path: Path) -> None:
    prior, model = SCPM(), ThiefCloud(SCPM(), residual=True)
    save_checkpoint(tmp_path / "prior.pt", "scpm", prior.config, {"model": prior.state_dict()})
    save_checkpoint(tmp_path / "a.pt", model.kind, model.config, {"model": model.state_dict()})
    options = replace(OPTIONS, pretrained=tmp_path / "a.pt", prior=tmp_path / "prior.pt")

    began = new_model(options).prior.state_dict()
    assert all(torch.equal(value, began[name]) for name, value in prior.state_dict().items())
    assert describe_start(options) == (
        f"weights to begin with: {options.pretrained}, with the prior {options.prior}"
    )
    noted = options_in_force(options)
    assert noted["prior"] == str((tmp_path / "prior.pt").resolve())
    assert "network" not in noted
    assert "prior" not in options_in_force(replace(options, prior=None))


def test_what_pretrained_weights_lack_is_refused(tmp_path: Path) -> None:
    model = UNet(residual=True)
    save_checkpoint(tmp_path / "u.pt", model.kind, model.config, {"model": model.state_dict()})
    options = replace(OPTIONS, pretrained=tmp_path / "u.pt")
    with pytest.raises(UserError, match=r"u\.pt is a unet, which takes no prior; leave out"):
        new_model(replace(options, prior=Path("prior.pt")))
    with pytest.raises(UserError, match=r"u\.pt has no inversion to train; leave out"):
        new_model(replace(options, epochs_inversion=1))
