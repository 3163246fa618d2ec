"""Structure of a training's state in last.pt, and its comparison with the training that goes on."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from cloudkit.checkpoints import CheckpointError, check_structure, check_values

_OF_THE_MACHINE = ("fused", "foreach")  # the way of computing, not the result


class ProgressState(TypedDict):
    """`Progress` in a file."""

    phase: int
    epoch: int
    step: int
    best: float
    history: list[dict[str, float]]


class OptimizerState(TypedDict):
    """State of an optimizer in a file. Each group has a list "params" of numbers of weights."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class TrainingState(TypedDict):
    """Everything that a training goes on from."""

    model: dict[str, Tensor]
    optimizer: OptimizerState
    scaler: dict[str, float]
    averaged: dict[str, Tensor] | None
    progress: ProgressState


def check_training(training: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointError unless the state of a training has its structure."""
    if missing := TrainingState.__required_keys__ - training.keys():
        raise CheckpointError(
            f"{path} lacks {', '.join(sorted(missing))} of the training's state; it may be "
            "damaged: name another run."
        )
    known = {name: training[name] for name in TrainingState.__annotations__}
    check_structure(known, TrainingState, f"{path} is damaged or was changed: its training")

    for group in training["optimizer"]["param_groups"]:
        subject = f"{path} is damaged or was changed: its numbers of weights"
        check_structure(group.get("params"), list[int], subject)

    progress = training["progress"]
    counts = (progress["phase"], progress["epoch"], progress["step"])
    if min(counts) < 0 or max(counts) > 2**53 or not progress["best"] <= math.inf:
        raise CheckpointError(
            f"{path} is damaged: its progress is phase, epoch and step {counts} with the score "
            f"{progress['best']}, expected counts from 0 and a number. Name another run."
        )


def optimizer_state(
    optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """Return the saved state of an optimizer for `load_state_dict`, on this machine.

    Args:
        optimizer: the optimizer of the training that goes on.
        saved: the state in the file, of the structure of `OptimizerState`.
        path: the file, for messages.

    Raises:
        CheckpointError: it is the state of an optimizer of another kind, or of other weights.
    """
    groups, own_groups = saved["param_groups"], optimizer.param_groups
    if len(groups) != len(own_groups):
        raise _other(path, f"{len(groups)} groups of weights, expected {len(own_groups)}")

    fitting = []
    for group, own in zip(groups, own_groups, strict=True):
        _check_group(group, own, path)
        machine = {name: own.get(name) for name in _OF_THE_MACHINE}
        fitting.append({**group, **machine})
    _check_moments(optimizer, saved, path)
    return {**saved, "param_groups": fitting}


def _check_group(group: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> None:
    """Compare a group's settings with this training's. Versions of PyTorch may add some."""
    lacking, foreign = own.keys() - group.keys(), group.keys() - own.keys()
    if lacking and foreign:
        raise _other(path, f"no setting {min(lacking)}, but {str(min(foreign, key=str))[:40]}")
    count = len(own["params"])
    if len(group["params"]) != count or len(set(group["params"])) != count:
        raise _other(path, f"{len(group['params'])} weights in a group, expected {count}")

    for name, value in own.items():
        if name in ("params", *_OF_THE_MACHINE) or name not in group:
            continue
        if not _is_like(group[name], value):
            raise _other(path, f"a setting {name} that is no {type(value).__name__}")


def _is_like(found: object, expected: object) -> bool:
    """Tell whether a setting has the form of another: a finite number, a tuple, or the same."""
    if isinstance(expected, tuple):
        if not isinstance(found, tuple | list) or len(found) != len(expected):
            return False
        return all(_is_like(one, other) for one, other in zip(found, expected, strict=True))
    if isinstance(expected, float | int) and not isinstance(expected, bool):
        return isinstance(found, float | int) and abs(found) < 1e30
    return type(found) is type(expected)


def _check_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], path: Path) -> None:
    """Compare what the optimizer remembers of each weight with what it would remember here."""
    numbers: list[int] = []
    weights: list[Tensor] = []
    for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        numbers += group["params"]
        weights += own["params"]
    weight_of = dict(zip(numbers, weights, strict=True))

    expected = _remembered(optimizer)
    for number, moments in saved["state"].items():
        if number not in weight_of or moments.keys() != expected:
            raise _other(path, f"other values for weight {number}, expected {sorted(expected)}")
        shape = weight_of[number].shape
        tensors = {name: value for name, value in moments.items() if value is not None}
        check_values(tensors, path)
        for name, value in tensors.items():
            if value.shape != shape and not (name == "step" and value.numel() == 1):
                raise _other(path, f"{name} of another shape for weight {number}")


def _remembered(optimizer: torch.optim.Optimizer) -> set[str]:
    """Return the names of what an optimizer of this kind remembers of a weight after a step."""
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    one = type(optimizer)([weight], **optimizer.defaults)
    one.step()
    return set(one.state[weight])


def _other(path: Path, difference: str) -> CheckpointError:
    return CheckpointError(
        f"the optimizer in {path} is not this training's: it has {difference}. Go on with the "
        "version and the options of that run, or start another."
    )
