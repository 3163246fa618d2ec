"""Knowledge of the official code: weights by a formula, its outputs for them, and other files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"


def formula_weights() -> dict[str, Tensor]:
    """Weights by a formula, under official names.

    `vectors("official_formula_vectors.npz")` holds the official outputs for them.
    """
    shapes = json.loads((FIXTURES / "official_names.json").read_text(encoding="utf-8"))
    weights = {}
    for index, name in enumerate(sorted(shapes)):
        weights[name] = _formula(index, name, shapes[name])
    return weights


def _formula(index: int, name: str, shape: list[int]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)

    size = int(np.prod(shape))
    s = np.sin(0.37 * np.arange(size) + 1.3 * index)
    if name.endswith("running_var"):
        values = 1 + 0.5 * s**2
    elif name.endswith(("running_mean", "bias")):
        values = 0.05 * s
    elif len(shape) == 4:
        values = 1.5 * s * np.sqrt(shape[0] / size)
    else:
        values = 1 + 0.1 * s
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def prior_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The SCPM in a ThiefCloud of the official code, named as in SCPM's own files."""
    prior = {}
    for name, tensor in weights.items():
        if name.startswith("cd."):
            prior[name.removeprefix("cd.")] = tensor
    return prior


def vectors(path: Path) -> dict[str, Tensor]:
    """Input and outputs of the official code."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def outside(name: str) -> Path:
    """A file made by the official code, which may not travel with the project.

    The test is skipped if the file is absent.
    """
    data = os.environ.get("THIEFCLOUD_DATA")
    path = Path(data).parent / "golden" / name if data else None
    if path is None or not path.is_file():
        pytest.skip(f"{name} is absent")
    return path


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a fraction of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
