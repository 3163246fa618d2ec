import copy
import math

import pytest
import torch
from torch import Tensor, nn

from tests.trainkit.training.small import Batches, compute_losses, loader, train, trainer
from trainkit.training.precision import Precision, has_fused_optimizer
from trainkit.training.trainer import NonFiniteLossError

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


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


def test_gradients_of_an_earlier_phase_do_not_count_towards_the_bound() -> None:
    """Otherwise a run that was resumed in the later phase would differ from an unbroken one."""
    unbroken, resumed = trainer(), trainer()
    train(unbroken, 0, 1)
    resumed.model.load_state_dict(unbroken.model.state_dict())
    for one in (unbroken, resumed):
        first, last = one.model.get_submodule("0"), one.model.get_submodule("3")
        first.requires_grad_(False)
        optimizer = torch.optim.SGD(last.parameters(), lr=0.1)
        one.begin_phase(optimizer, max_gradient=1e-3)
        train(one, 1, 1)
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


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
