"""What the machine does at most: matrix products, convolutions of the networks' shapes, and copies."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.speedkit.measuring import Effort, interleaved, medians, precisions
from benchmarks.speedkit.options import SpeedOptions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
LEVELS = ((24, 1), (48, 2), (96, 4))  # channels, and how many times smaller than the image their maps are


@torch.inference_mode()
def ceilings(options: SpeedOptions, device: torch.device) -> list[dict[str, Any]]:
    """A row for each operation and precision: GFLOP/s, or GB/s read and written."""
    effort = Effort.of(device, quick=True)  # the operations are short
    rows = []
    for precision in precisions(device):
        rows += [_matmul(options, device, precision, effort)]
        rows += [_convolution(options, device, precision, effort, *level) for level in LEVELS]
        rows += [_copy(options, device, precision, effort)]
    return rows


def convolution_ceilings(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The best convolution of each precision, in GFLOP/s."""
    found: dict[str, float] = {}
    for row in rows:
        if "channels" in row:
            found[row["precision"]] = max(row["gflops"], found.get(row["precision"], 0.0))
    return found


def _matmul(options: SpeedOptions, device: torch.device, precision: str, effort: Effort) -> dict[str, Any]:
    side = 512 if options.quick else 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    seconds = medians(interleaved({"": lambda: left @ right}, device, effort))[""]
    return {"what": f"matrix product, {side}x{side}", "precision": precision, "gflops": 2 * side**3 / seconds / 1e9}


def _convolution(
    options: SpeedOptions, device: torch.device, precision: str, effort: Effort, channels: int, scale: int
) -> dict[str, Any]:
    batch, side = 1 if device.type == "cpu" else 16, max(1, options.middle // scale)
    images = torch.randn(batch, channels, side, side, device=device).to(DTYPES[precision])
    weight = torch.randn(channels, channels, 3, 3, device=device).to(DTYPES[precision])
    calls = {
        name: partial(F.conv2d, images.to(memory_format=layout), weight.to(memory_format=layout), padding=1)
        for name, layout in FORMATS.items()
    }
    seconds = medians(interleaved(calls, device, effort))
    fastest = min(seconds, key=lambda name: seconds[name])
    return {
        "what": f"3x3 convolution, {channels} channels, {batch}x{side}x{side}, {fastest}",
        "precision": precision,
        "channels": channels,
        "format": fastest,
        "gflops": 2 * 9 * channels**2 * batch * side**2 / seconds[fastest] / 1e9,
    }


def _copy(options: SpeedOptions, device: torch.device, precision: str, effort: Effort) -> dict[str, Any]:
    size = (16 if options.quick else 256 if device.type == "cpu" else 2048) * 2**20  # bytes
    source = torch.ones(size // DTYPES[precision].itemsize, device=device, dtype=DTYPES[precision])
    target = torch.zeros_like(source)
    seconds = medians(interleaved({"": lambda: target.copy_(source)}, device, effort))[""]
    return {"what": f"copy, {size // 2**20} MB", "precision": precision, "gb_per_s": 2 * size / seconds / 1e9}
