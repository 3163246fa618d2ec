from pathlib import Path

import pytest
import torch

from tests.thiefcloud.inference.tiny import Tiny
from thiefcloud.inference.export import export


@pytest.fixture(scope="session")
def network() -> Tiny:
    torch.manual_seed(3)
    return Tiny(4).eval()


@pytest.fixture(scope="session")
def file(network: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, exported."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert export(network, path, {"name": "tiny"}) < 1e-5
    return path
