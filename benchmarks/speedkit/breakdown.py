"""Time of each part of the network in restoring."""

import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speedkit.measuring import SETTINGS, precisions, synchronize
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import Restorer, noise
from scpm import DeformConv2d
from thiefcloud import ThiefCloud

DEFORMABLE, SCPM_REST = "SCPM, deformable convolutions", "SCPM, the rest"
REST, TOTAL = "the rest", "total"


def breakdown(options: SpeedOptions, device: torch.device, weights: Path) -> list[dict[str, Any]]:
    """Return a row for each precision and part: milliseconds per image and fraction of the total.

    Both settings are measured.
    """
    batch = 1 if device.type == "cpu" else 8  # enough to keep a GPU busy
    images = noise(batch, options.middle).to(device)
    rows = []
    for precision in precisions(device):
        timers = {}
        for setting in SETTINGS:
            restorer = Restorer.of(setting, precision, weights, device)
            restorer.restore(images)
            timers[setting] = PartTimer(restorer)

        for _ in range(2 if options.quick else 5):
            for timer in timers.values():
                timer.restore(images)

        found = {setting: timer.medians() for setting, timer in timers.items()}
        for part in found["default"]:
            row: dict[str, Any] = {"precision": precision, "size": options.middle, "batch": batch}
            row["part"] = part
            for setting, seconds in found.items():
                row[f"{setting}_ms"] = 1000 * seconds[part] / batch
                row[f"{setting}_fraction"] = seconds[part] / seconds[TOTAL]
            rows.append(row)
    return rows


def parts_of(model: ThiefCloud) -> dict[str, Iterable[nn.Module]]:
    """Return the modules of each part; only the deformable convolutions lie in another part."""
    levels = {"full": model.level_full, "half": model.level_half, "quarter": model.level_quarter}
    down, up = (model.down_half, model.down_quarter), (model.up_half, model.up_full)
    prior = model.prior.modules()

    parts: dict[str, Iterable[nn.Module]] = {
        DEFORMABLE: [module for module in prior if isinstance(module, DeformConv2d)],
        SCPM_REST: [model.prior],
    }
    for name, level in levels.items():
        parts[f"AFE, {name}"] = [level.enhance, level.enhance_prior]

    parts["fusion"] = [level.fusion for level in levels.values()]
    parts["PGFF"] = [level.pgff for level in levels.values()]
    parts["heads"] = [level.head for level in levels.values()]
    parts["first convolution, up and down"] = [model.shallow, *down, *up]
    return parts


class PartTimer:
    """Timer for the parts of a network while it restores.

    It waits for a GPU at both ends of each part, so the total is slower than without.

    Args:
        restorer: Network and its setting. Its modules get hooks.
    """

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self._runs: list[dict[str, float]] = []
        self._starts: dict[nn.Module, float] = {}
        self._parts = parts_of(restorer.model)
        for part, modules in self._parts.items():
            for module in modules:
                self._add_hooks(part, module)

    def _add_hooks(self, part: str, module: nn.Module) -> None:
        def start(module: nn.Module, _: object) -> None:
            self._starts[module] = self._now()

        def stop(module: nn.Module, _: object, __: object) -> None:
            self._runs[-1][part] += self._now() - self._starts[module]

        module.register_forward_pre_hook(start)
        module.register_forward_hook(stop)

    def _now(self) -> float:
        synchronize(self._restorer.device)
        return time.perf_counter()

    def restore(self, images: Tensor) -> None:
        """Restore once, and record the seconds of each part."""
        self._runs.append(dict.fromkeys(self._parts, 0.0))
        start = self._now()
        self._restorer.restore(images)
        run, total = self._runs[-1], self._now() - start

        run[SCPM_REST] -= run[DEFORMABLE]
        run[REST] = total - sum(run.values())
        run[TOTAL] = total

    def medians(self) -> dict[str, float]:
        """Return the median seconds of each part over all runs."""
        medians = {}
        for part in self._runs[0]:
            medians[part] = statistics.median([run[part] for run in self._runs])
        return medians
