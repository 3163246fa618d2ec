"""Files of weights: ours, and those of the official code."""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from torch import Tensor, nn

from cloudkit.checkpoints import (
    CheckpointError,
    check_structure,
    is_ours,
    load_network,
    load_weights,
    read_file,
    ready_to_restore,
    rename,
    require_network,
    unwrapped,
)
from cloudkit.processes import choose_device
from scpm import SCPM, from_official_names
from scpm.weights import SCPMConfig
from thiefcloud.baselines.unet import UNet
from thiefcloud.inference.released import RELEASED, Weights, path_of
from thiefcloud.network.base import NoPrior, RemovalNetwork, require_contract
from thiefcloud.network.model import ThiefCloud

# Level 1 is full resolution, 2 half, 3 quarter. The official fusions are numbered in reverse.
_LEVELS = (("1", "full", "3"), ("2", "half", "2"), ("3", "quarter", "1"))
_GATES = (
    (".conv_block", ".block"),
    (".fea_ca1.", ".gate1."),
    (".x_ca1.", ".gate2."),
    (".fea_ca2.", ".gate3."),
    (".x_ca2.", ".gate4."),
    (".conv_mean.", ".from_mean."),
    (".conv_std.", ".from_std."),
)
# The official gates are 1x1 convolutions, ours are matrices.
_GATE_WEIGHT = re.compile(r"\.from_(mean|std)\.\d\.weight$")
_FIRST = "patch_embed.weight"  # the first weight of an official file
_PRIOR = "cd."  # prefix of the prior's weights in official files


class Config(TypedDict):
    """Arguments of a network in files."""

    in_channels: int
    residual: NotRequired[bool]
    inversion: NotRequired[bool]
    overlay: NotRequired[bool]
    prior: NotRequired[SCPMConfig | None]
    """That of ThiefCloud's prior; None if it has none."""
    veil: NotRequired[bool]
    """Part of older versions, which cannot be built any more."""


def load(weights: Weights | Path | str = Weights.GENERAL) -> RemovalNetwork:
    """Load a network: ThiefCloud, or one that it is compared with.

    Args:
        weights: a member of `Weights`, its name ("general", "rice1"), or a file: released weights,
            best.pt or last.pt of a training (its averaged weights if it kept them), or a file of
            the official code (see `load_official`).

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    hint = (
        "ThiefCloud/train.py trains ThiefCloud and writes best.pt; released weights are named "
        f"{', '.join(RELEASED)}"
    )
    return load_network(path_of(weights), BUILDERS, load_official, hint=hint)


@cache
def load_once(weights: Weights | Path | str) -> RemovalNetwork:
    """Load a network once a process, to its GPU if there is one: for workers of many windows."""
    return load(weights).to(choose_device("auto"))


def build(
    network: type[RemovalNetwork], config: Mapping[str, Any], prior: SCPM | NoPrior | None = None
) -> RemovalNetwork:
    """Build a network with random weights.

    Args:
        network: its class.
        config: the `config` of such a network.
        prior: an existing prior, for a network that takes one. Default: built from `config`.

    Raises:
        CheckpointError: the config has another structure, or is one of an older version that
            cannot be built any more.
        UserError: the network lacks a part (`require_contract`).
    """
    check_structure(dict(config), Config, "its config")
    if config.get("veil"):
        raise CheckpointError(
            "these weights have a veil (--veil), which the inversion has replaced. Use the version "
            "that trained them, or train anew with --preset inversion."
        )
    model = require_contract(network.from_config(config, prior))
    if config.get("overlay"):
        model.add_overlay()
    return model


# The one table of networks, by the names that checkpoints and --network have for them.
NETWORKS: Mapping[str, type[RemovalNetwork]] = {
    ThiefCloud.kind: ThiefCloud,
    UNet.kind: UNet,
}
# Functions of a config, and maybe a prior.
BUILDERS: Mapping[str, Callable[..., RemovalNetwork]] = {
    kind: partial(build, network) for kind, network in NETWORKS.items()
}


def load_into(model: nn.Module, path: Path) -> None:
    """Load the weights of a checkpoint of ours, or a bare state dict, into an existing network.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    content = read_file(path)
    if is_ours(content):
        require_network(path, content, *BUILDERS)
    load_weights(model, content["model"] if is_ours(content) else content, path)


def load_official(path: Path | str) -> ThiefCloud:
    """Load ThiefCloud from a file of the official code, which is a state dict.

    It may lie within other dicts, and a wrapper may have changed its names (`unwrapped`).

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    path = Path(path)
    content = read_file(path)
    weights = None if is_ours(content) else unwrapped(content, _FIRST)
    if weights is None:
        raise CheckpointError(
            f"{path} holds no ThiefCloud of the official code (no weight {_FIRST}), and no network "
            "of ours with its config: name another file, such as best.pt of a training."
        )

    # The prior has names of its own.
    own, of_prior = {}, {}
    for name, tensor in weights.items():
        if name.startswith(_PRIOR):
            of_prior[name.removeprefix(_PRIOR)] = tensor
        else:
            own[name] = tensor

    renamed = {}
    for name, tensor in rename(own, _official_prefixes()).items():
        for theirs, ours in _GATES:
            name = name.replace(theirs, ours)
        renamed[name] = _without_place(tensor) if _GATE_WEIGHT.search(name) else tensor
    for name, tensor in from_official_names(of_prior).items():
        renamed[f"prior.{name}"] = tensor

    model = ThiefCloud(SCPM(sampling="official"))
    load_weights(model, renamed, path)
    return ready_to_restore(model, path)


def _without_place(weight: Tensor) -> Tensor:
    """Return the matrix in the weights of a 1x1 convolution, and other weights as they are."""
    is_point = isinstance(weight, Tensor) and weight.shape[-2:] == (1, 1)
    return weight[..., 0, 0] if is_point else weight


def _official_prefixes() -> list[tuple[str, str]]:
    """List the prefixes of official names, each with ours."""
    prefixes = [
        ("patch_embed.", "shallow."),
        ("down1.body.0.", "down_half.0."),
        ("down2.body.0.", "down_quarter.0."),
        ("up1.body.0.", "up_half.0."),
        ("up2.body.0.", "up_full.0."),
    ]
    for level, name, fusion in _LEVELS:
        prefixes += [
            (f"conv_cat{fusion}.0.", f"level_{name}.fusion.0."),
            (f"Lblock{level}.", f"level_{name}.enhance."),
            (f"Lblock_cd{level}.", f"level_{name}.enhance_prior."),
            (f"spade{level}.mlp_shared.", f"level_{name}.pgff.shared."),
            (f"spade{level}.mlp_gamma.", f"level_{name}.pgff.gamma."),
            (f"spade{level}.mlp_beta.", f"level_{name}.pgff.beta."),
            (f"tp{level}.qk_pre.", f"level_{name}.head.1."),
        ]
    return prefixes
