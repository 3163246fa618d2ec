"""Loading of SCPM from our files and from those of the official code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from cloudkit.checkpoints import (
    CheckpointError,
    check_structure,
    is_ours,
    load_network,
    load_weights,
    read_file,
    ready_to_restore,
    rename,
    unwrapped,
)
from scpm.network.deform import Sampling
from scpm.network.model import SCPM

_FIRST = "down1.mpconv.conv.0.conv.weight"  # the first weight of an official file
_FIRST_OF_REMOVAL = "patch_embed.weight"  # a weight of the official ThiefCloud, which holds an SCPM
_ENCODERS = {"down2": "encoder_half", "down3": "encoder_quarter", "center": "encoder_eighth"}
_DECODERS = {"up_concat3": "decoder_quarter", "up_concat2": "decoder_half"}


def _official_prefixes() -> list[tuple[str, str]]:
    """Return pairs of an official name prefix and ours."""
    renames = [("down1.mpconv.conv.", "encoder_full.")]
    for theirs, ours in _ENCODERS.items():
        for conv in (0, 1):
            for layer in (0, 1):
                renames.append((f"{theirs}.conv{conv + 1}.{layer}.", f"{ours}.{3 * conv + layer}."))
    for theirs, ours in _DECODERS.items():
        for conv in (0, 1):
            renames.append((f"{theirs}.conv.conv{conv + 1}.0.", f"{ours}.block.{2 * conv}."))

    renames += [
        ("up_concat1.up.", "decoder_full.up."),
        ("up_concat1.ch_conv.conv1.0.", "decoder_full.squeeze.0."),
        ("up_concat1.conv.conv.", "decoder_full.block."),
        ("conv1.0.", "squeeze_quarter.0."),
        ("conv2.0.", "squeeze_half.0."),
        ("final.", "head."),
    ]
    return renames


class SCPMConfig(TypedDict, total=False):
    """Arguments of SCPM in files."""

    in_channels: int
    sampling: Sampling


def build(config: Mapping[str, Any]) -> SCPM:
    """Build SCPM with random weights from the config in a file.

    Raises:
        CheckpointError: the config has another structure.
    """
    check_structure(dict(config), SCPMConfig, "its config of SCPM")
    return SCPM(**config)


def load(path: Path | str) -> SCPM:
    """Load SCPM from released weights, from best.pt or last.pt, or from an official file.

    If the training kept averaged weights, they are loaded.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged or holds another network.
    """
    hint = "SCPM/src/train_cd.py trains SCPM and writes best.pt"
    return load_network(Path(path), {"scpm": build}, load_official, hint=hint)


def load_official(path: Path | str) -> SCPM:
    """Load SCPM from a training checkpoint or a state dict of `CDNet_V1` of the official code.

    The state dict may lie within others, and a wrapper may have changed its names (`unwrapped`).

    The network samples as the official code does ("official" in `DeformConv2d`).

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged or holds another network.
    """
    path = Path(path)
    content = read_file(path)
    of_removal = is_ours(content) or unwrapped(content, _FIRST_OF_REMOVAL) is not None
    weights = None if of_removal else unwrapped(content, _FIRST)
    if weights is None:
        raise CheckpointError(
            f"{path} holds no SCPM of the official code (no weight {_FIRST}), and none of ours "
            "with its config: name another file, such as best.pt of a training."
        )

    model = SCPM(sampling="official")
    load_weights(model, from_official_names(weights), path)
    return ready_to_restore(model, path)


def from_official_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an official `CDNet_V1` under our names."""
    ours = {}
    for name, weight in rename(weights, _official_prefixes()).items():
        name = name.replace(".p_conv.", ".offsets.").replace(".conv.weight", ".weight")
        ours[name] = weight
    return ours
