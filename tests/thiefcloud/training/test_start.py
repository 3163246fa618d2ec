"""The network that a training begins with."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloudkit.checkpoints import save_checkpoint
from cloudkit.errors import UserError
from scpm import SCPM
from thiefcloud import NoPrior, Restoration, ThiefCloud, UNet
from thiefcloud.inference.weights import BUILDERS, NETWORKS, build
from thiefcloud.training.options import TrainOptions
from thiefcloud.training.start import describe_start, new_model, options_in_force, require_levels

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

    model = UNet(residual=True, inversion=True)
    save_checkpoint(tmp_path / "i.pt", model.kind, model.config, {"model": model.state_dict()})
    inverting = replace(options, pretrained=tmp_path / "i.pt", epochs_inversion=1)
    assert new_model(inverting).overlay is None
    with pytest.raises(UserError, match=r"i\.pt removes no overlays; leave out --keep-overlay"):
        new_model(replace(inverting, keep_overlay=0.5))
    with pytest.raises(UserError, match=r"i\.pt has no prior to tune; leave out"):
        new_model(replace(inverting, tune_with_inversion=True))


class Plain(UNet):
    """A network that ignores `inversion`, and returns one output."""

    kind = "plain"

    def __init__(
        self, in_channels: int = 3, *, residual: bool = False, inversion: bool = False
    ) -> None:
        super().__init__(in_channels, residual=residual)

    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        return super().forward(cloudy, supervision)._replace(half=None, quarter=None)


class OneOutput(Plain):
    """The same with the output for all levels."""

    kind = "one-output"

    def forward(
        self, cloudy: Tensor, supervision: bool | None = None, statistics: Tensor | None = None
    ) -> Restoration:
        return UNet.forward(self, cloudy, supervision)


@pytest.fixture
def other_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register both."""
    for network in (Plain, OneOutput):
        monkeypatch.setitem(NETWORKS, network.kind, network)
        monkeypatch.setitem(BUILDERS, network.kind, partial(build, network))


def test_a_network_that_cannot_be_trained_is_refused(other_networks: None) -> None:
    assert isinstance(new_model(replace(OPTIONS, network="one-output")), OneOutput)
    with pytest.raises(UserError, match="plain returns no half and no quarter while it trains"):
        new_model(replace(OPTIONS, network="plain"))
    message = "--network one-output has no inversion to train; give --epochs-inversion 0"
    with pytest.raises(UserError, match=message):
        new_model(replace(OPTIONS, network="one-output", epochs_inversion=3))


def test_the_check_of_a_network_changes_nothing() -> None:
    model = ThiefCloud(SCPM())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    require_levels(model)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert model.training
