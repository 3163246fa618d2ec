"""Entry points of torch.hub.

torch.hub.load(FOLDER, "thiefcloud", source="local")
torch.hub.load(FOLDER, "thiefcloud", "rice1", source="local")
torch.hub.load(FOLDER, "scpm", source="local")
"""

import pathlib
import sys

# Packages that loading and restoring import; torch.hub names those that are missing.
dependencies = ["numpy", "safetensors", "torch", "tqdm", "typeguard"]

# torch.hub installs nothing. It finds what lies beside this file, and our packages lie deeper.
# Packages that are imported stay, so the path is as it was afterwards.
_HERE = pathlib.Path(__file__).resolve().parent
_SOURCES = [str(_HERE), str(_HERE / "SCPM" / "src"), str(_HERE / "ThiefCloud")]
sys.path[:0] = _SOURCES
try:
    import scpm as _scpm
    import thiefcloud as _thiefcloud
finally:
    del sys.path[: len(_SOURCES)]


def thiefcloud(
    weights: _thiefcloud.Weights | pathlib.Path | str = "general",
) -> _thiefcloud.RemovalNetwork:
    """Load the network that removes thin cloud.

    Args:
        weights: name of released weights ("general", "rice1", "rice2"), or a file.

    Returns:
        The network in eval mode, on the CPU. `thiefcloud.restore(model, image)` restores images of
        any size with it.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    return _thiefcloud.load(weights)


def scpm(weights: pathlib.Path | str | None = None) -> _scpm.SCPM:
    """Load the network that sees how thick cloud is.

    Args:
        weights: a file. Default: the released weights.

    Returns:
        The network in eval mode, on the CPU. `scpm.detect(model, image)` maps images of any size.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    return _scpm.load(weights or _HERE / "checkpoints" / "scpm.safetensors")
