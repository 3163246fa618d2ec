"""Checkpoints and states of another structure are refused, each by its file and part."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import scpm
import thiefcloud
from cloudkit.checkpoints import CheckpointError, read_file
from cloudkit.errors import UserError
from scpm import SCPM
from tests.trainkit.training.small import adam, train, trainer
from thiefcloud import ThiefCloud

Change = Callable[[dict[Any, Any]], object]


def setting(*keys: Any, to: object) -> Change:
    """Return a function that replaces one value within dicts and lists."""

    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


OURS: dict[str, tuple[Change, str]] = {
    "config is a list": (setting("config", to=[1]), "'config' of dict is not a dict"),
    "config is a text": (setting("config", to="x"), "'config' of dict is not a dict"),
    "model is None": (setting("model", to=None), "'model' of dict is not a dict"),
    "model is a tensor": (setting("model", to=torch.zeros(3)), "'model' of dict is not a dict"),
    "network is a number": (setting("network", to=3), "'network' of dict is not an instance"),
    "another network": (setting("network", to="gan"), "holds the network 'gan', expected"),
    "a newer format": (setting("format", to="thiefcloud-2"), "a newer version .* update the proj"),
    "an unknown argument": (setting("config", "depth", to=3), 'unexpected extra key.*"depth"'),
    "an argument without name": (setting("config", 3, to=3), "not an instance of str"),
    "a text as number of bands": (setting("config", "in_channels", to="3"), "'in_channels'"),
    "a prior of another form": (setting("config", "prior", to=[3]), "'prior' of dict"),
    "another sampling": (setting("config", "prior", "sampling", to="x"), "'sampling'"),
    "a switch as number": (setting("config", "residual", to=2), "'residual'"),
    "inversion alone": (setting("config", "inversion", to=True), "needs residual"),
    "a bad score": (setting("score", to="good"), "'score' of dict"),
    "bad options": (setting("options", to=[1]), "'options' of dict"),
    "no config": (lambda content: content.pop("config"), "lacks its config"),
}


@pytest.mark.parametrize("kind", OURS)
def test_checkpoints_of_another_structure(kind: str, tmp_path: Path) -> None:
    change, message = OURS[kind]
    model = ThiefCloud(SCPM())
    content: dict[str, Any] = {
        "format": "thiefcloud-1",
        "network": "thiefcloud",
        "config": {**model.config, "prior": dict(model.prior.config or {})},
        "model": model.state_dict(),
        "score": 20.0,
        "step": 3,
        "options": {},
    }
    torch.save(content, tmp_path / "good.pt")
    thiefcloud.load(tmp_path / "good.pt")

    change(content)
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=rf"(?s)bad\.pt.*{message}"):
        thiefcloud.load(tmp_path / "bad.pt")


def test_entries_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    model = SCPM()
    content = {"format": "thiefcloud-1", "network": "scpm", "config": model.config}
    content |= {"model": model.state_dict(), "licence": "x", 7: "y"}  # type: ignore[dict-item]
    torch.save(content, tmp_path / "a.pt")
    assert scpm.load(tmp_path / "a.pt").config == model.config


PROGRESS, OPTIMIZER = ("training", "progress"), ("training", "optimizer")
GROUP = (*OPTIMIZER, "param_groups", 0)
STATES: dict[str, tuple[Change, str]] = {
    "training is a list": (setting("training", to=[1]), "'training' of dict is not a dict"),
    "training is empty": (setting("training", to={}), "lacks averaged, model, optimizer, progress"),
    "progress is a list": (setting(*PROGRESS, to=[]), "'progress' of dict is not a dict"),
    "a text as epoch": (setting(*PROGRESS, "epoch", to="3"), "'epoch'"),
    "a negative epoch": (setting(*PROGRESS, "epoch", to=-1), "counts from 0"),
    "a huge step": (setting(*PROGRESS, "step", to=2**200), "counts from 0"),
    "no score": (setting(*PROGRESS, "best", to=math.nan), "counts from 0 and a number"),
    "more progress": (setting(*PROGRESS, "more", to=1), 'unexpected extra key.*"more"'),
    "history of texts": (setting(*PROGRESS, "history", to=["x"]), "'history'"),
    "history of deep dicts": (setting(*PROGRESS, "history", to=[{"a": {}}]), "'history'"),
    "optimizer is None": (setting(*OPTIMIZER, to=None), "'optimizer' of dict is not a dict"),
    "no groups": (setting(*OPTIMIZER, "param_groups", to=[]), "0 groups of weights, expected 1"),
    "fewer weights": (setting(*GROUP, "params", to=[0]), "1 weights in a group, expected 6"),
    "weights without number": (setting(*GROUP, "params", to=["a"]), "its numbers of weights"),
    "a weight twice": (setting(*GROUP, "params", to=[0] * 6), "6 weights in a group, expected 6"),
    "betas of another form": (setting(*GROUP, "betas", to=0.9), "a setting betas"),
    "a text as lr": (setting(*GROUP, "eps", to="x"), "a setting eps that is no float"),
    "state of no weight": (setting(*OPTIMIZER, "state", 99, to={}), "other values for weight 99"),
    "state of another shape": (
        setting(*OPTIMIZER, "state", 0, "exp_avg", to=torch.zeros(2)),
        "exp_avg of another shape for weight 0",
    ),
    "state that is not finite": (
        setting(*OPTIMIZER, "state", 0, "exp_avg", to=torch.full((8, 4), math.nan)),
        "exp_avg that are infinite or not a number",
    ),
    "weights that are not finite": (
        setting("training", "model", "0.bias", to=torch.full((8,), math.inf)),
        "0.bias that are infinite",
    ),
    "averaged of another form": (setting("training", "averaged", to=3), "'averaged'"),
}


def state(path: Path) -> dict[str, Any]:
    one = trainer(ema=0.9)
    train(one, 0, 2)
    one.save_last(path)
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


@pytest.mark.parametrize("kind", STATES)
def test_states_of_another_structure(kind: str, tmp_path: Path) -> None:
    change, message = STATES[kind]
    content = state(tmp_path / "last.pt")
    change(content)
    torch.save(content, tmp_path / "last.pt")
    resumed = trainer(ema=0.9)
    with pytest.raises(UserError, match=rf"(?s)last\.pt.*{message}"):
        restore_and_begin(resumed, tmp_path / "last.pt", adam(resumed))


def restore_and_begin(resumed: Any, path: Path, optimizer: torch.optim.Optimizer) -> None:
    resumed.restore(path)
    resumed.begin_phase(optimizer)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad])
def test_the_state_of_another_optimizer(kind: Any, tmp_path: Path) -> None:
    state(tmp_path / "last.pt")
    resumed = trainer(ema=0.9)
    other = kind(resumed.model.parameters(), lr=0.1)
    with pytest.raises(CheckpointError, match=r"optimizer in .*last\.pt is not this training's"):
        restore_and_begin(resumed, tmp_path / "last.pt", other)


def test_the_state_of_more_weights(tmp_path: Path) -> None:
    """A phase that trained other weights."""
    state(tmp_path / "last.pt")
    resumed = trainer(ema=0.9)
    assert isinstance(resumed.model, nn.Sequential)
    other = torch.optim.Adam(resumed.model[0].parameters())
    with pytest.raises(CheckpointError, match="6 weights in a group, expected 2"):
        restore_and_begin(resumed, tmp_path / "last.pt", other)


def test_settings_that_another_pytorch_lacks_or_adds(tmp_path: Path) -> None:
    content = state(tmp_path / "last.pt")
    group = content["training"]["optimizer"]["param_groups"][0]
    del group["capturable"]
    torch.save(content, tmp_path / "last.pt")
    resumed = trainer(ema=0.9)
    restore_and_begin(resumed, tmp_path / "last.pt", adam(resumed))
    train(resumed, 2, 1)
    assert read_file(tmp_path / "last.pt")["step"] == 2
