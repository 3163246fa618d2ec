"""Weights are taken only if names, shapes, types and values fit; wrappers are seen through."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scpm
import thiefcloud
from cloudkit.checkpoints import (
    CheckpointError,
    load_weights,
    save_checkpoint,
    save_released,
    unwrapped,
)
from scpm import SCPM
from tests.official import formula_weights, prior_weights
from thiefcloud import ThiefCloud
from thiefcloud.inference.weights import load_into

HEAD = "head.weight"
COUNTER = "encoder_half.1.num_batches_tracked"
VARIANCE = "encoder_half.1.running_var"


def with_value(name: str, value: float) -> Callable[[dict[str, Tensor]], None]:
    def change(weights: dict[str, Tensor]) -> None:
        weights[name] = weights[name].clone()
        weights[name].view(-1)[-1] = value

    return change


def with_form(name: str, form: Callable[[Tensor], object]) -> Callable[[dict[str, Any]], None]:
    def change(weights: dict[str, Any]) -> None:
        weights[name] = form(weights[name])

    return change


def with_number_as_key(weights: dict[Any, Any]) -> None:
    weights[7] = weights[HEAD]


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "nan": (with_value(HEAD, math.nan), r"values in head\.weight that are infinite or not a num"),
    "inf": (with_value(HEAD, math.inf), "infinite or not a number"),
    "minus inf": (with_value(VARIANCE, -math.inf), "infinite or not a number"),
    "negative variance": (with_value(VARIANCE, -0.5), r"has -0\.5 in .*running_var"),
    "negative counter": (with_value(COUNTER, -3), "has -3 in .*num_batches_tracked"),
    "so large that results overflow": (
        with_form("encoder_half.0.weight", lambda weight: weight * 3e38),
        "restore a test image to values that are infinite",
    ),
    "integer": (with_form(HEAD, Tensor.long), r"head\.weight as torch\.int64, expected torch\.f"),
    "bool": (with_form(HEAD, Tensor.bool), r"head\.weight as torch\.bool, expected floating"),
    "complex": (
        with_form(HEAD, lambda weight: weight.to(torch.complex64)),
        r"head\.weight as torch\.complex64",
    ),
    "8 bits": (
        with_form(HEAD, lambda weight: weight.to(torch.float8_e5m2)),
        r"head\.weight as torch\.float8_e5m2",
    ),
    "counter as float": (with_form(COUNTER, Tensor.float), r"num_batches_tracked as torch\.float"),
    "rounded double": (
        with_form(HEAD, lambda weight: weight.double() / 3),
        r"as torch\.float64, with values that torch\.float32 rounds",
    ),
    "list": (with_form(HEAD, Tensor.tolist), r"bad\.pt is damaged .*model.* not an instance of"),
    "other shape": (with_form(HEAD, lambda weight: weight[..., 0]), "1 of another shape"),
    "key that is no text": (with_number_as_key, "not an instance"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_weights_that_are_refused(kind: str, tmp_path: Path) -> None:
    change, message = REFUSED[kind]
    model = SCPM()
    weights: dict[str, Any] = dict(model.state_dict())
    change(weights)
    save_checkpoint(tmp_path / "bad.pt", "scpm", model.config, {"model": weights})
    with pytest.raises(CheckpointError, match=message):
        scpm.load(tmp_path / "bad.pt")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_every_loader_refuses_values_that_are_not_finite(value: float, tmp_path: Path) -> None:
    bad, model = tmp_path / "bad.pt", ThiefCloud(SCPM())
    weights = model.state_dict()
    with_value("prior.head.bias", value)(weights)
    of_prior = {
        name.removeprefix("prior."): weight
        for name, weight in weights.items()
        if name.startswith("prior.")
    }
    official = formula_weights()
    with_value("cd.final.bias", value)(official)

    def refused(load: Callable[[], object]) -> None:
        with pytest.raises(CheckpointError, match="infinite or not a number"):
            load()

    save_checkpoint(bad, "thiefcloud", model.config, {"model": weights})
    refused(lambda: thiefcloud.load(bad))
    refused(lambda: load_into(ThiefCloud(SCPM()), bad))
    save_released(bad, "scpm", SCPM().config, of_prior, {})
    refused(lambda: scpm.load(bad))
    torch.save(official, bad)
    refused(lambda: thiefcloud.load(bad))
    torch.save(prior_weights(official), bad)
    refused(lambda: scpm.load(bad))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_without_rounding(dtype: torch.dtype, tmp_path: Path) -> None:
    model = SCPM()
    stored = {}
    for name, weight in model.state_dict().items():
        is_float = weight.is_floating_point()
        stored[name] = weight.to(dtype) if is_float else weight
    save_checkpoint(tmp_path / "a.pt", "scpm", model.config, {"model": stored})

    for name, weight in scpm.load(tmp_path / "a.pt").state_dict().items():
        assert weight.dtype == model.state_dict()[name].dtype
        assert torch.equal(weight.to(stored[name].dtype), stored[name]), name


def test_problems_of_foreign_keys_are_named() -> None:
    """With its first weight missing, the file is not seen as a wrapped one."""
    weights: dict[Any, Any] = {
        1: torch.zeros(1),
        "x" * 500: torch.zeros(1),
        "bias": torch.zeros(2),
    }
    with pytest.raises(CheckpointError, match=r"1 missing \(weight\); 2 unknown \(a int, x{80}\)"):
        load_weights(nn.Linear(3, 2), weights, Path("my.pt"))


def prefixed(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": weight for name, weight in weights.items()}


def within(name: str, wrap: str = "") -> Callable[[dict[str, Tensor]], dict[str, Any]]:
    return lambda weights: {"epoch": 3, name: prefixed(wrap, weights), "lr": [1e-3]}


def lightning(weights: dict[str, Tensor]) -> dict[str, Any]:
    of_loss = {"criterion.vgg.0.weight": torch.zeros(2)}
    return {
        "pytorch-lightning_version": "2.4.0",
        "state_dict": OrderedDict(prefixed("model.net.", weights) | of_loss),
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}],
        "lr_schedulers": [{"milestones": Counter([10, 20]), "gamma": 0.1}],
        "hyper_parameters": {"lr": 1e-3, "size": torch.Size([3, 4])},
    }


def compiled_inside(weights: dict[str, Tensor]) -> dict[str, Any]:
    """torch.compile wrapped parts of the network."""
    changed = {}
    for name, weight in weights.items():
        first, _, rest = name.partition(".")
        changed[f"{first}._orig_mod.{rest}"] = weight
    return {"net": changed}


def averaged_beside(weights: dict[str, Tensor]) -> dict[str, Any]:
    other = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    return {"params": other, "params_ema": weights}


def averaged_model(weights: dict[str, Tensor]) -> dict[str, Any]:
    return {"n_averaged": torch.tensor(3), **prefixed("module.", weights)}


WRAPPED: dict[str, Callable[[dict[str, Tensor]], dict[str, Any]]] = {
    "module.": lambda weights: prefixed("module.", weights),
    "_orig_mod.": lambda weights: prefixed("_orig_mod.", weights),
    "both": lambda weights: prefixed("module._orig_mod.", weights),
    "both, reversed": lambda weights: prefixed("_orig_mod.module.", weights),
    "state_dict": within("state_dict"),
    "model": within("model"),
    "params": within("params"),
    "net": within("net"),
    "generator": within("generator"),
    "model_state_dict": within("model_state_dict", "module."),
    "state": lambda weights: {"state": {"model": {"state_dict": weights}}},
    "generator and discriminator": lambda weights: {
        "generator": prefixed("module.", weights),
        "discriminator": {"conv.weight": torch.zeros(2)},
    },
    "lightning": lightning,
    "compiled inside": compiled_inside,
    "averaged beside": averaged_beside,
    "averaged model": averaged_model,
}


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    return formula_weights()


@pytest.fixture(scope="module")
def plain(
    official: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> thiefcloud.RemovalNetwork:
    """The network of the official code from a file without wrapping."""
    path = tmp_path_factory.mktemp("plain") / "plain.pth"
    torch.save(official, path)
    return thiefcloud.load(path)


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_weights_of_the_official_code(
    kind: str,
    official: dict[str, torch.Tensor],
    plain: thiefcloud.RemovalNetwork,
    tmp_path: Path,
) -> None:
    wrap = WRAPPED[kind]
    torch.save(wrap(official), tmp_path / "a.ckpt")
    found = thiefcloud.load(tmp_path / "a.ckpt")
    torch.testing.assert_close(found.state_dict(), plain.state_dict(), rtol=0, atol=0)

    torch.save(wrap(prior_weights(official)), tmp_path / "prior.ckpt")
    prior = scpm.load(tmp_path / "prior.ckpt")
    torch.testing.assert_close(
        prior.state_dict(), plain.prior.state_dict(), rtol=0, atol=0, equal_nan=False
    )


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_weights_of_ours(kind: str, tmp_path: Path) -> None:
    """A checkpoint has its config; a bare file goes into a network that exists."""
    wrap, model = WRAPPED[kind], SCPM()
    wrapped = wrap(dict(model.state_dict()))
    target = SCPM()
    torch.save(wrapped, tmp_path / "bare.pt")
    load_into(target, tmp_path / "bare.pt")
    torch.testing.assert_close(target.state_dict(), model.state_dict(), rtol=0, atol=0)

    with pytest.raises(CheckpointError, match=r"none of ours with its config: name another file"):
        scpm.load(tmp_path / "bare.pt")


def test_our_checkpoint_with_the_names_of_a_wrapper(tmp_path: Path) -> None:
    model = SCPM()
    weights = prefixed("module._orig_mod.", model.state_dict())
    save_checkpoint(tmp_path / "a.pt", "scpm", model.config, {"model": weights})
    loaded = scpm.load(tmp_path / "a.pt")
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_the_same_weight_twice_is_not_guessed() -> None:
    one = torch.zeros(1)
    assert unwrapped({"a.module.b": one, "a.b": one}, "b") is None
    assert unwrapped({"deep": {"x.a.b": one, "c": one}}, "a.b") == {"a.b": one}
    assert unwrapped({"xa.b": one}, "a.b") is None  # no whole part of the name


def test_the_prior_within_an_official_network_is_not_taken(tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed("module.", formula_weights())}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds no SCPM of the official code"):
        scpm.load(tmp_path / "a.pt")
