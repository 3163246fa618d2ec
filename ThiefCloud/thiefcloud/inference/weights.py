"""Files of weights: ours, and those of the official code."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from cloudkit.checkpoints import (
    CheckpointError,
    is_ours,
    load_network,
    load_weights,
    read_file,
    rename,
    require_network,
)
from cloudkit.memory import ordered_to_restore
from scpm import SCPM, from_official_names
from thiefcloud.baselines.unet import UNet
from thiefcloud.inference.released import RELEASED, path_of
from thiefcloud.network.base import NoPrior, RemovalNetwork
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
_PRIOR = "cd."  # prefix of the prior's weights in official files


def load(weights: Path | str = "general") -> RemovalNetwork:
    """Load a network: ThiefCloud, or one that it is compared with.

    Args:
        weights: name of released weights (`thiefcloud.inference.released.RELEASED`), or a file:
            released weights, best.pt or last.pt of a training (its averaged weights if it kept
            them), or a file of the official code (see `load_official`).

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


def build(
    network: type[RemovalNetwork], config: Mapping[str, Any], prior: SCPM | NoPrior | None = None
) -> RemovalNetwork:
    """Build a network with random weights.

    Args:
        network: its class.
        config: the `config` of such a network.
        prior: an existing prior, for a network that takes one. Default: built from `config`.

    Raises:
        CheckpointError: the config is one of an older version that cannot be built any more.
    """
    if config.get("veil"):
        raise CheckpointError(
            "these weights have a veil (--veil), which the inversion has replaced. Use the version "
            "that trained them, or train anew with --preset inversion."
        )
    return network.from_config(config, prior)


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
    """Load the weights of a checkpoint of ours into an existing network.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    content = read_file(path)
    require_network(path, content, *BUILDERS)
    load_weights(model, content["model"], path)


def load_official(path: Path | str) -> ThiefCloud:
    """Load ThiefCloud from a file of the official code, which is a bare state dict.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    path = Path(path)
    weights = read_file(path)
    if is_ours(weights) or "patch_embed.weight" not in weights:
        raise CheckpointError(
            f"{path} holds no ThiefCloud of the official code (no weight patch_embed.weight): name "
            "another file."
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
        renamed[name] = tensor[..., 0, 0] if _GATE_WEIGHT.search(name) else tensor
    for name, tensor in from_official_names(of_prior).items():
        renamed[f"prior.{name}"] = tensor

    model = ThiefCloud(SCPM(sampling="official"))
    load_weights(model, renamed, path)
    return ordered_to_restore(model).eval()


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
