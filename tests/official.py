"""What the tests know of the official code: names and a formula for weights, outputs for them, and files that stay outside."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"


def formula_weights() -> dict[str, Tensor]:
    """The weights, under official names, for which `vectors("official_formula_vectors.npz")` holds the official outputs."""
    shapes = json.loads((FIXTURES / "official_names.json").read_text(encoding="utf-8"))
    return {name: _formula(index, name, shapes[name]) for index, name in enumerate(sorted(shapes))}


def _formula(index: int, name: str, shape: list[int]) -> Tensor:
    size = int(np.prod(shape))
    s = np.sin(0.37 * np.arange(size) + 1.3 * index)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
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
    return {name.removeprefix("cd."): tensor for name, tensor in weights.items() if name.startswith("cd.")}


def vectors(path: Path) -> dict[str, Tensor]:
    """Input and outputs of the official code."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def outside(name: str) -> Path:
    """A file made by the official code that may not travel with the project; the test is skipped where it is not at hand."""
    data = os.environ.get("THIEFCLOUD_DATA")
    path = Path(data).parent / "golden" / name if data else None
    if path is None or not path.is_file():
        pytest.skip(f"{name} is not at hand")
    return path


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a part of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
