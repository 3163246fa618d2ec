"""Files of weights: written at once or not at all, read without running code from them.

A training writes PyTorch files (.pt), with its state; weights for others are safetensors with what they are as metadata.
"""

import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.files import write_atomically
from cloudkit.tuning import ordered_to_restore

FORMAT = "thiefcloud-1"
RELEASED_SUFFIX = ".safetensors"
Network = TypeVar("Network", bound=nn.Module)
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
        network: "scpm", "thiefcloud" or "unet".
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


def save_released(
    path: Path, network: str, config: Mapping[str, Any], weights: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Write weights for others as safetensors, which any tool can read; matrices and kernels in half precision.

    That halves the file and moves restored images by far less than a level of 8 bits. Vectors, such as the statistics of
    BatchNorm, which may be tiny, stay as they are; `read_file` gives all back in single precision.

    Args:
        path: the file, replaced at once.
        network, config: as in `save_checkpoint`.
        weights: the state dict.
        about: what the weights are: data, training, scores; anything that JSON takes.
    """
    metadata = {"format": FORMAT, "network": network, "config": json.dumps(dict(config)), "about": json.dumps(dict(about))}
    tensors = {name: _halved(tensor.detach().cpu()).contiguous() for name, tensor in weights.items()}
    write_atomically(Path(path), lambda temporary: save_file(tensors, temporary, metadata))


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.dtype == torch.float32 and tensor.ndim > 1 else tensor


def load_network(
    path: Path,
    builders: Mapping[str, Callable[[Mapping[str, Any]], Network]],
    official: Callable[[Path], Network],
    *,
    hint: str,
) -> Network:
    """A network in eval mode, on the CPU, from any file of weights.

    Args:
        path: a checkpoint or released weights of ours, or a file of the official code.
        builders: for each network that it may hold, such as "scpm", what makes that network from its config.
        official: what loads a file of the official code.
        hint: what to do if the file is not there.

    Raises:
        FileNotFoundError, CheckpointError: the message says what to do.
    """
    content = read_file(path, hint=hint)
    if not is_ours(content):
        return official(path)
    require_network(path, content, *builders)
    if missing := {"config", "model"} - content.keys():
        raise CheckpointError(
            f"{path} lacks its {' and '.join(sorted(missing))}; it may be damaged: fetch it anew, or name another."
        )
    try:
        model = builders[content["network"]](content["config"])
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    load_weights(model, content["model"], path)
    return ordered_to_restore(model).eval()


def read_file(path: Path, *, hint: str = "name another file") -> dict[str, Any]:
    """Read a file of weights, ours or not, on the CPU and without running code from it.

    Args:
        path: safetensors of ours, or any PyTorch file that holds a dict.
        hint: what to do if it is not there.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or is no such file.
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


def _read_released(path: Path) -> dict[str, Any]:
    """Released weights in the form of a checkpoint, with "about"."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        weights = {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in stored.items()}
        parsed = {name: json.loads(metadata[name]) for name in ("config", "about")}
        return {"format": metadata["format"], "network": metadata["network"], "model": weights, **parsed}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as weights of ours ({_reason(error)}); it may be damaged or foreign: fetch it anew."
        ) from error


def _reason(error: Exception) -> str:
    """The first line of an error's message."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_ours(content: Mapping[str, Any]) -> bool:
    """Whether a file read by `read_file` was written by `save_checkpoint`."""
    return content.get("format") == FORMAT


def require_network(path: Path, content: Mapping[str, Any], *networks: str) -> None:
    """Raise CheckpointError unless the file holds one of the networks, such as "scpm", that are asked for."""
    if content.get("network") not in networks:
        wanted = " or ".join(map(repr, networks))
        raise CheckpointError(f"{path} holds the network {content.get('network')!r}, expected {wanted}: name another file.")


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
