"""Training steps of the two settings, and the time that the paper's schedule would take."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.speedkit.inference import measure_peaks
from benchmarks.speedkit.measuring import SETTINGS, Effort, interleaved, medians, speedup
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import PAPER, Case, Task, training_function
from cloudkit.progress import progress_bar
from trainkit.training.precision import MixedPrecision

RICE1_PAIRS = 400  # of its usual training part
# Batch and epochs of the paper for each phase: SCPM frozen, then tunable.
PHASES: dict[Task, tuple[int, int]] = {
    "frozen": (PAPER.batch_frozen, PAPER.epochs_frozen),
    "tunable": (PAPER.batch_tunable, PAPER.epochs_tunable),
}


def training(options: SpeedOptions, device: torch.device, weights: Path) -> list[dict[str, Any]]:
    """Return a row for each phase, with both settings, and one for both phases together.

    The times include cutting the batches from images.
    """
    crop = options.crop or (64 if options.quick else PAPER.crop)
    precision = MixedPrecision("auto", device).precision
    seconds = options.seconds
    if seconds is None:
        on_gpu = 5.0 if options.quick else 60.0
        seconds = 0.0 if device.type == "cpu" else on_gpu

    rows = []
    for task, (batch, epochs) in progress_bar(
        PHASES.items(), desc="training", unit="phase", leave=False
    ):
        batch = 1 if device.type == "cpu" else batch
        case = Case("default", task, precision, crop, batch, str(device), weights)
        row = compare(case, options)
        if options.memory:
            row |= measure_peaks(case)
        if seconds > 0:
            rate = sustained_rate(case, seconds)
            row["sustained_images_per_s"] = rate
            row["schedule_hours"] = RICE1_PAIRS * epochs / rate / 3600
        rows.append(row)

    if seconds > 0:
        rows.append({"scpm": "both", "schedule_hours": sum(row["schedule_hours"] for row in rows)})
    return rows


def compare(case: Case, options: SpeedOptions) -> dict[str, Any]:
    """Return the speed of both settings, which alternate on the same batches."""
    device = torch.device(case.device)
    steps = 1 if device.type == "cpu" else 10
    calls = {}
    for setting in SETTINGS:
        calls[setting] = partial(training_function(replace(case, setting=setting)), steps)
    readings = interleaved(calls, device, Effort.of(device, quick=options.quick))

    row: dict[str, Any] = {"scpm": case.task, "precision": case.precision, "crop": case.size}
    row |= {"batch": case.batch, "speedup": speedup(readings)}
    for setting, seconds in medians(readings).items():
        row[f"{setting}_images_per_s"] = steps * case.batch / seconds
    return row


def sustained_rate(case: Case, seconds: float) -> float:
    """Return the images per second in training for some time, after a few steps to warm up."""
    train = training_function(case)
    steps = 1 if torch.device(case.device).type == "cpu" else 20
    train(steps)  # each call ends by reading the loss, which waits for the device

    images, elapsed = 0, 0.0
    start = time.perf_counter()
    while elapsed < seconds:
        train(steps)
        images += steps * case.batch
        elapsed = time.perf_counter() - start
    return images / elapsed
