"""State of a training: saved, and resumed from."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import read_file
from cloudkit.errors import UserError
from cloudkit.processes import Processes
from tests.helpers import assert_same_state
from tests.trainkit.training.small import CPU, adam, train, trainer
from trainkit.training.precision import Precision
from trainkit.training.trainer import Progress


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_equals_unbroken(tmp_path: Path, ema: float, precision: Precision) -> None:
    unbroken, broken = (trainer(ema=ema, precision=precision) for _ in range(2))
    train(unbroken, 0, 3)
    train(unbroken, 3, 3)
    train(broken, 0, 3)
    broken.progress.best, broken.progress.history = 7.0, [{"step": 3, "x": 0.5}]
    broken.save_last(tmp_path / "last.pt")

    torch.manual_seed(5)
    resumed = trainer(ema=ema, precision=precision)
    resumed.restore(tmp_path / "last.pt")
    resumed.begin_phase(adam(resumed, lr=0.5))
    assert resumed.progress == Progress(step=3, best=7.0, history=[{"step": 3, "x": 0.5}])

    train(resumed, 3, 3)
    resumed.progress = copy.deepcopy(unbroken.progress)
    unbroken.save_last(tmp_path / "unbroken.pt")
    resumed.save_last(tmp_path / "resumed.pt")
    assert_same_state(tmp_path / "unbroken.pt", tmp_path / "resumed.pt")


def test_only_the_phase_that_was_saved_takes_its_optimizer(tmp_path: Path) -> None:
    saved = trainer()
    saved.progress.phase = 1
    train(saved, 0, 3)
    saved.save_last(tmp_path / "last.pt")

    next_phase = trainer()
    next_phase.restore(tmp_path / "last.pt")
    next_phase.progress.phase = 2
    next_phase.begin_phase(adam(next_phase))
    assert next_phase.optimizer.state_dict()["state"] == {}

    same_phase = trainer()
    same_phase.restore(tmp_path / "last.pt")
    same_phase.begin_phase(adam(same_phase))
    assert same_phase.optimizer.state_dict()["state"][0]["step"] == 3
    same_phase.begin_phase(adam(same_phase))  # the state is taken once
    assert same_phase.optimizer.state_dict()["state"] == {}


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": lambda weights, fused: torch.optim.Adam(weights, lr=0.1, fused=fused),
    "sgd": lambda weights, fused: torch.optim.SGD(
        weights, lr=0.1, momentum=0.9, weight_decay=1e-6, fused=fused
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("fused", [False, True])
def test_a_state_resumes_on_a_machine_with_another_kind_of_optimizer(
    tmp_path: Path, optimizer: Callable[..., torch.optim.Optimizer], fused: bool
) -> None:
    """The optimizer was fused there and is not here, or the other way round."""
    unbroken, broken, resumed = (trainer() for _ in range(3))
    for each in (unbroken, broken):
        each.begin_phase(optimizer(each.model.parameters(), fused))
        train(each, 0, 3)
    train(unbroken, 3, 3)
    broken.save_last(tmp_path / "last.pt")
    saved = read_file(tmp_path / "last.pt")["training"]["optimizer"]
    assert [group["fused"] for group in saved["param_groups"]] == [fused]

    resumed.restore(tmp_path / "last.pt")
    resumed.begin_phase(optimizer(resumed.model.parameters(), not fused))
    assert [group["fused"] for group in resumed.optimizer.param_groups] == [not fused]
    train(resumed, 3, 3)

    # Normalised away: their gradient is but rounding, which Adam scales up.
    without_effect = ("0.bias", "1.running_mean")
    found = resumed.model.state_dict()
    for name, value in unbroken.model.state_dict().items():
        if name not in without_effect:
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_files_hold_the_weights_to_use(tmp_path: Path) -> None:
    averaged = trainer(ema=0.9)
    train(averaged, 0, 3)
    averaged.progress.best = 3.0
    averaged.save_best(tmp_path / "best.pt")
    averaged.save_last(tmp_path / "last.pt")
    for name in ("best.pt", "last.pt"):
        content = read_file(tmp_path / name)
        assert (content["score"], content["step"], content["options"]) == (3.0, 3, {"lr": 1.0})
        for key, value in averaged.best_model.state_dict().items():
            assert torch.equal(content["model"][key], value)

    with pytest.raises(UserError, match=r"best\.pt holds weights but no training to continue"):
        averaged.restore(tmp_path / "best.pt")


@pytest.mark.parametrize("missing", ["progress", "optimizer"])
def test_an_incomplete_state(tmp_path: Path, missing: str) -> None:
    one = trainer()
    one.save_last(tmp_path / "last.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    del content["training"][missing]
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(UserError, match=rf"last\.pt lacks {missing} of the training's state"):
        one.restore(tmp_path / "last.pt")


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    other = trainer()
    other.processes = Processes(1, 2, CPU)
    other.save_last(tmp_path / "last.pt")
    other.save_best(tmp_path / "best.pt")
    assert not list(tmp_path.iterdir())
