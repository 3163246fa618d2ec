"""Checkpoint files: written at once or not at all, read without running code from them."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.images import write_atomically

FORMAT = "thiefcloud-1"
# The official SCPM files hold a NumPy float; these names, and no others, let the safe reader accept it.
_SCALAR = np.float32(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before NumPy 2
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message names the file, what is wrong and what to do."""


def save_checkpoint(path: Path, network: str, config: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint of ours.

    Args:
        path: the file, replaced at once; a full disk leaves the old one whole.
        network: "scpm" or "thiefcloud".
        config: the arguments that build the network.
        state: at least "model", the weights; what else a training needs to go on.

    Raises:
        OSError: the file could not be written; an old one is untouched.
    """
    content = {"format": FORMAT, "network": network, "config": dict(config), **state}
    try:
        write_atomically(Path(path), lambda temporary: torch.save(content, temporary))
    except (RuntimeError, OSError) as error:  # PyTorch's writer reports a full disk as a RuntimeError
        raise OSError(
            f"{path} could not be written ({_reason(error)}): make room on the disk, or name another folder. "
            "A file that was there before is untouched."
        ) from error


def read_file(path: Path, *, hint: str = "name another file") -> dict[str, Any]:
    """Read any PyTorch file that holds a dict, ours or not, on the CPU and without running code from it.

    Args:
        path: the file.
        hint: what to do if it is not there.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {path}; {hint}.")
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        # PyTorch's own words for the first kind advise to read the file unsafely.
        unsafe = isinstance(error, pickle.UnpicklingError)
        reason = "no PyTorch file, or one with Python objects besides weights" if unsafe else _reason(error)
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); it may be damaged or hold other things: "
            "fetch it anew, or use best.pt or last.pt of a training run."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dict of weights.")
    return content


def _reason(error: Exception) -> str:
    """The first line of an error's message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_ours(content: Mapping[str, Any]) -> bool:
    """Whether a file read by `read_file` was written by `save_checkpoint`."""
    return content.get("format") == FORMAT


def require_network(path: Path, content: Mapping[str, Any], network: str) -> None:
    """Raise CheckpointError unless the file holds the network "scpm" or "thiefcloud", whichever is asked for."""
    if content.get("network") != network:
        raise CheckpointError(f"{path} holds the network {content.get('network')!r}, expected {network!r}: name another file.")


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights; every name and shape must fit, else CheckpointError says which do not."""
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = sorted(name for name in own.keys() & weights.keys() if own[name].shape != getattr(weights[name], "shape", None))
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise CheckpointError(f"the weights in {path} do not fit {type(model).__name__}: {'; '.join(problems)}.")
    model.load_state_dict(dict(weights))


def rename(weights: Mapping[str, Tensor], renames: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Weights under new names: of (old, new) prefixes the first that fits is replaced, names without one stay."""
    pairs = list(renames)

    def new_name(name: str) -> str:
        for old, new in pairs:
            if name.startswith(old):
                return new + name[len(old) :]
        return name

    return {new_name(name): tensor for name, tensor in weights.items()}
