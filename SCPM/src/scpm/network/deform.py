"""Deformable convolution v1 (Dai et al., ICCV 2017), as published and as in the official code.

There are two equivalent implementations. `_convolve_sampled` is the plain one. `_convolve_gathered`
is faster on a CPU if no gradient is needed. `deform_conv2d` chooses between them.
"""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sampling = Literal["standard", "official"]
TAPS = 9  # of a 3x3 kernel, in row-major order
_MIN_CHANNELS = 12  # with fewer channels, gathering is slower than sampling
_STRIP = 2**14  # pixels gathered at a time: small enough for the cache of a CPU


class DeformConv2d(nn.Module):
    """3x3 deformable convolution with stride 1, padding 1 and no bias.

    A plain 3x3 convolution predicts the offsets.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        sampling: "standard" is the published operator. It equals `torchvision.ops.deform_conv2d`.
            "official" is the operator of the official ThiefCloud code, which its weights need.
            There the grid lies one pixel further down and right. Coordinates are clamped to the
            image. A sample in the last row or column, or outside the image, counts double.

    Shape: (N, in_channels, H, W) to (N, out_channels, H, W).
    """

    def __init__(
        self, in_channels: int, out_channels: int, sampling: Sampling = "standard"
    ) -> None:
        super().__init__()
        if sampling not in get_args(Sampling):
            raise ValueError(f"sampling is {sampling!r}, expected one of {get_args(Sampling)}.")

        self.sampling = sampling
        self.offsets = nn.Conv2d(in_channels, 2 * TAPS, 3, padding=1)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.offsets.weight, nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Convolve features (N, in_channels, H, W) to (N, out_channels, H, W)."""
        return deform_conv2d(features, self.offsets(features), self.weight, self.sampling)


def deform_conv2d(
    features: Tensor, offsets: Tensor, weight: Tensor, sampling: Sampling = "standard"
) -> Tensor:
    """Convolve features with a 3x3 kernel, each tap of which reads a pixel moved by its offset.

    Args:
        features: (N, C, H, W).
        offsets: (N, 18, H, W) in pixels: nine row offsets, then nine column offsets. The taps are
            in row-major order.
        weight: (O, C, 3, 3).
        sampling: see `DeformConv2d`.

    Returns:
        (N, O, H, W).
    """
    needs_gradient = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (features, offsets, weight)
    )
    on_cpu = features.device.type == "cpu"

    # With 24 channels, gathering takes a third of the time and an eighth of the memory. Its
    # backward pass would be slower than that of sampling, and ONNX has no operator for it.
    gathers = features.shape[1] >= _MIN_CHANNELS and not torch.compiler.is_exporting()
    if on_cpu and gathers and not needs_gradient:
        return _convolve_gathered(features, offsets, weight, sampling)
    return _convolve_sampled(features, offsets, weight, sampling)


def _convolve_sampled(
    features: Tensor, offsets: Tensor, weight: Tensor, sampling: Sampling
) -> Tensor:
    """Sample all taps, then multiply by the weights: one matrix product over taps and channels."""
    n, channels, height, width = features.shape
    samples = sample_taps(features, offsets, sampling).reshape(n, channels * TAPS, height, width)
    return F.conv2d(samples, weight.reshape(len(weight), channels * TAPS, 1, 1))


def sample_taps(features: Tensor, offsets: Tensor, sampling: Sampling) -> Tensor:
    """Return the bilinear samples that the nine taps read, (N, C, 9, H, W).

    Coordinates are at least float32, also under autocast. In half precision they would be wrong by
    a large part of a pixel. The samples have the dtype of the features. See `deform_conv2d` for the
    arguments.
    """
    n, channels, height, width = features.shape
    precision = torch.promote_types(features.dtype, torch.float32)

    with torch.autocast(features.device.type, enabled=False):
        rows, columns = _coordinates(offsets.to(precision), sampling)
        # Without align_corners, -1 is the outer edge of the first pixel and 1 that of the last.
        grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
        samples = F.grid_sample(
            features.to(precision),
            grid.reshape(n, TAPS * height, width, 2),
            mode="bilinear",
            padding_mode="zeros" if sampling == "standard" else "border",
            align_corners=False,
        ).reshape(n, channels, TAPS, height, width)

        if sampling == "official":
            counts = _edge_count(rows, height) * _edge_count(columns, width)
            samples = samples * counts.unsqueeze(1)
    return samples.to(features.dtype)


def _convolve_gathered(
    features: Tensor, offsets: Tensor, weight: Tensor, sampling: Sampling
) -> Tensor:
    """Gather the pixels around each tap from a table, strip by strip, and multiply by the weights.

    A row of the table holds all channels of a pixel. A sample is the weighted sum of four rows.
    """
    n, channels, height, width = features.shape
    precision = torch.promote_types(features.dtype, torch.float32)

    with torch.autocast(features.device.type, enabled=False):
        # The border of zeros stands for everything outside the image.
        padded = F.pad(features.to(precision).permute(0, 2, 3, 1), (0, 0, 1, 2, 1, 2))
        table = padded.view(-1, channels)
        matrix = weight.to(precision).permute(0, 2, 3, 1).reshape(len(weight), TAPS * channels)
        result = padded.new_empty(n, height, width, len(weight))

        step = max(1, _STRIP // (n * width))
        for top in range(0, height, step):
            strip = offsets[:, :, top : top + step].to(precision)
            index, bilinear = _neighbours(strip, top, height, sampling)
            samples = F.embedding_bag(index, table, mode="sum", per_sample_weights=bilinear)
            samples = samples.view(n, -1, width, TAPS * channels)
            result[:, top : top + step] = F.linear(samples, matrix)
    return result.permute(0, 3, 1, 2).to(features.dtype)


def _neighbours(
    offsets: Tensor, top: int, height: int, sampling: Sampling
) -> tuple[Tensor, Tensor]:
    """Return the four pixels around each tap of a strip of rows, and their bilinear weights.

    Args:
        offsets: (N, 18, h, W) of the strip.
        top: first row of the strip.
        height: height of the image.
        sampling: see `DeformConv2d`.

    Returns:
        Row numbers in the table of `_convolve_gathered`, int32, and weights. Both have the shape
        (N * h * W * 9, 4).
    """
    n, _, strip, width = offsets.shape
    rows, columns = _coordinates(offsets, sampling, top)
    counts = None
    if sampling == "official":
        counts = _edge_count(rows, height) * _edge_count(columns, width)

    row, down = _floor_and_fraction(rows, height, sampling)
    column, right = _floor_and_fraction(columns, width, sampling)
    up, left = 1 - down, 1 - right
    if counts is not None:
        up, down = up * counts, down * counts

    # The table has one pixel of border before each axis, and two after it.
    stride = width + 3
    first = row.mul_(stride).add_(column).add_(stride + 1)
    first.clamp_(0, (height + 1) * stride + width + 1)  # a NaN offset must find a pixel too
    first += torch.arange(n, dtype=torch.int32).view(n, 1, 1, 1) * ((height + 3) * stride)
    corners = torch.tensor((0, 1, stride, stride + 1), dtype=torch.int32)
    index = torch.empty(n, strip, width, TAPS, 4, dtype=torch.int32)
    torch.add(_taps_last(first)[..., None], corners, out=index)

    bilinear = offsets.new_empty(n, strip, width, TAPS, 4)
    weights = ((up, left), (up, right), (down, left), (down, right))
    for corner, (vertical, horizontal) in enumerate(weights):
        torch.mul(_taps_last(vertical), _taps_last(horizontal), out=bilinear[..., corner])
    return index.view(-1, 4), bilinear.view(-1, 4)


def _floor_and_fraction(axis: Tensor, size: int, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return the coordinates rounded down, int32, and the fraction left. Overwrites `axis`."""
    # Standard sampling reads only zeros further out than one pixel.
    low, high = (-1, size) if sampling == "standard" else (0, size - 1)
    axis = axis.clamp_(low, high)
    floor = axis.floor()
    return floor.to(torch.int32), axis.sub_(floor)


def _taps_last(taps: Tensor) -> Tensor:
    """Return a view (N, h, W, 9) of (N, 9, h, W)."""
    return taps.permute(0, 2, 3, 1)


def _coordinates(offsets: Tensor, sampling: Sampling, top: int = 0) -> tuple[Tensor, Tensor]:
    """Return the row and the column that each tap reads, (N, 9, H, W), in pixels.

    Args:
        offsets: (N, 18, H, W), of the image or of a strip of its rows.
        sampling: see `DeformConv2d`.
        top: first row of the strip.
    """
    height, width = offsets.shape[-2:]
    like: Any = {"device": offsets.device, "dtype": offsets.dtype}
    first = -1 if sampling == "standard" else 0
    tap = torch.arange(first, first + 3, **like)
    row = torch.arange(top, top + height, **like)
    column = torch.arange(width, **like)

    rows = tap.repeat_interleave(3).view(TAPS, 1, 1) + row.view(1, height, 1)
    columns = tap.repeat(3).view(TAPS, 1, 1) + column.view(1, 1, width)
    return rows + offsets[:, :TAPS], columns + offsets[:, TAPS:]


def _edge_count(coordinates: Tensor, size: int) -> Tensor:
    """Return how often the official code counts a sample along one axis, 1 or 2.

    It counts a sample twice if both of its neighbours are clamped to the same pixel.
    """
    return 1.0 + ((coordinates < 0) | (coordinates >= size - 1)).to(coordinates.dtype)
