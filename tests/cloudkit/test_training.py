import copy
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cloudkit.checkpoints import read_file
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.training import Mixed, NonFiniteLossError, Precision, Progress, Trainee, fuses
from tests.helpers import assert_same_state

CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def trainee(*, ema: float = 0.0, device: torch.device = CPU, precision: Precision = "fp32") -> Trainee[nn.Module]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)).to(device)
    made: Trainee[nn.Module] = Trainee(
        "scpm", model, {}, mixed=Mixed(precision, device), ema=ema, world=World(0, 1, device), options={"lr": 1.0}
    )
    made.begin_phase(torch.optim.Adam(model.parameters(), lr=0.1))
    return made


def batch_of(step: int) -> Tensor:
    return torch.rand(16, 4, generator=torch.Generator().manual_seed(step))


def losses_of(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    batch = batch.to(next(model.parameters()).device)
    pixel = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
    return {"loss": 2 * pixel, "pixel": pixel}


def train(trainee: Trainee[nn.Module], first: int, count: int) -> dict[str, float]:
    return trainee.train_steps(count, batch_of, losses_of, lambda step: 0.1 / (1 + step), first=first, title="")


def test_steps_learn_count_and_report_means() -> None:
    one, apart = trainee(), trainee()
    means = train(one, 0, 6)
    each = [train(apart, step, 1) for step in range(6)]
    assert means["loss"] == pytest.approx(sum(losses["loss"] for losses in each) / 6)
    assert means["loss"] == pytest.approx(2 * means["pixel"])
    assert one.progress.step == 6
    assert one.optimizer.param_groups[0]["lr"] == 0.1 / 6
    assert train(one, 6, 30)["loss"] < 0.5 * means["loss"]


def test_averaged_weights_follow_the_formula() -> None:
    averaged = trainee(ema=0.9)
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
    assert trainee().best_model is not averaged.best_model


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_equals_unbroken(tmp_path: Path, ema: float, precision: Precision) -> None:
    unbroken, broken = (trainee(ema=ema, precision=precision) for _ in range(2))
    train(unbroken, 0, 3)
    train(unbroken, 3, 3)
    train(broken, 0, 3)
    broken.progress.best, broken.progress.history = 7.0, [{"step": 3, "x": 0.5}]
    broken.save_last(tmp_path / "last.pt")

    torch.manual_seed(5)
    resumed = trainee(ema=ema, precision=precision)
    saved = resumed.resume(tmp_path / "last.pt")
    resumed.begin_phase(torch.optim.Adam(resumed.model.parameters(), lr=0.5))
    resumed.resume_optimizer(saved)
    assert resumed.progress == Progress(step=3, best=7.0, history=[{"step": 3, "x": 0.5}])
    train(resumed, 3, 3)
    resumed.progress = copy.deepcopy(unbroken.progress)
    unbroken.save_last(tmp_path / "unbroken.pt")
    resumed.save_last(tmp_path / "resumed.pt")
    assert_same_state(tmp_path / "unbroken.pt", tmp_path / "resumed.pt")


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": lambda weights, fused: torch.optim.Adam(weights, lr=0.1, fused=fused),
    "sgd": lambda weights, fused: torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=1e-6, fused=fused),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("fused", [False, True])
def test_a_state_resumes_where_the_optimizer_computes_otherwise(
    tmp_path: Path, optimizer: Callable[..., torch.optim.Optimizer], fused: bool
) -> None:
    """As after a move to a machine, or from an earlier release, where it was fused and here is not, or the other way round."""
    unbroken, broken, resumed = (trainee() for _ in range(3))
    for each in (unbroken, broken):
        each.begin_phase(optimizer(each.model.parameters(), fused))
        train(each, 0, 3)
    train(unbroken, 3, 3)
    broken.save_last(tmp_path / "last.pt")
    saved = resumed.resume(tmp_path / "last.pt")
    resumed.begin_phase(optimizer(resumed.model.parameters(), not fused))
    resumed.resume_optimizer(saved)
    assert [group["fused"] for group in resumed.optimizer.param_groups] == [not fused]
    assert [group["fused"] for group in saved["optimizer"]["param_groups"]] == [fused]  # what was read stays as it is
    train(resumed, 3, 3)
    for name, value in unbroken.model.state_dict().items():
        if name not in ("0.bias", "1.running_mean"):  # normalised away: their gradient is but rounding, which Adam scales up
            torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_optimizers_are_fused_on_the_cpu_too() -> None:
    assert fuses(CPU)
    assert not fuses(torch.device("meta"))


def test_averaged_weights_of_earlier_releases_are_taken() -> None:
    earlier = AveragedModel(trainee().model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged = trainee(ema=0.9).averaged
    assert averaged is not None
    averaged.load_state_dict(earlier.state_dict())
    for step in range(3):
        model = trainee().model
        torch.nn.init.constant_(next(model.parameters()), step)
        model[1].running_mean.fill_(step)  # type: ignore[index]
        for each in (earlier, averaged):
            each.update_parameters(model)
    assert all(torch.equal(value, earlier.state_dict()[name]) for name, value in averaged.state_dict().items())


def test_files_hold_the_weights_to_use(tmp_path: Path) -> None:
    averaged = trainee(ema=0.9)
    train(averaged, 0, 3)
    averaged.progress.best = 3.0
    averaged.save_best(tmp_path / "best.pt")
    averaged.save_last(tmp_path / "last.pt")
    for name in ("best.pt", "last.pt"):
        content = read_file(tmp_path / name)
        assert (content["score"], content["step"], content["options"]) == (3.0, 3, {"lr": 1.0})
        assert all(torch.equal(content["model"][key], value) for key, value in averaged.best_model.state_dict().items())
    with pytest.raises(UserError, match=r"best\.pt holds weights but no training to continue"):
        averaged.resume(tmp_path / "best.pt")


@pytest.mark.parametrize("missing", ["progress", "optimizer"])
def test_a_state_that_is_not_whole(tmp_path: Path, missing: str) -> None:
    one = trainee()
    one.begin_phase(torch.optim.Adam(one.model.parameters()))
    one.save_last(tmp_path / "last.pt")
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    del content["training"][missing]
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(UserError, match=rf"last\.pt lacks {missing} of the training's state"):
        one.resume(tmp_path / "last.pt")


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    other = trainee()
    other.world = World(1, 2, CPU)
    other.save_last(tmp_path / "last.pt")
    other.save_best(tmp_path / "best.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_loss_stops_at_once(bad: float) -> None:
    steps: list[int] = []

    def losses(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        steps.append(len(steps))
        return {"loss": losses_of(model, batch)["loss"] * (bad if len(steps) == 3 else 1)}

    with pytest.raises(NonFiniteLossError, match=r"loss is (nan|inf) around step 3; .*--resume.*--precision fp32"):
        trainee().train_steps(9, batch_of, losses, lambda step: 0.1, first=0, title="")
    assert len(steps) == 3


def test_precision() -> None:
    assert Mixed("auto", CPU).precision == "fp32"
    with pytest.raises(UserError, match="fp16 does not train on the CPU; choose --precision fp32 or bf16"):
        Mixed("fp16", CPU)
    product = {}
    for precision in ("fp32", "bf16"):
        with Mixed(precision, CPU).autocast():
            product[precision] = torch.ones(2, 2) @ torch.ones(2, 2)
    assert [value.dtype for value in product.values()] == [torch.float32, torch.bfloat16]


@gpu
@pytest.mark.parametrize("precision", ["auto", "bf16", "fp16", "fp32"])
def test_every_precision_trains_on_a_gpu(precision: Precision) -> None:
    device = torch.device("cuda")
    one = trainee(device=device, precision=precision)
    assert one.mixed.scaler.is_enabled() == (one.mixed.precision == "fp16")
    before = train(one, 0, 3)["loss"]
    assert train(one, 3, 60)["loss"] < before


@gpu
def test_a_non_finite_loss_stops_on_a_gpu() -> None:
    with pytest.raises(NonFiniteLossError):
        trainee(device=torch.device("cuda")).train_steps(
            3,
            batch_of,
            lambda model, batch: {"loss": losses_of(model, batch)["loss"] * math.nan},
            lambda _: 0.1,
            first=0,
            title="",
        )


@gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_steps_do_not_wait_for_a_gpu(precision: Precision) -> None:
    device = torch.device("cuda")
    one = trainee(ema=0.9, device=device, precision=precision)
    one.begin_phase(torch.optim.Adam(one.model.parameters(), lr=0.1, fused=fuses(device)))
    batch = batch_of(0).to(device)
    for _ in range(3):
        one._step(losses_of, batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        one._step(losses_of, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
