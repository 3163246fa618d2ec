"""Timing by interleaved repetitions, and what the machine is."""

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from cloudkit.training import Precision

Setting = Literal["naive", "default"]
SETTINGS: tuple[Setting, ...] = ("naive", "default")
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Effort:
    """How long a comparison is repeated."""

    seconds: float
    """After these no further round begins."""
    least: int
    """Rounds at least."""
    most: int = 50
    """Rounds at most."""
    shortest: float = 0.02
    """Seconds that a reading lasts at least: what is quicker is called several times for one."""

    @classmethod
    def of(cls, device: torch.device, *, quick: bool) -> "Effort":
        """A GPU is quick and steady; a CPU has neighbours, and needs time more than rounds."""
        if quick:
            return cls(seconds=1.0, least=2, most=10)
        return cls(seconds=15.0, least=3) if device.type == "cpu" else cls(seconds=3.0, least=7)


def wait(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def interleaved(calls: Mapping[Name, Callable[[], object]], device: torch.device, effort: Effort) -> dict[Name, list[float]]:
    """Seconds of each call, once in every round.

    The calls take turns, so that a slow minute of the machine falls on all of them alike.

    Args:
        calls: what is timed; each is called before, untimed, to warm up.
        device: where they compute.
        effort: how long.
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
    """Seconds of one call, as the mean over some."""
    wait(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    wait(device)
    return (time.perf_counter() - begin) / repeats


def _repeats(call: Callable[[], object], device: torch.device, shortest: float) -> int:
    """Warm up, and find how many calls last long enough to be timed."""
    seconds = seconds_of(call, device)
    if device.type != "cpu" or seconds < shortest:  # the first call on a GPU also loads and chooses kernels
        seconds = seconds_of(call, device)
    return math.ceil(shortest / max(seconds, shortest / 1000))


def medians(readings: Mapping[Name, Sequence[float]]) -> dict[Name, float]:
    """The median of each call's seconds."""
    return {name: statistics.median(seconds) for name, seconds in readings.items()}


def speedup(readings: Mapping[Setting, Sequence[float]]) -> float:
    """How many times faster "default" is than "naive": the median over rounds, whose two readings are neighbours in time."""
    return statistics.median(naive / default for naive, default in zip(readings["naive"], readings["default"], strict=True))


def precisions(device: torch.device) -> list[Precision]:
    """The arithmetic that is measured: fp32, and bf16 on what computes in it."""
    if device.type == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
        bf16 = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return ["fp32", "bf16"] if bf16 else ["fp32"]


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers belong to."""
    about: dict[str, Any] = {
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
        about |= {"gpu": properties.name, "gpu_gb": round(properties.total_memory / 1e9), "cuda": torch.version.cuda}
        about["fp32_convolutions"] = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    return about


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")  # of Linux, where the platform module only knows the architecture
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
