"""Reading of files of each kind, after their claims were compared with their size."""

import io
import json
import mmap
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from cloudkit.checkpoints import archives
from cloudkit.checkpoints.kinds import Kind, damaged
from cloudkit.checkpoints.pickles import ForeignObjectError, PickleError, storages_of
from cloudkit.checkpoints.schema import first_line, has_our_format
from cloudkit.errors import CheckpointError

_LARGEST_HEADER = 2**24  # bytes; names of 400 weights need 50,000
_OLD_PICKLES = 5  # of the older format: its number, version, system, content and keys
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
_UNSAFE = (
    "it holds Python objects besides weights: save the weights alone, "
    "torch.save(network.state_dict(), FILE)"
)
# Everything that PyTorch raises for damaged files.
_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    OSError,
)


def read_pytorch(path: Path, kind: Kind) -> dict[Any, Any]:
    """Read the dict in a PyTorch file on the CPU.

    Raises:
        CheckpointError: it is damaged, claims too much, or holds other things.
    """
    try:
        if kind is Kind.ZIP:
            _check_archive(path)
        else:
            _check_old_file(path)
    except ForeignObjectError as error:
        raise damaged(path, kind, f"{_UNSAFE}; found {error}") from None
    except (PickleError, *archives.ERRORS) as error:
        raise damaged(path, kind, first_line(error)) from error

    try:
        # An open file, because PyTorch decides by the suffix of a path.
        with path.open("rb") as file, torch.serialization.safe_globals(_NUMPY_SCALARS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except _ERRORS as error:
        # The text of the safe reader advises to read the file unsafely.
        unsafe = isinstance(error, pickle.UnpicklingError)
        raise damaged(path, kind, _UNSAFE if unsafe else first_line(error)) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, expected a dict of weights: save "
            "network.state_dict(), or name another file."
        )
    return content


def _check_archive(path: Path) -> None:
    sizes, pickled = archives.read_small_records(path)
    if not pickled:
        raise PickleError("it has no data.pkl")
    with io.BytesIO(pickled) as stream:
        claims = storages_of(stream)
    for key, claim in claims.items():
        if sizes.get(f"data/{key}") != claim:
            raise PickleError(f"the record of storage {key[:20]!r} has not the {claim} bytes of it")


def _check_old_file(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        total = 0
        for _ in range(_OLD_PICKLES):
            total += sum(storages_of(stream).values())  # type: ignore[arg-type]
        left = len(stream) - stream.tell()
    if total > left:
        raise PickleError(f"its weights claim {total} bytes, but only {left} follow")


def read_safetensors(path: Path) -> dict[Any, Any]:
    """Read safetensors: released weights in the form of a checkpoint, others as bare weights.

    Half precision becomes single precision.

    Raises:
        CheckpointError: the file is damaged or claims too much.
    """
    kind = Kind.SAFETENSORS
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > min(size - 8, _LARGEST_HEADER):
        raise damaged(path, kind, f"its header claims {header} bytes, the file has {size}")

    weights = {}
    try:
        # It checks that the tensors lie in the file, side by side.
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            for name in opened.keys():  # noqa: SIM118, it is no dict
                tensor = opened.get_tensor(name)
                weights[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
        return _in_our_form(metadata, weights) if has_our_format(metadata) else weights
    except (SafetensorError, RecursionError, *_ERRORS) as error:
        raise damaged(path, kind, first_line(error)) from error


def _in_our_form(metadata: Mapping[str, str], weights: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": metadata["format"],
        "network": metadata["network"],
        "config": json.loads(metadata["config"]),
        "model": weights,
        "about": json.loads(metadata["about"]),
    }
