"""Training steps of the two settings, and how long the paper's schedule would take."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.speedkit.inference import peaks
from benchmarks.speedkit.measuring import SETTINGS, Effort, interleaved, medians, speedup
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import PAPER, Case, Task, trainer
from cloudkit.training import Mixed

RICE1_PAIRS = 400  # of its usual training part
# SCPM frozen, then tunable: the paper's batch and epochs
PHASES: dict[Task, tuple[int, int]] = {
    "frozen": (PAPER.batch_frozen, PAPER.epochs_frozen),
    "tunable": (PAPER.batch_tunable, PAPER.epochs_tunable),
}


def training(options: SpeedOptions, device: torch.device, weights: Path) -> list[dict[str, Any]]:
    """A row for each phase, with both settings, and one for both phases; cutting batches from images is part of the time."""
    crop = options.crop or (64 if options.quick else PAPER.crop)
    precision = Mixed("auto", device).precision
    seconds = options.seconds
    if seconds is None:
        seconds = 0.0 if device.type == "cpu" else 5.0 if options.quick else 60.0
    rows = []
    for task, (batch, epochs) in tqdm(PHASES.items(), desc="training", unit="phase", leave=False):
        case = Case("default", task, precision, crop, 1 if device.type == "cpu" else batch, str(device), weights)
        row = compare(case, options) | (peaks(case) if options.memory else {})
        if seconds > 0:
            rate = sustained(case, seconds)
            row |= {"sustained_images_per_s": rate, "schedule_hours": RICE1_PAIRS * epochs / rate / 3600}
        rows.append(row)
    if seconds > 0:
        rows.append({"scpm": "both", "schedule_hours": sum(row["schedule_hours"] for row in rows)})
    return rows


def compare(case: Case, options: SpeedOptions) -> dict[str, Any]:
    """Both settings in turns on the same batches."""
    device, steps = torch.device(case.device), 1 if torch.device(case.device).type == "cpu" else 10
    calls = {setting: partial(trainer(replace(case, setting=setting)), steps) for setting in SETTINGS}
    readings = interleaved(calls, device, Effort.of(device, quick=options.quick))
    rates = {setting: steps * case.batch / seconds for setting, seconds in medians(readings).items()}
    return {
        "scpm": case.task,
        "precision": case.precision,
        "crop": case.size,
        "batch": case.batch,
        "speedup": speedup(readings),
        "default_images_per_s": rates["default"],
        "naive_images_per_s": rates["naive"],
    }


def sustained(case: Case, seconds: float) -> float:
    """Images a second over that long a training, after a few steps to warm up."""
    train = trainer(case)
    count, steps = 0, 1 if torch.device(case.device).type == "cpu" else 20
    train(steps)  # each call ends by reading the loss, so nothing is left to wait for
    begin = time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        train(steps)
        count += steps * case.batch
    return count / passed
