"""hubconf.py, loaded by torch.hub as a user does: from another folder, without an installation."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hubconf
import scpm
import thiefcloud
from scpm import SCPM
from scpm.paths import RELEASED_PRIOR
from tests.helpers import ROOT
from thiefcloud import Weights

LOAD = """
import json, sys, torch
before = list(sys.path)
folder, out, *arguments = sys.argv[1:]
model = torch.hub.load(folder, *arguments, source="local")
assert sys.path == before
for name in ("cloudkit", "scpm", "thiefcloud"):
    assert sys.modules[name].__file__.startswith(folder)
if arguments[0] == "thiefcloud":
    sys.modules["thiefcloud"].restore(model, torch.rand(3, 20, 20))
torch.save(model.state_dict(), out)
print(json.dumps([type(model).__name__, model.training, sorted(sys.modules)]))
"""
# What pyproject.toml declares, by the names of imports.
DECLARED = {"torch", "torchvision", "numpy", "PIL", "tifffile", "safetensors", "tqdm", "filelock"}
DECLARED |= {"tensorboard", "skimage", "scipy", "tyro", "typeguard", "tabulate", "rasterio"}


def from_hub(folder: Path, *arguments: str) -> tuple[dict[str, torch.Tensor], list[object]]:
    """Load a model in a process that finds our packages by hubconf.py alone.

    Returns:
        Its weights; and class, training mode, imported modules.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", LOAD, str(ROOT), str(folder / "model.pt"), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "model.pt"), json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("given", "weights"), [((), "GENERAL"), (("rice1",), "RICE1")])
def test_thiefcloud(tmp_path: Path, given: tuple[str, ...], weights: str) -> None:
    state, (kind, training, modules) = from_hub(tmp_path, "thiefcloud", *given)
    assert (kind, training) == ("ThiefCloud", False)
    expected = thiefcloud.load(Weights[weights]).state_dict()
    torch.testing.assert_close(state, dict(expected), rtol=0, atol=0)

    assert isinstance(modules, list)
    assert DECLARED.intersection(modules) == set(hubconf.dependencies)


def test_scpm(tmp_path: Path) -> None:
    state, (kind, training, _) = from_hub(tmp_path, "scpm")
    assert (kind, training) == (SCPM.__name__, False)
    expected = scpm.load(RELEASED_PRIOR).state_dict()
    torch.testing.assert_close(state, dict(expected), rtol=0, atol=0)


def test_only_networks_are_entry_points() -> None:
    """`torch.hub.list` names everything that can be called."""
    public = [name for name in dir(hubconf) if not name.startswith("_")]
    assert [name for name in public if callable(getattr(hubconf, name))] == ["scpm", "thiefcloud"]
    for name in ("scpm", "thiefcloud"):
        assert "Returns:" in (getattr(hubconf, name).__doc__ or "")
