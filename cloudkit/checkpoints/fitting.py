"""Weights of a file compared with a network: names, shapes, types and values.

Every loader passes `fitting_weights`.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cloudkit.errors import CheckpointError

# Parts of names that wrappers add: DataParallel and averaged models, and torch.compile.
_WRAPPERS = {"module", "_orig_mod"}
_AVERAGED = {"ema", "averaged", "swa"}  # words in the names of averaged weights
_MOST_MAPPINGS = 1000  # dicts of a file in which weights are sought
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_ANEW = "Fetch the file anew, or take an earlier one of the training."


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a network. Raises as `fitting_weights`."""
    model.load_state_dict(fitting_weights(model, weights, path))


def fitting_weights(
    model: nn.Module, weights: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return weights in the types of a network, if they fit it.

    Half precision is converted exactly. Double precision is accepted if single precision expresses
    the same values.

    Args:
        model: the network. It may lie on the meta device.
        weights: the state dict, also within others and with a wrapper's prefix (see `unwrapped`).
        path: the file that it came from, for messages.

    Raises:
        CheckpointError: a name is missing or unknown, a shape differs, or a value is not finite.
    """
    own = model.state_dict()
    if weights.keys() != own.keys():
        weights = unwrapped(weights, next(iter(own))) or weights
    _check_names(model, own, weights, path)

    check_values(weights, path)
    fitting = {}
    for name, expected in own.items():
        fitting[name] = _converted(name, weights[name], expected.dtype, path)
    return fitting


def _check_names(
    model: nn.Module, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: Path
) -> None:
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
            listed = sorted(map(_shortened, names))[:3]
            examples = ", ".join(listed) + (", ..." if len(names) > 3 else "")
            problems.append(f"{len(names)} {problem} ({examples})")
    if problems:
        raise CheckpointError(
            f"the weights in {path} do not fit {type(model).__name__} of this version: "
            f"{'; '.join(problems)}. Name weights of this version, or train anew."
        )


def _shortened(name: object) -> str:
    return name[:80] if isinstance(name, str) else f"a {type(name).__name__}"


def check_values(weights: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointError unless all values are plain tensors of finite numbers."""
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise CheckpointError(
                f"{path} holds a {type(weight).__name__} as {_shortened(name)}, expected a tensor. "
                f"{_ANEW}"
            )
        is_plain = weight.layout == torch.strided and weight.device.type == "cpu"
        if not is_plain or weight.dtype not in _FLOATS | _INTEGERS:
            form = weight.dtype if is_plain else f"{weight.layout} on {weight.device.type}"
            raise CheckpointError(
                f"{path} holds {_shortened(name)} as {form}, expected floating-point numbers: "
                "convert it with .float() and save it again, or name another file."
            )
        _check_numbers(name, weight.detach(), path)


def _check_numbers(name: str, weight: Tensor, path: Path) -> None:
    if weight.numel() == 0:
        return
    least, largest = torch.aminmax(weight)  # needs no memory, even for the largest tensors
    if not (least.isfinite() and largest.isfinite()):
        raise CheckpointError(
            f"{path} has values in {_shortened(name)} that are infinite or not a number, expected "
            f"finite weights. {_ANEW}"
        )
    counts = weight.dtype in _INTEGERS or name.endswith("running_var")
    if counts and least < 0:
        raise CheckpointError(
            f"{path} has {float(least):.3g} in {_shortened(name)}, expected no value below zero. "
            f"{_ANEW}"
        )


def _converted(name: str, weight: Tensor, dtype: torch.dtype, path: Path) -> Tensor:
    """Return a weight in the network's type, if that keeps its values."""
    if (weight.dtype in _INTEGERS) != (dtype in _INTEGERS):
        raise CheckpointError(
            f"{path} holds {name} as {weight.dtype}, expected {dtype}: convert it and save it "
            "again, or name another file."
        )
    converted = weight.to(dtype)
    narrows = weight.dtype == torch.float64 or weight.dtype in _INTEGERS
    if weight.dtype != dtype and narrows and not torch.equal(converted.to(weight.dtype), weight):
        raise CheckpointError(
            f"{path} holds {name} as {weight.dtype}, with values that {dtype} rounds: convert it "
            "with .float() and save it again, if rounding is meant."
        )
    return converted


def unwrapped(content: Mapping[Any, Any], first: str) -> dict[str, Tensor] | None:
    """Find the weights of a network in a file, under whatever names a training put them.

    They may lie in dicts ("state_dict", "model", "params", ...), and their names may begin with
    those of wrappers ("module.", "_orig_mod.", "model.net.", ...). Averaged weights are preferred,
    as "params_ema". Other weights beside them, such as those of a loss, are left out.

    Args:
        content: the file's dict.
        first: name of a weight that only this network has.

    Returns:
        The weights under the network's own names; None if there are none.
    """
    best: tuple[bool, dict[str, Tensor]] | None = None
    waiting: deque[tuple[bool, Mapping[Any, Any]]] = deque([(False, content)])
    for _ in range(_MOST_MAPPINGS):
        if not waiting:
            break
        is_averaged, mapping = waiting.popleft()
        if (found := _named(mapping, first)) is not None and (best is None or is_averaged):
            best = is_averaged, found
            if is_averaged:
                break

        for key, value in mapping.items():
            if isinstance(value, Mapping):
                words = re.split(r"[^a-z]+", str(key)[:100].lower())
                waiting.append((is_averaged or not _AVERAGED.isdisjoint(words), value))
    return None if best is None else best[1]


def _named(mapping: Mapping[Any, Any], first: str) -> dict[str, Tensor] | None:
    """Return the weights of a state dict without what wrappers put before their names."""
    plain: dict[str, Tensor] = {}
    prefix = None
    for key, value in mapping.items():
        if not isinstance(key, str) or isinstance(value, Mapping):
            continue
        first_part, *parts = key.split(".")
        name = ".".join([first_part, *(part for part in parts if part not in _WRAPPERS)])
        if name in plain:
            return None  # the same weight twice, so it is not clear which is meant
        plain[name] = value
        if f".{name}".endswith(f".{first}") and (prefix is None or len(name) < len(prefix + first)):
            prefix = name.removesuffix(first)

    if prefix is None:
        return None
    return {
        name.removeprefix(prefix): value
        for name, value in plain.items()
        if name.startswith(prefix) and name != "n_averaged"
    }


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
