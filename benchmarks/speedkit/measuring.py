"""Timing with interleaved repetitions, and a description of the machine."""

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from trainkit.training.precision import Precision

Setting = Literal["default", "naive"]
SETTINGS: tuple[Setting, ...] = ("default", "naive")
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Effort:
    """Number and length of the repetitions of a comparison."""

    seconds: float
    """Time after which no further round starts."""
    least: int
    """Minimum number of rounds."""
    most: int = 50
    """Maximum number of rounds."""
    shortest: float = 0.02
    """Minimum length of a reading in seconds; a faster call is repeated within one reading."""

    @classmethod
    def of(cls, device: torch.device, *, quick: bool) -> "Effort":
        """Return the effort for a device: on a CPU more time, because other processes disturb."""
        if quick:
            return cls(seconds=1.0, least=2, most=10)
        return cls(seconds=15.0, least=3) if device.type == "cpu" else cls(seconds=3.0, least=7)


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def interleaved(
    calls: Mapping[Name, Callable[[], object]], device: torch.device, effort: Effort
) -> dict[Name, list[float]]:
    """Return the seconds of each call, once per round.

    The calls alternate, so that a slow minute of the machine affects all of them.

    Args:
        calls: Calls to time; each is first called untimed to warm up.
        device: Device that computes them.
        effort: Number and length of the repetitions.
    """
    repeats = {name: _repeats(call, device, effort.shortest) for name, call in calls.items()}
    readings: dict[Name, list[float]] = {name: [] for name in calls}

    end = time.perf_counter() + effort.seconds
    for number in range(effort.most):
        if number >= effort.least and time.perf_counter() > end:
            break
        for name, call in calls.items():
            readings[name].append(seconds_of(call, device, repeats[name]))
    return readings


def seconds_of(call: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Return the seconds of one call, as the mean over some."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], object], device: torch.device, shortest: float) -> int:
    """Warm up, and return the number of calls that take long enough for a reading."""
    seconds = seconds_of(call, device)
    if device.type != "cpu" or seconds < shortest:
        seconds = seconds_of(call, device)  # the first call on a GPU also loads kernels
    return math.ceil(shortest / max(seconds, shortest / 1000))


def medians(readings: Mapping[Name, Sequence[float]]) -> dict[Name, float]:
    """Return the median seconds of each call."""
    return {name: statistics.median(seconds) for name, seconds in readings.items()}


def speedup(readings: Mapping[Setting, Sequence[float]]) -> float:
    """Return the ratio of "naive" to "default" times, as the median over rounds."""
    return statistics.median(map(truediv, readings["naive"], readings["default"]))


def precisions(device: torch.device) -> list[Precision]:
    """Return the precisions to measure: fp32, and bf16 if the processor supports it."""
    if device.type == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        names = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16")
        bf16 = any(map(capabilities.get, names))
    else:
        bf16 = False
    return ["fp32", "bf16"] if bf16 else ["fp32"]


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the hardware and software that the numbers belong to."""
    machine: dict[str, Any] = {
        "device": str(device),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_gb"] = round(properties.total_memory / 1e9)
        machine["cuda"] = torch.version.cuda
        machine["fp32_convolutions"] = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    return machine


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")  # on Linux, `platform` knows only the architecture
    if information.is_file():
        text = information.read_text(encoding="utf-8", errors="replace")
        model = re.search(r"^model name\s*:\s*(.*\S)", text, re.MULTILINE)
        if model:
            return model[1]
    return platform.processor() or platform.machine()
