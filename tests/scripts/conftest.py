from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from thiefcloud import ThiefCloud


def centre(model: SCPM) -> None:
    """Let an untrained SCPM see thickness around 0.5, not below 0 everywhere."""
    torch.nn.init.constant_(model.head.bias, 0.5)  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.weight.mul_(0.2)


@pytest.fixture(scope="session")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an SCPM that never learnt anything."""
    torch.manual_seed(1)
    path, model = tmp_path_factory.mktemp("weights") / "prior.pt", SCPM()
    centre(model)
    save_checkpoint(path, "scpm", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a ThiefCloud that never learnt anything."""
    torch.manual_seed(2)
    path, model = tmp_path_factory.mktemp("weights") / "thiefcloud.pt", ThiefCloud(SCPM())
    centre(model.prior)
    save_checkpoint(path, "thiefcloud", model.config, {"model": model.state_dict()})
    return path
