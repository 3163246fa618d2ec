"""Loading SCPM from our files and from those of the official code."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from cloudkit.checkpoints import CheckpointError, load_network, load_weights, read_file, rename
from cloudkit.tuning import ordered_to_restore
from scpm.model import SCPM

_FIRST = "down1.mpconv.conv.0.conv.weight"
# Official name prefixes and ours; a longer prefix stands before a shorter one that it begins with.
_RENAMES = [
    ("down1.mpconv.conv.", "encoder_full."),
    *(
        (f"{theirs}.conv{pair}.{layer}.", f"{ours}.{3 * (pair - 1) + layer}.")
        for theirs, ours in (("down2", "encoder_half"), ("down3", "encoder_quarter"), ("center", "encoder_eighth"))
        for pair in (1, 2)
        for layer in (0, 1)
    ),
    *(
        (f"{theirs}.conv.conv{pair}.0.", f"{ours}.block.{2 * (pair - 1)}.")
        for theirs, ours in (("up_concat3", "decoder_quarter"), ("up_concat2", "decoder_half"))
        for pair in (1, 2)
    ),
    ("up_concat1.up.", "decoder_full.up."),
    ("up_concat1.ch_conv.conv1.0.", "decoder_full.squeeze.0."),
    ("up_concat1.conv.conv.", "decoder_full.block."),
    ("conv1.0.", "squeeze_quarter.0."),
    ("conv2.0.", "squeeze_half.0."),
    ("final.", "head."),
]


def load(path: Path | str) -> SCPM:
    """SCPM from released weights, or from best.pt or last.pt of a training (the averaged weights where it kept them).

    A file of the official code is recognised and goes to `load_official`.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    hint = "SCPM/src/train_cd.py trains SCPM and writes best.pt"
    return load_network(Path(path), {"scpm": lambda config: SCPM(**config)}, load_official, hint=hint)


def load_official(path: Path | str) -> SCPM:
    """SCPM from a file of the official code: its training checkpoint, or a bare state dict of `CDNet_V1`.

    The network samples as the official code does ("official" in `DeformConv2d`). Returns and raises as `load`.
    """
    path = Path(path)
    content = read_file(path)
    weights = content.get("model_state", content)
    if not isinstance(weights, dict) or _FIRST not in weights:
        raise CheckpointError(f"{path} holds no SCPM of the official code (no weight {_FIRST}): name another file.")
    model = SCPM(sampling="official")
    load_weights(model, from_official_names(weights), path)
    return ordered_to_restore(model).eval()


def from_official_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an official `CDNet_V1` under our names."""
    renamed = rename(weights, _RENAMES)
    return {name.replace(".p_conv.", ".offsets.").replace(".conv.weight", ".weight"): w for name, w in renamed.items()}
