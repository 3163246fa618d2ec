"""Where the time goes: the share of each part of the network in restoring."""

import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speedkit.measuring import SETTINGS, precisions, wait
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import Restorer, noise
from scpm import DeformConv2d
from thiefcloud import ThiefCloud

DEFORMABLE, SCPM_REST, REST, WHOLE = "SCPM, deformable convolutions", "SCPM, the rest", "the rest", "whole"


def shares(options: SpeedOptions, device: torch.device, weights: Path) -> list[dict[str, Any]]:
    """A row for each precision and part: milliseconds an image in both settings, and the share of the whole."""
    batch = 1 if device.type == "cpu" else 8  # so large that a GPU computes rather than waits for the next order
    images = noise(batch, options.middle).to(device)
    rows = []
    for precision in precisions(device):
        watches = {}
        for setting in SETTINGS:
            restorer = Restorer.of(setting, precision, weights, device)
            restorer.restore(images)
            watches[setting] = Stopwatch(restorer)
        for _ in range(2 if options.quick else 5):
            for watch in watches.values():
                watch.restore(images)
        found = {setting: watch.medians() for setting, watch in watches.items()}
        for part in found["default"]:
            row: dict[str, Any] = {"precision": precision, "size": options.middle, "batch": batch, "part": part}
            for setting in reversed(SETTINGS):
                row[f"{setting}_ms"] = 1000 * found[setting][part] / batch
                row[f"{setting}_share"] = found[setting][part] / found[setting][WHOLE]
            rows.append(row)
    return rows


def parts_of(model: ThiefCloud) -> dict[str, Iterable[nn.Module]]:
    """The modules of each part; none lies in another, but for the deformable convolutions in SCPM."""
    levels = {"full": model.level_full, "half": model.level_half, "quarter": model.level_quarter}
    return {
        DEFORMABLE: [module for module in model.prior.modules() if isinstance(module, DeformConv2d)],
        SCPM_REST: [model.prior],
        **{f"AFE, {name}": [level.enhance, level.enhance_prior] for name, level in levels.items()},
        "fusion": [level.fusion for level in levels.values()],
        "PGFF": [level.pgff for level in levels.values()],
        "heads": [level.head for level in levels.values()],
        "first convolution, up and down": [model.shallow, model.down_half, model.down_quarter, model.up_half, model.up_full],
    }


class Stopwatch:
    """Times the parts of a network while it restores.

    A GPU is waited for at both ends of each part, so the whole is slower than without.

    Args:
        restorer: the network and how it restores; its modules get hooks.
    """

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer
        self._runs: list[dict[str, float]] = []
        self._began: dict[nn.Module, float] = {}
        self._parts = parts_of(restorer.model)
        for part, modules in self._parts.items():
            for module in modules:
                self._watch(part, module)

    def _watch(self, part: str, module: nn.Module) -> None:
        def begin(module: nn.Module, _: object) -> None:
            self._began[module] = self._now()

        def end(module: nn.Module, _: object, __: object) -> None:
            self._runs[-1][part] += self._now() - self._began[module]

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)

    def _now(self) -> float:
        wait(self._restorer.device)
        return time.perf_counter()

    def restore(self, images: Tensor) -> None:
        """Restore once, and note the seconds of each part."""
        self._runs.append(dict.fromkeys(self._parts, 0.0))
        begin = self._now()
        self._restorer.restore(images)
        run, whole = self._runs[-1], self._now() - begin
        run[REST] = whole - sum(seconds for part, seconds in run.items() if part != DEFORMABLE)
        run[SCPM_REST] -= run[DEFORMABLE]
        run[WHOLE] = whole

    def medians(self) -> dict[str, float]:
        """Median seconds of each part over all runs."""
        return {part: statistics.median(run[part] for run in self._runs) for part in self._runs[0]}
