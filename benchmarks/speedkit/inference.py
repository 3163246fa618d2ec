"""Restoring: speed, memory and equality of the two settings."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.speedkit.measuring import SETTINGS, Effort, interleaved, medians, precisions, seconds_of, speedup
from benchmarks.speedkit.memory import is_out_of_memory, peak
from benchmarks.speedkit.options import SpeedOptions
from benchmarks.speedkit.settings import Case, Restorer, network, noise, useful_flops

LARGE = 2048
_MOST, _GAIN = 256, 1.05  # images; a batch fills the GPU when twice as large a one is not that many times faster


def inference(
    options: SpeedOptions, device: torch.device, weights: Path, conv_gflops: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row for each precision, size and batch, with both settings.

    Args:
        options: of the run.
        device: where.
        weights: a checkpoint of ours.
        conv_gflops: the convolution ceiling of each precision; empty if it was not measured.
    """
    rows = []
    cases = [(precision, size) for precision in precisions(device) for size in options.sides]
    for precision, size in tqdm(cases, desc="restoring", unit="size", leave=False):
        case = Case("default", "restore", precision, size, 1, str(device), weights)
        batches = [1]
        if device.type == "cuda" and (filling := filling_batch(case)) > 1:
            batches.append(filling)
        rows += [compare(replace(case, batch=batch), options, conv_gflops.get(precision)) for batch in batches]
    return rows


def compare(case: Case, options: SpeedOptions, ceiling: float | None) -> dict[str, Any]:
    """Both settings in turns on the same images."""
    device = torch.device(case.device)
    images = noise(case.batch, case.size).to(device)
    restorers = {setting: Restorer.of(setting, case.precision, case.weights, device) for setting in SETTINGS}
    calls = {setting: partial(restorer.restore, images) for setting, restorer in restorers.items()}
    row: dict[str, Any] = {"precision": case.precision, "size": case.size, "batch": case.batch}
    try:
        readings = interleaved(calls, device, Effort.of(device, quick=options.quick))
        outputs = {setting: restorer.restore(images, raw=True) for setting, restorer in restorers.items()}
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return row
    seconds = medians(readings)
    gflop = case.batch * useful_flops(network("default", case.weights), case.size) / 1e9
    row["speedup"] = speedup(readings)
    for setting in reversed(SETTINGS):
        row[f"{setting}_images_per_s"] = case.batch / seconds[setting]
        row[f"{setting}_gflops"] = gflop / seconds[setting]
        row[f"{setting}_share_of_ceiling"] = gflop / seconds[setting] / ceiling if ceiling else None
    row["max_difference"], row["psnr_db"] = difference(outputs["naive"], outputs["default"])
    if case.precision != "fp32":
        exact = replace(restorers["naive"], precision="fp32").restore(images, raw=True)
        row["psnr_to_fp32_db"] = difference(exact, outputs["default"])[1]
    del restorers, calls, images, outputs  # before the peak is looked for
    return row | (peaks(case) if options.memory else {})


def peaks(case: Case) -> dict[str, float | None]:
    """Peak memory of both settings in MB, and what was held before they ran."""
    row: dict[str, float | None] = {}
    for setting in reversed(SETTINGS):
        found = peak(replace(case, setting=setting))
        row[f"{setting}_peak_mb"] = found.memory if found else None
        row[f"{setting}_before_mb"] = found.before if found else None
    return row


def difference(one: Tensor, other: Tensor) -> tuple[float, float | None]:
    """Largest difference of two images, and the PSNR between them in dB for a peak of 1; None where they are equal."""
    apart = (one.double() - other.double()).abs()
    error = float(apart.square().mean())
    return float(apart.max()), -10 * math.log10(error) if error > 0 else None


def filling_batch(case: Case) -> int:
    """The batch from which on the default setting restores no more images a second, or memory is at an end."""
    device, best, filling = torch.device(case.device), 0.0, 1
    restorer = Restorer.of("default", case.precision, case.weights, device)
    batch = 1
    while batch <= _MOST:
        try:
            images = noise(1, case.size).to(device).repeat(batch, 1, 1, 1)
            call = partial(restorer.restore, images)
            call()
            rate = batch / min(seconds_of(call, device) for _ in range(3))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        if rate < _GAIN * best:
            break
        best, filling, batch = rate, batch, 2 * batch
    return filling


def large(options: SpeedOptions, weights: Path) -> list[dict[str, Any]]:
    """Memory and time of one large image on the CPU, each setting in a process of its own."""
    size = 256 if options.quick else LARGE
    rows = []
    for setting in tqdm(reversed(SETTINGS), total=len(SETTINGS), desc=f"{size}x{size}", leave=False):
        found = peak(Case(setting, "restore", "fp32", size, 1, "cpu", weights))
        rows.append(
            {
                "setting": setting,
                "size": size,
                "peak_mb": found.memory if found else None,
                "before_mb": found.before if found else None,
                "seconds": found.seconds if found else None,
            }
        )
    return rows
