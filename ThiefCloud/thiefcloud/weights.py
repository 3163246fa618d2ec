"""Loading ThiefCloud from our files and from those of the official code."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cloudkit.checkpoints import CheckpointError, is_ours, load_network, load_weights, read_file, rename, require_network
from cloudkit.tuning import ordered_to_restore
from scpm import SCPM, from_official_names
from thiefcloud.model import NoPrior, ThiefCloud
from thiefcloud.unet import UNet

# Level 1 is full resolution, 2 half, 3 quarter; the official fusions are numbered the other way round.
_LEVELS = (("1", "full", "3"), ("2", "half", "2"), ("3", "quarter", "1"))
_RENAMES = [
    ("patch_embed.", "shallow."),
    ("down1.body.0.", "down_half.0."),
    ("down2.body.0.", "down_quarter.0."),
    ("up1.body.0.", "up_half.0."),
    ("up2.body.0.", "up_full.0."),
    *((f"conv_cat{fusion}.0.", f"level_{name}.fusion.0.") for _, name, fusion in _LEVELS),
    *((f"Lblock{level}.", f"level_{name}.enhance.") for level, name, _ in _LEVELS),
    *((f"Lblock_cd{level}.", f"level_{name}.enhance_prior.") for level, name, _ in _LEVELS),
    *(
        (f"spade{level}.mlp_{part}.", f"level_{name}.pgff.{part}.")
        for level, name, _ in _LEVELS
        for part in ("shared", "gamma", "beta")
    ),
    *((f"tp{level}.qk_pre.", f"level_{name}.head.1.") for level, name, _ in _LEVELS),
]
_GATES = (
    (".conv_block", ".block"),
    (".fea_ca1.", ".gate1."),
    (".x_ca1.", ".gate2."),
    (".fea_ca2.", ".gate3."),
    (".x_ca2.", ".gate4."),
    (".conv_mean.", ".from_mean."),
    (".conv_std.", ".from_std."),
)
_GATE_WEIGHT = re.compile(r"\.from_(mean|std)\.\d\.weight$")  # 1x1 convolutions there, matrices here


def load(path: Path | str) -> ThiefCloud | UNet:
    """ThiefCloud, or the U-Net it is compared with, from a file of weights.

    Released weights, and best.pt or last.pt of a training; the averaged weights where it kept them.

    A file of the official code is recognised and goes to `load_official`.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """

    hint = "ThiefCloud/train.py trains ThiefCloud and writes best.pt"
    return load_network(Path(path), BUILDERS, load_official, hint=hint)


def build(config: Mapping[str, Any]) -> ThiefCloud:
    """ThiefCloud from its `config`."""
    prior = NoPrior(config["in_channels"]) if config["prior"] is None else SCPM(**config["prior"])
    return ThiefCloud(prior, config["in_channels"], **_ways(config))


BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], ThiefCloud | UNet]] = {
    ThiefCloud.kind: build,
    UNet.kind: lambda config: UNet(config["in_channels"], **_ways(config)),
}


def _ways(config: Mapping[str, Any]) -> dict[str, bool]:
    """Arguments that networks share, which older files do not all have. Raises CheckpointError where they want what is gone."""
    if config.get("veil"):
        raise CheckpointError(
            "these weights have a veil (--veil), which the inversion has replaced; use the version that trained them, or train "
            "anew with --preset inversion."
        )
    return {name: config[name] for name in ("residual", "inversion") if name in config}


def load_into(model: nn.Module, path: Path) -> None:
    """Load the weights of a checkpoint of ours into a network that exists; raises as `load`."""
    content = read_file(path)
    require_network(path, content, *BUILDERS)
    load_weights(model, content["model"], path)


def load_official(path: Path | str) -> ThiefCloud:
    """ThiefCloud from a file of the official code, which is a bare state dict. Returns and raises as `load`."""
    path = Path(path)
    weights = read_file(path)
    if is_ours(weights) or "patch_embed.weight" not in weights:
        raise CheckpointError(
            f"{path} holds no ThiefCloud of the official code (no weight patch_embed.weight): name another file."
        )
    prior = {name.removeprefix("cd."): tensor for name, tensor in weights.items() if name.startswith("cd.")}
    own = rename({name: tensor for name, tensor in weights.items() if not name.startswith("cd.")}, _RENAMES)
    for theirs, ours in _GATES:
        own = {name.replace(theirs, ours): tensor for name, tensor in own.items()}
    own = {name: tensor[..., 0, 0] if _GATE_WEIGHT.search(name) else tensor for name, tensor in own.items()}
    model = ThiefCloud(SCPM(sampling="official"))
    load_weights(model, own | {f"prior.{name}": tensor for name, tensor in from_official_names(prior).items()}, path)
    return ordered_to_restore(model).eval()
