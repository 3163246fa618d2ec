"""Deformable convolution v1 (Dai et al., ICCV 2017), in its published form and in the form of the official ThiefCloud code."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sampling = Literal["standard", "official"]
TAPS = 9  # of a 3x3 kernel, in row-major order


class DeformConv2d(nn.Module):
    """3x3 deformable convolution, stride 1, padding 1, without bias; a plain 3x3 convolution predicts the offsets.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        sampling: "standard" is the published operator, equal to `torchvision.ops.deform_conv2d`. "official" is what the
            official ThiefCloud code computes: the grid lies one pixel further down and right, coordinates are clamped to the
            image, and a sample in the last row or column, or outside, counts double. Weights trained there need it.

    Shape: (N, in_channels, H, W) to (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, sampling: Sampling = "standard") -> None:
        super().__init__()
        if sampling not in get_args(Sampling):
            raise ValueError(f"sampling is {sampling!r}, expected one of {get_args(Sampling)}.")
        self.sampling = sampling
        self.offsets = nn.Conv2d(in_channels, 2 * TAPS, 3, padding=1)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.offsets.weight, nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return deform_conv2d(features, self.offsets(features), self.weight, self.sampling)


def deform_conv2d(features: Tensor, offsets: Tensor, weight: Tensor, sampling: Sampling = "standard") -> Tensor:
    """Deformable 3x3 convolution: bilinear samples at nine shifted positions, then one matrix product over taps and channels.

    Args:
        features: (N, C, H, W).
        offsets: (N, 18, H, W) in pixels: nine row offsets, then nine column offsets, taps in row-major order.
        weight: (O, C, 3, 3).
        sampling: see `DeformConv2d`.

    Returns:
        (N, O, H, W).
    """
    n, channels, height, width = features.shape
    samples = sample_taps(features, offsets, sampling).reshape(n, channels * TAPS, height, width)
    return F.conv2d(samples, weight.reshape(len(weight), channels * TAPS, 1, 1))


def sample_taps(features: Tensor, offsets: Tensor, sampling: Sampling) -> Tensor:
    """The samples that the nine taps read, (N, C, 9, H, W); arguments as in `deform_conv2d`.

    Coordinates are float32, or float64 for such features, whatever the autocast state: in half precision they would be off
    by a good part of a pixel. The samples have the dtype of the features.
    """
    n, channels, height, width = features.shape
    precision = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        rows, columns = _coordinates(offsets.to(precision), first=-1 if sampling == "standard" else 0)
        # grid_sample's [-1, 1] runs from the outer edge of the first pixel to that of the last (align_corners=False).
        grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
        samples = F.grid_sample(
            features.to(precision),
            grid.reshape(n, TAPS * height, width, 2),
            mode="bilinear",
            padding_mode="zeros" if sampling == "standard" else "border",
            align_corners=False,
        ).reshape(n, channels, TAPS, height, width)
        if sampling == "official":
            samples = samples * (_edge_count(rows, height) * _edge_count(columns, width)).unsqueeze(1)
    return samples.to(features.dtype)


def _coordinates(offsets: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Row and column that each tap reads, (N, 9, H, W), in pixels; `first` is where the grid's first tap lies undeformed."""
    height, width = offsets.shape[-2:]
    tap = torch.arange(first, first + 3, device=offsets.device, dtype=offsets.dtype)
    row = torch.arange(height, device=offsets.device, dtype=offsets.dtype)
    column = torch.arange(width, device=offsets.device, dtype=offsets.dtype)
    rows = tap.repeat_interleave(3).view(TAPS, 1, 1) + row.view(1, height, 1)
    columns = tap.repeat(3).view(TAPS, 1, 1) + column.view(1, 1, width)
    return rows + offsets[:, :TAPS], columns + offsets[:, TAPS:]


def _edge_count(coordinates: Tensor, size: int) -> Tensor:
    """How often the official code counts a sample along one axis: twice where both neighbours fall on the same pixel."""
    return 1.0 + ((coordinates < 0) | (coordinates >= size - 1)).to(coordinates.dtype)
