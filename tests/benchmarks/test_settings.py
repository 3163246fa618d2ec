"""The two settings, and the measurements of them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision

from benchmarks.speedkit import inference, measuring, settings, training
from benchmarks.speedkit.breakdown import DEFORMABLE, TOTAL, PartTimer, parts_of
from benchmarks.speedkit.memory import measure_peak, peak_memory
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import (
    Case,
    Restorer,
    TorchvisionDeformConv2d,
    count_flops,
    load_network,
    noise,
)
from scpm import SCPM, DeformConv2d
from thiefcloud import ThiefCloud

CPU = torch.device("cpu")


def test_the_parts_of_a_run_add_up_to_the_total(weights: Path) -> None:
    timer = PartTimer(Restorer.of("default", "fp32", weights, CPU))
    timer.restore(noise(1, 16))
    parts = timer.medians()
    total = parts.pop(TOTAL)
    assert sum(parts.values()) == pytest.approx(total)


def test_every_weight_belongs_to_one_part() -> None:
    model = ThiefCloud(SCPM())
    parts = {part: list(modules) for part, modules in parts_of(model).items() if part != DEFORMABLE}
    found = [
        weight for modules in parts.values() for module in modules for weight in module.parameters()
    ]
    assert len(found) == len(set(found)) == len(list(model.parameters()))


def test_the_naive_setting_is_naive(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(features: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        calls.append(tuple(features.shape))
        return torchvision.ops.deform_conv2d(features, *arguments, **named)

    monkeypatch.setattr(settings, "deform_conv2d", counted)
    default, naive = (Restorer.of(setting, "fp32", weights, CPU) for setting in measuring.SETTINGS)
    assert not any(type(module) is DeformConv2d for module in naive.model.modules())
    assert not any(
        isinstance(module, TorchvisionDeformConv2d) for module in default.model.modules()
    )
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
    torch.testing.assert_close(
        naive.restore(images, raw=True), default.restore(images, raw=True), atol=1e-4, rtol=0
    )
    assert default.restore(images, raw=True).min() < 0
    before = load_network("default", weights).state_dict()
    assert all(
        torch.equal(weight, before[name]) for name, weight in naive.model.state_dict().items()
    )


@pytest.mark.parametrize("task", ["frozen", "tunable"])
@pytest.mark.parametrize("setting", measuring.SETTINGS)
def test_training_steps_change_what_they_should(
    setting: measuring.Setting, task: settings.Task, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ThiefCloud] = []

    def noted(*given: Any) -> ThiefCloud:
        made.append(load_network(*given))
        return made[-1]

    monkeypatch.setattr(settings, "load_network", noted)
    Case(setting, task, "fp32", 8, 2, "cpu", weights).call()()
    (model,) = made
    before = load_network(setting, weights).state_dict()
    changed = {
        name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])
    }
    assert "shallow.weight" in changed
    assert ("prior.encoder_full.0.weight" in changed) == (task == "tunable")


def test_useful_work_is_that_of_the_restored_image_alone(weights: Path) -> None:
    """18.20 billion multiplications and additions at 256x256, counted by hand from the widths."""
    assert count_flops(load_network("default", weights), 256) == pytest.approx(
        2 * 18.20e9, rel=1e-3
    )
    assert count_flops(load_network("default", weights), 512) == pytest.approx(
        8 * 18.20e9, rel=1e-3
    )


def test_the_batch_that_fills_a_device_is_the_last_that_gains(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(
        [s for s in (1.0, 1.2, 1.5, 2.99) for _ in range(3)]
    )  # of batches of 1, 2, 4 and 8
    monkeypatch.setattr(inference, "seconds_of", lambda *_: next(seconds))
    assert inference.filling_batch(Case("default", "restore", "fp32", 8, 1, "cpu", weights)) == 4

    def full(*_: object) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(inference, "seconds_of", full)
    assert inference.filling_batch(Case("default", "restore", "fp32", 8, 1, "cpu", weights)) == 1


def test_each_image_of_a_batch_counts(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("default", "restore", "fp32", 16, 2, "cpu", weights)
    row = inference.compare(case, SpeedOptions(memory=False), None)
    gflop = count_flops(load_network("default", weights), 16) / 1e9
    assert row["naive_gflops"] == pytest.approx(gflop * row["naive_images_per_s"])
    clock = iter(range(100))  # read at the start and after each step

    def half_a_second(_: Case) -> Callable[[int], None]:
        return lambda steps: None

    monkeypatch.setattr(training, "training_function", half_a_second)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: next(clock) / 2))
    rate = training.sustained_rate(case, 5)
    assert rate == pytest.approx(2 * 10 / 5)  # ten steps of two images


def test_memory_is_that_of_a_process_of_its_own(weights: Path) -> None:
    ballast = torch.ones(200 * 2**20)  # which a copy of this process would hold too
    own_peak = peak_memory(CPU)
    del ballast
    found = measure_peak(Case("naive", "frozen", "fp32", 16, 1, "cpu", weights))
    assert found is not None
    assert found.seconds > 0
    if own_peak is not None:
        assert found.memory is not None
        assert found.before is not None
        assert 50 < found.before < found.memory < own_peak - 400


def test_too_little_memory_is_no_end(weights: Path) -> None:
    assert measure_peak(Case("default", "restore", "fp32", 2**22, 1, "cpu", weights)) is None
