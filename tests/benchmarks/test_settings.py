"""The two settings, and what is measured of them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision

from benchmarks.speedkit import inference, measuring, settings, training
from benchmarks.speedkit.memory import held_at_most, peak
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import Case, Restorer, TorchvisionDeformConv2d, network, noise, useful_flops
from benchmarks.speedkit.shares import DEFORMABLE, WHOLE, Stopwatch, parts_of
from scpm import SCPM, DeformConv2d
from thiefcloud import ThiefCloud

CPU = torch.device("cpu")


def test_the_parts_of_a_run_add_up_to_the_whole(weights: Path) -> None:
    watch = Stopwatch(Restorer.of("default", "fp32", weights, CPU))
    watch.restore(noise(1, 16))
    parts = watch.medians()
    whole = parts.pop(WHOLE)
    assert sum(parts.values()) == pytest.approx(whole)


def test_every_weight_belongs_to_one_part() -> None:
    model = ThiefCloud(SCPM())
    parts = {part: list(modules) for part, modules in parts_of(model).items() if part != DEFORMABLE}
    found = [weight for modules in parts.values() for module in modules for weight in module.parameters()]
    assert len(found) == len(set(found)) == len(list(model.parameters()))


def test_the_naive_setting_is_naive(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(features: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        calls.append(tuple(features.shape))
        return torchvision.ops.deform_conv2d(features, *arguments, **named)

    monkeypatch.setattr(settings, "deform_conv2d", counted)
    naive, default = (Restorer.of(setting, "fp32", weights, CPU) for setting in measuring.SETTINGS)
    assert not any(type(module) is DeformConv2d for module in naive.model.modules())
    assert not any(isinstance(module, TorchvisionDeformConv2d) for module in default.model.modules())
    heads: list[object] = []
    for level in (naive.model.level_half, naive.model.level_quarter):
        level.head.register_forward_hook(lambda *_: heads.append(1))
    images = 0.2 + 0.6 * torch.rand(2, 3, 16, 24)
    restored = naive.restore(images)
    assert len(calls) == 4
    assert len(heads) == 2
    torch.testing.assert_close(restored, default.restore(images), atol=1e-4, rtol=0)
    assert len(calls) == 4
    assert restored.min() == 0  # clamped, as users get it
    torch.testing.assert_close(naive.restore(images, raw=True), default.restore(images, raw=True), atol=1e-4, rtol=0)
    assert default.restore(images, raw=True).min() < 0
    before = network("default", weights).state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in naive.model.state_dict().items())


@pytest.mark.parametrize("task", ["frozen", "tunable"])
@pytest.mark.parametrize("setting", measuring.SETTINGS)
def test_training_steps_change_what_they_should(
    setting: measuring.Setting, task: settings.Task, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ThiefCloud] = []

    def noted(*given: Any) -> ThiefCloud:
        made.append(network(*given))
        return made[-1]

    monkeypatch.setattr(settings, "network", noted)
    Case(setting, task, "fp32", 8, 2, "cpu", weights).call()()
    (model,) = made
    before = network(setting, weights).state_dict()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert "shallow.weight" in changed
    assert ("prior.encoder_full.0.weight" in changed) == (task == "tunable")


def test_useful_work_is_that_of_the_restored_image_alone(weights: Path) -> None:
    """18.20 billion multiplications and additions at 256x256, counted by hand from the widths."""
    assert useful_flops(network("default", weights), 256) == pytest.approx(2 * 18.20e9, rel=1e-3)
    assert useful_flops(network("default", weights), 512) == pytest.approx(8 * 18.20e9, rel=1e-3)


def test_the_batch_that_fills_a_device_is_the_last_that_gains(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([s for s in (1.0, 1.2, 1.5, 2.99) for _ in range(3)])  # of batches of 1, 2, 4 and 8
    monkeypatch.setattr(inference, "seconds_of", lambda *_: next(seconds))
    assert inference.filling_batch(Case("default", "restore", "fp32", 8, 1, "cpu", weights)) == 4

    def full(*_: object) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(inference, "seconds_of", full)
    assert inference.filling_batch(Case("default", "restore", "fp32", 8, 1, "cpu", weights)) == 1


def test_each_image_of_a_batch_counts(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("default", "restore", "fp32", 16, 2, "cpu", weights)
    row = inference.compare(case, SpeedOptions(memory=False), None)
    gflop = useful_flops(network("default", weights), 16) / 1e9
    assert row["naive_gflops"] == pytest.approx(gflop * row["naive_images_per_s"])
    clock = iter(range(100))  # read once before the first step, then once before each

    def half_a_second(_: Case) -> Callable[[int], None]:
        return lambda steps: None

    monkeypatch.setattr(training, "trainer", half_a_second)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 2))
    assert training.sustained(case, 5) == pytest.approx(2 * 9 / 5)  # nine steps of two images, and a reading at the start


def test_memory_is_that_of_a_process_of_its_own(weights: Path) -> None:
    ballast = torch.ones(200 * 2**20)  # which a copy of this process would hold too
    held = held_at_most(CPU)
    del ballast
    found = peak(Case("naive", "frozen", "fp32", 16, 1, "cpu", weights))
    assert found is not None
    assert found.seconds > 0
    if held is not None:
        assert found.memory is not None
        assert found.before is not None
        assert 50 < found.before < found.memory < held - 400


def test_too_little_memory_is_no_end(weights: Path) -> None:
    assert peak(Case("default", "restore", "fp32", 2**22, 1, "cpu", weights)) is None
