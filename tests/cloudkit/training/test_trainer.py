import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cloudkit.checkpoints import read_file
from cloudkit.errors import UserError
from cloudkit.processes import Processes
from cloudkit.training.precision import MixedPrecision, Precision, has_fused_optimizer
from cloudkit.training.trainer import NonFiniteLossError, Progress, Trainer
from tests.helpers import assert_same_state

CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def trainer(
    *, ema: float = 0.0, device: torch.device = CPU, precision: Precision = "fp32"
) -> Trainer[nn.Module]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)).to(device)
    made: Trainer[nn.Module] = Trainer(
        "scpm",
        model,
        {},
        precision=MixedPrecision(precision, device),
        ema=ema,
        processes=Processes(0, 1, device),
        options={"lr": 1.0},
    )
    made.begin_phase(adam(made))
    return made


def adam(trainer: Trainer[nn.Module], *, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.Adam(trainer.model.parameters(), lr=lr)


class Batches(Dataset[Tensor]):
    """Endless random batches, each the same for the same step."""

    def __getitem__(self, step: int) -> Tensor:
        return torch.rand(16, 4, generator=torch.Generator().manual_seed(step))


def loader(first: int, count: int) -> DataLoader[Tensor]:
    steps, random = range(first, first + count), torch.Generator()
    return DataLoader(Batches(), sampler=steps, batch_size=None, generator=random)


def compute_losses(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    batch = batch.to(next(model.parameters()).device)
    pixel = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
    return {"loss": 2 * pixel, "pixel": pixel}


def train(trainer: Trainer[nn.Module], first: int, count: int) -> dict[str, float]:
    return trainer.train_steps(
        loader(first, count), compute_losses, lambda step: 0.1 / (1 + step), first=first, title=""
    )


def test_steps_learn_count_and_report_means() -> None:
    one, apart = trainer(), trainer()
    means = train(one, 0, 6)
    each = [train(apart, step, 1) for step in range(6)]
    assert means["loss"] == pytest.approx(sum(losses["loss"] for losses in each) / 6)
    assert means["loss"] == pytest.approx(2 * means["pixel"])
    assert one.progress.step == 6
    assert one.optimizer.param_groups[0]["lr"] == 0.1 / 6
    assert train(one, 6, 30)["loss"] < 0.5 * means["loss"]


def test_steps_leave_the_global_random_state_to_the_network() -> None:
    one = trainer()
    before = torch.get_rng_state()
    train(one, 0, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_averaged_weights_follow_the_formula() -> None:
    averaged = trainer(ema=0.9)
    expected: dict[str, Tensor] = {}
    for step in range(4):
        train(averaged, step, 1)
        for name, value in averaged.model.named_parameters():
            old = expected.get(name, value.detach().clone())
            expected[name] = 0.9 * old + 0.1 * value.detach()

    for name, value in averaged.best_model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name])
        assert not torch.equal(value, averaged.model.get_parameter(name))
    for name, buffer in averaged.best_model.named_buffers():
        assert torch.equal(buffer, averaged.model.get_buffer(name))


def test_the_network_itself_is_best_without_an_average() -> None:
    plain, averaged = trainer(), trainer(ema=0.9)
    assert plain.best_model is plain.model
    assert averaged.best_model is averaged.model  # nothing is averaged yet
    train(averaged, 0, 1)
    assert averaged.best_model is not averaged.model


def test_gradients_are_scaled_down_to_their_bound() -> None:
    bounded, free = trainer(), trainer()
    for one, bound in ((bounded, 1e-3), (free, math.inf)):
        optimizer = torch.optim.SGD(one.model.parameters(), lr=0.1)
        one.begin_phase(optimizer, max_gradient=bound)
    before = copy.deepcopy(bounded.model)
    for one in (bounded, free):
        train(one, 0, 1)

    steps = []
    for one in (bounded, free):
        changes = []
        for new, old in zip(one.model.parameters(), before.parameters(), strict=True):
            changes.append((new - old).detach().flatten())
        steps.append(float(torch.cat(changes).norm()))
    assert steps[0] == pytest.approx(0.1 * 1e-3, rel=1e-2)
    assert steps[1] > 10 * steps[0]


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


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_loss_stops_at_once(bad: float) -> None:
    steps: list[int] = []

    def losses(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        steps.append(len(steps))
        return {"loss": compute_losses(model, batch)["loss"] * (bad if len(steps) == 3 else 1)}

    message = r"loss is (nan|inf) around step 3; .*--resume.*--precision fp32"
    with pytest.raises(NonFiniteLossError, match=message):
        trainer().train_steps(loader(0, 9), losses, lambda step: 0.1, first=0, title="")
    assert len(steps) == 3


@gpu
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "fp32"])
def test_every_precision_trains_on_a_gpu(precision: Precision) -> None:
    one = trainer(device=torch.device("cuda"), precision=precision)
    assert one.precision.scaler.is_enabled() == (one.precision.precision == "fp16")
    before = train(one, 0, 3)["loss"]
    assert train(one, 3, 60)["loss"] < before


@gpu
def test_a_non_finite_loss_stops_on_a_gpu() -> None:
    def losses(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": compute_losses(model, batch)["loss"] * math.nan}

    one = trainer(device=torch.device("cuda"))
    with pytest.raises(NonFiniteLossError):
        one.train_steps(loader(0, 3), losses, lambda step: 0.1, first=0, title="")


@gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_steps_do_not_wait_for_a_gpu(precision: Precision) -> None:
    device = torch.device("cuda")
    one = trainer(ema=0.9, device=device, precision=precision)
    fused = has_fused_optimizer(device)
    one.begin_phase(torch.optim.Adam(one.model.parameters(), lr=0.1, fused=fused))
    batch = Batches()[0].to(device)
    for _ in range(3):
        one._step(batch, compute_losses)
    torch.cuda.set_sync_debug_mode("error")
    try:
        one._step(batch, compute_losses)
    finally:
        torch.cuda.set_sync_debug_mode("default")
