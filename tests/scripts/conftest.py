import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from scpm import SCPM
from tests.helpers import TRAIN, copies_at, run_script, write_images, write_pairs
from tests.thiefcloud.network.inversions import randomised
from thiefcloud import ThiefCloud
from trainkit.training.run import Run
from trainkit.training.trainer import Trainer

SMALL = ["--preset", "quick", "--crop", 8, "--validate-every", 1, "--device", "cpu"]
SMALL += ["--epochs-inversion", 1, "--even-steps", 2, "--batch-inversion", 2]
SMALL += ["--batch-frozen", 2, "--batch-tunable", 2]
# Epochs of two steps each, since of four pairs one serves for validation. An epoch of the inversion
# comes before them. Learning rates are small, so that tuning gains.
TWO_PHASES = [
    "--epochs-frozen",
    2,
    "--epochs-tunable",
    2,
    "--lr-frozen",
    5e-5,
    "--lr-tunable",
    1e-4,
]
# Moments of such a run at which it may be killed.
KILLS = {
    "before anything was saved": (Trainer, "_step", 2),
    "between the first best.pt and last.pt": (Run, "record", 1),
    "after the inversion was saved": (Trainer, "begin_phase", 2),
    "within a frozen epoch": (Trainer, "_step", 4),
    "after the frozen phase was saved": (Trainer, "begin_phase", 3),
    "between best.pt and last.pt of the tunable phase": (Trainer, "save_last", 4),
    "within a tunable epoch": (Trainer, "_step", 10),
}
ONE_EPOCH = ["--epochs-frozen", 1, "--epochs-tunable", 0]


def centre(model: SCPM) -> None:
    """Make an untrained SCPM return thickness around 0.5, instead of below 0 everywhere."""
    torch.nn.init.constant_(model.head.bias, 0.5)  # type: ignore[arg-type]
    with torch.no_grad():
        model.head.weight.mul_(0.2)


@pytest.fixture(scope="session")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained SCPM."""
    torch.manual_seed(1)
    path, model = tmp_path_factory.mktemp("weights") / "prior.pt", SCPM()
    centre(model)
    save_checkpoint(path, "scpm", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained ThiefCloud."""
    torch.manual_seed(2)
    path, prior = tmp_path_factory.mktemp("weights") / "thiefcloud.pt", SCPM()
    model = ThiefCloud(prior)
    centre(prior)
    save_checkpoint(path, "thiefcloud", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="session")
def inverting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a ThiefCloud whose inversion, and the network behind it, change images."""
    torch.manual_seed(3)
    path, prior = tmp_path_factory.mktemp("weights") / "inverting.pt", SCPM()
    model = ThiefCloud(prior, residual=True, inversion=True)
    centre(prior)
    model.inversion = randomised()
    for weight in model.level_full.head.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    save_checkpoint(path, "thiefcloud", model.config, {"model": model.state_dict()})
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"), 4)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three larger pairs to score, which a test may change."""
    return write_pairs(tmp_path / "pairs", 3, height=19, width=26)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="session")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clear images, four to train and validate on and two to test on."""
    folder = tmp_path_factory.mktemp("chips")
    write_images(folder / "train", [f"{10 * n}.png" for n in range(4)])
    write_images(folder / "test", ["a.png", "b.png"], width=21)
    return folder


@pytest.fixture(scope="session")
def common(pairs: Path, prior: Path) -> list[object]:
    return ["--dataset", "folder", "--root", pairs, "--prior", prior, *SMALL]


@pytest.fixture(scope="session")
def unbroken(
    common: list[object], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[float], Path]:
    """The folder of a run through all phases, for each decay of averaged weights; made once.

    Beside it, killed/ holds what a kill at each moment of `KILLS` leaves.
    """
    made: dict[float, Path] = {}

    def run(ema: float) -> Path:
        if ema not in made:
            made[ema] = tmp_path_factory.mktemp("unbroken") / "run"
            with copies_at(KILLS, made[ema], made[ema].parent / "killed"):
                arguments = [*common, *TWO_PHASES, "--ema", ema, "--out", made[ema]]
                assert run_script(TRAIN, *arguments) == 0
        return made[ema]

    return run


@pytest.fixture(scope="session")
def finished(common: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one frozen epoch; made once, not to be changed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    assert run_script(TRAIN, *common, *ONE_EPOCH, "--out", run) == 0
    return run


@pytest.fixture
def one_epoch(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def history(run: Path) -> list[dict[str, float]]:
    return json.loads((run / "history.json").read_text())
