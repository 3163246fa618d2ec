"""Writing of checkpoints and of released weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cloudkit.checkpoints.schema import FORMAT, first_line
from cloudkit.files import write_atomically


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
            f"{path} could not be written ({first_line(error)}): make room on the disk, or name "
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
