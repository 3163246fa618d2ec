"""Restoring: speed, memory and outputs of the two settings."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.speedkit.measuring import (
    SETTINGS,
    Effort,
    interleaved,
    medians,
    precisions,
    seconds_of,
    speedup,
)
from benchmarks.speedkit.memory import is_out_of_memory, measure_peak
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import Case, Restorer, count_flops, load_network, noise
from cloudkit.progress import progress_bar

MAX_BATCH = 256
MIN_GAIN = 1.05  # a batch fills the GPU if twice the batch is not faster by this factor per image


def inference(
    options: SpeedOptions, device: torch.device, weights: Path, ceilings: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return a row for each precision, size and batch, with both settings.

    Args:
        options: Options of the run.
        device: Device to measure.
        weights: Checkpoint of ThiefCloud.
        ceilings: GFLOP/s of the best convolution of each precision; empty if not measured.
    """
    rows = []

    cases = [(precision, size) for precision in precisions(device) for size in options.sides]
    for precision, size in progress_bar(cases, desc="restoring", unit="size", leave=False):
        case = Case("default", "restore", precision, size, 1, str(device), weights)
        rows.append(compare(case, options, ceilings.get(precision)))
        filling = filling_batch(case) if device.type == "cuda" else 1
        if filling > 1:
            rows.append(compare(replace(case, batch=filling), options, ceilings.get(precision)))
    return rows


def compare(case: Case, options: SpeedOptions, ceiling: float | None) -> dict[str, Any]:
    """Compare both settings on the same images; with too little memory, only name the case."""
    row: dict[str, Any] = {"precision": case.precision, "size": case.size, "batch": case.batch}
    try:
        row |= _speed_and_outputs(case, options, ceiling)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return row
    return row | (measure_peaks(case) if options.memory else {})


def _speed_and_outputs(case: Case, options: SpeedOptions, ceiling: float | None) -> dict[str, Any]:
    device = torch.device(case.device)
    images = noise(case.batch, case.size).to(device)
    restorers, calls = {}, {}
    for setting in SETTINGS:
        restorers[setting] = Restorer.of(setting, case.precision, case.weights, device)
        calls[setting] = partial(restorers[setting].restore, images)

    readings = interleaved(calls, device, Effort.of(device, quick=options.quick))
    row: dict[str, Any] = {"speedup": speedup(readings)}
    gflop = case.batch * count_flops(load_network("default", case.weights), case.size) / 1e9
    for setting, seconds in medians(readings).items():
        row[f"{setting}_images_per_s"] = case.batch / seconds
        row[f"{setting}_gflops"] = gflop / seconds
        row[f"{setting}_fraction_of_ceiling"] = gflop / seconds / ceiling if ceiling else None

    default = restorers["default"].restore(images, raw=True)
    naive = restorers["naive"].restore(images, raw=True)
    row["max_difference"], row["psnr_db"] = difference(naive, default)
    if case.precision != "fp32":
        exact = replace(restorers["naive"], precision="fp32").restore(images, raw=True)
        row["psnr_to_fp32_db"] = difference(exact, default)[1]
    return row


def measure_peaks(case: Case) -> dict[str, float | None]:
    """Return the peak memory of both settings in MB, and that before they ran."""
    row: dict[str, float | None] = {}
    for setting in SETTINGS:
        peak = measure_peak(replace(case, setting=setting))
        row[f"{setting}_peak_mb"] = peak.memory if peak else None
        row[f"{setting}_before_mb"] = peak.before if peak else None
    return row


def difference(one: Tensor, other: Tensor) -> tuple[float, float | None]:
    """Return the largest difference of two images and the PSNR between them.

    The PSNR is in dB for a peak of 1, and None for equal images.
    """
    errors = (one.double() - other.double()).abs()
    mse = float(errors.square().mean())
    return float(errors.max()), -10 * math.log10(mse) if mse > 0 else None


def filling_batch(case: Case) -> int:
    """Return the largest batch that fits and still makes the default setting faster per image."""
    device, best, filling = torch.device(case.device), 0.0, 1
    restorer = Restorer.of("default", case.precision, case.weights, device)
    batch = 1

    while batch <= MAX_BATCH:
        try:
            images = noise(1, case.size).to(device).repeat(batch, 1, 1, 1)
            call = partial(restorer.restore, images)
            call()
            rate = batch / min(seconds_of(call, device) for _ in range(3))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break

        if rate < MIN_GAIN * best:
            break
        best, filling, batch = rate, batch, 2 * batch
    return filling


def large(options: SpeedOptions, weights: Path) -> list[dict[str, Any]]:
    """Return memory and time for one large image on the CPU, each setting in its own process."""
    size = 256 if options.quick else 2048
    rows = []
    for setting in progress_bar(SETTINGS, desc=f"{size}x{size}", leave=False):
        row: dict[str, Any] = {"setting": setting, "size": size}

        peak = measure_peak(Case(setting, "restore", "fp32", size, 1, "cpu", weights))
        row["peak_mb"] = peak.memory if peak else None
        row["before_mb"] = peak.before if peak else None
        row["seconds"] = peak.seconds if peak else None
        rows.append(row)
    return rows
