"""Files of weights: written completely or not at all, read without running code from them.

Training writes PyTorch files (.pt) with its state. Released weights are safetensors with a
description as metadata.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.files import write_atomically
from cloudkit.memory import ordered_to_restore

FORMAT = "thiefcloud-1"
RELEASED_SUFFIX = ".safetensors"
Network = TypeVar("Network", bound=nn.Module)
# The official SCPM files hold a NumPy float; these names, and no others, let the safe reader
# accept it.
_SCALAR = np.float32(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before NumPy 2
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]


class CheckpointError(UserError):
    """Error of a checkpoint that cannot be used; the message names the file and says what to do."""


def save_checkpoint(
    path: Path, network: str, config: Mapping[str, Any], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint of this project.

    Args:
        path: the file. If writing fails, an old file stays as it was.
        network: "scpm", "thiefcloud" or "unet".
        config: the arguments that build the network.
        state: at least "model", the weights; further entries are what training needs to resume.

    Raises:
        OSError: the file could not be written.
    """
    content = {"format": FORMAT, "network": network, "config": dict(config), **state}
    try:
        write_atomically(Path(path), lambda temporary: torch.save(content, temporary))
    except (RuntimeError, OSError) as error:  # PyTorch reports a full disk as a RuntimeError
        raise OSError(
            f"{path} could not be written ({_reason(error)}): make room on the disk, or name "
            "another folder. A file that was there before is untouched."
        ) from error


def save_released(
    path: Path,
    network: str,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    about: Mapping[str, Any],
) -> None:
    """Write weights for release as safetensors, with matrices and kernels in half precision.

    Half precision halves the file, and changes restored images by far less than an 8-bit level.
    Vectors stay as they are, because statistics of BatchNorm may be tiny. `read_file` returns
    everything in single precision.

    Args:
        path: the file. If writing fails, an old file stays as it was.
        network: as in `save_checkpoint`.
        config: as in `save_checkpoint`.
        weights: the state dict.
        about: data, training and scores of the weights; anything that JSON takes.
    """
    metadata = {
        "format": FORMAT,
        "network": network,
        "config": json.dumps(dict(config)),
        "about": json.dumps(dict(about)),
    }
    tensors = {}
    for name, tensor in weights.items():
        halve = tensor.dtype == torch.float32 and tensor.ndim > 1
        stored = tensor.detach().cpu().to(torch.float16 if halve else tensor.dtype)
        tensors[name] = stored.contiguous()

    write_atomically(Path(path), lambda temporary: save_file(tensors, temporary, metadata))


def load_network(
    path: Path,
    builders: Mapping[str, Callable[[Mapping[str, Any]], Network]],
    official: Callable[[Path], Network],
    *,
    hint: str,
) -> Network:
    """Load a network in eval mode on the CPU from any file of weights.

    Args:
        path: a checkpoint or released weights of this project, or a file of the official code.
        builders: {network, such as "scpm": function that builds it from its config}.
        official: function that loads a file of the official code.
        hint: what to do if the file is not there.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be used.
    """
    content = read_file(path, hint=hint)
    if not is_ours(content):
        return official(path)
    require_network(path, content, *builders)
    missing = {"config", "model"} - content.keys()
    if missing:
        raise CheckpointError(
            f"{path} lacks its {' and '.join(sorted(missing))}; it may be damaged: fetch it anew, "
            "or name another."
        )

    try:
        model = builders[content["network"]](content["config"])
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    load_weights(model, content["model"], path)
    return ordered_to_restore(model).eval()


def read_file(path: Path, *, hint: str = "name another file") -> dict[str, Any]:
    """Read any file of weights on the CPU, without running code from it.

    Args:
        path: safetensors of this project, or any PyTorch file that holds a dict.
        hint: what to do if it is not there.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {path}; {hint}.")
    if path.suffix == RELEASED_SUFFIX:
        return _read_released(path)

    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = _reason(error)
        if isinstance(error, pickle.UnpicklingError):  # its text advises to read the file unsafely
            reason = "no PyTorch file, or one with Python objects besides weights"
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch checkpoint ({reason}); it may be damaged or hold "
            "other things: fetch it anew, or use best.pt or last.pt of a training run."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected a dict of weights."
        )
    return content


def _read_released(path: Path) -> dict[str, Any]:
    """Read released weights in the form of a checkpoint, with "about"."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
        for name, tensor in weights.items():
            if tensor.dtype == torch.float16:
                weights[name] = tensor.float()
        return {
            "format": metadata["format"],
            "network": metadata["network"],
            "config": json.loads(metadata["config"]),
            "model": weights,
            "about": json.loads(metadata["about"]),
        }
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as weights of ours ({_reason(error)}); it may be damaged or "
            "foreign: fetch it anew."
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_ours(content: Mapping[str, Any]) -> bool:
    """Return True if a file read by `read_file` was written by this project."""
    return content.get("format") == FORMAT


def require_network(path: Path, content: Mapping[str, Any], *networks: str) -> None:
    """Raise CheckpointError unless the file holds one of the networks, such as "scpm"."""
    if content.get("network") not in networks:
        expected = " or ".join(map(repr, networks))
        raise CheckpointError(
            f"{path} holds the network {content.get('network')!r}, expected {expected}: "
            "name another file."
        )


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network.

    Args:
        model: the network.
        weights: the state dict.
        path: the file that it came from, for messages.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape differs.
    """
    own = model.state_dict()
    misshapen = set()
    for name in own.keys() & weights.keys():
        if own[name].shape != getattr(weights[name], "shape", None):
            misshapen.add(name)

    problems = []
    for problem, names in (
        ("missing", own.keys() - weights.keys()),
        ("unknown", weights.keys() - own.keys()),
        ("of another shape", misshapen),
    ):
        if names:
            examples = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
            problems.append(f"{len(names)} {problem} ({examples})")
    if problems:
        raise CheckpointError(
            f"the weights in {path} do not fit {type(model).__name__} of this version: "
            f"{'; '.join(problems)}. Name weights of this version, or train anew."
        )
    model.load_state_dict(dict(weights))


def rename(weights: Mapping[str, Tensor], renames: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """Rename weights by prefix.

    Args:
        weights: the state dict.
        renames: (old, new) prefixes. The first that matches a name is replaced; a name without a
            match stays.
    """
    prefixes = list(renames)
    renamed = {}
    for name, tensor in weights.items():
        for old, new in prefixes:
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        renamed[name] = tensor
    return renamed
