"""Ceilings of the machine: matrix products, convolutions of the networks' shapes, and copies."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.speedkit.measuring import Effort, interleaved, medians, precisions
from benchmarks.speedkit.options import SpeedOptions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
LEVELS = ((24, 1), (48, 2), (96, 4))  # channels, and the factor by which maps are downsampled


@torch.inference_mode()
def ceilings(options: SpeedOptions, device: torch.device) -> list[dict[str, Any]]:
    """Return a row for each operation and precision: GFLOP/s, or GB/s read and written."""
    rows = []
    for precision in precisions(device):
        operations = [_matmul(options, device, precision)]
        for channels, scale in LEVELS:
            operations.append(_convolution(options, device, precision, channels, scale))
        operations.append(_copy(options, device, precision))
        for row in operations:
            rows.append({"precision": precision, **row})
    return rows


def best_convolutions(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the GFLOP/s of the fastest convolution of each precision."""
    best: dict[str, float] = {}
    for row in rows:
        if "channels" in row:
            best[row["precision"]] = max(row["gflops"], best.get(row["precision"], 0.0))
    return best


def _matmul(options: SpeedOptions, device: torch.device, precision: str) -> dict[str, Any]:
    side = options.choose(device, quick=512, cpu=2048, gpu=8192)
    left = torch.randn(side, side, device=device).to(DTYPES[precision])
    right = torch.randn_like(left)

    seconds = _seconds({"": lambda: left @ right}, device)[""]
    return {"what": f"matrix product, {side}x{side}", "gflops": 2 * side**3 / seconds / 1e9}


def _convolution(
    options: SpeedOptions, device: torch.device, precision: str, channels: int, scale: int
) -> dict[str, Any]:
    batch, side = 1 if device.type == "cpu" else 16, max(1, options.middle // scale)
    images = torch.randn(batch, channels, side, side, device=device).to(DTYPES[precision])
    weight = torch.randn(channels, channels, 3, 3, device=device).to(DTYPES[precision])

    calls = {}
    for name, layout in FORMATS.items():
        tensors = images.to(memory_format=layout), weight.to(memory_format=layout)
        calls[name] = partial(F.conv2d, *tensors, padding=1)
    seconds = _seconds(calls, device)
    fastest = min(seconds, key=lambda name: seconds[name])
    return {
        "what": f"3x3 convolution, {channels} channels, {batch}x{side}x{side}, {fastest}",
        "channels": channels,
        "format": fastest,
        "gflops": 2 * 9 * channels**2 * batch * side**2 / seconds[fastest] / 1e9,
    }


def _copy(options: SpeedOptions, device: torch.device, precision: str) -> dict[str, Any]:
    megabytes = options.choose(device, quick=16, cpu=256, gpu=2048)
    size = megabytes * 2**20
    dtype = DTYPES[precision]
    source = torch.ones(size // dtype.itemsize, device=device, dtype=dtype)
    target = torch.zeros_like(source)

    seconds = _seconds({"": lambda: target.copy_(source)}, device)[""]
    return {"what": f"copy, {megabytes} MB", "gb_per_s": 2 * size / seconds / 1e9}


def _seconds(calls: Mapping[str, Any], device: torch.device) -> dict[str, float]:
    effort = Effort.of(device, quick=True)  # the operations are short
    return medians(interleaved(calls, device, effort))
