"""Deformable convolution v1 (Dai et al., ICCV 2017), in its published form and in the form of the official ThiefCloud code."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sampling = Literal["standard", "official"]
TAPS = 9  # of a 3x3 kernel, in row-major order
_GATHERED_FROM = 12  # channels; three are sampled more quickly
_STRIP = 2**14  # pixels gathered at a time: what they need stays near the CPU, and small beside a large image


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

    Where no gradient is wanted on a CPU, many channels are gathered pixel by pixel (`_gathered`): at 24 three times as fast, in
    an eighth of the memory. Its backward pass would be the slower one.

    Args:
        features: (N, C, H, W).
        offsets: (N, 18, H, W) in pixels: nine row offsets, then nine column offsets, taps in row-major order.
        weight: (O, C, 3, 3).
        sampling: see `DeformConv2d`.

    Returns:
        (N, O, H, W).
    """
    n, channels, height, width = features.shape
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (features, offsets, weight))
    if features.device.type == "cpu" and channels >= _GATHERED_FROM and not learns:
        return _gathered(features, offsets, weight, sampling)
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


def _gathered(features: Tensor, offsets: Tensor, weight: Tensor, sampling: Sampling) -> Tensor:
    """`deform_conv2d` from a table of pixels, each with its channels side by side, in strips of rows.

    A sample is the weighted sum of four rows of the table, which has zeros for what lies outside the image.
    """
    n, channels, height, width = features.shape
    precision = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        padded = F.pad(features.to(precision).permute(0, 2, 3, 1), (0, 0, 1, 2, 1, 2))
        matrix = weight.to(precision).permute(0, 2, 3, 1).reshape(len(weight), TAPS * channels)
        result = padded.new_empty(n, height, width, len(weight))
        step = max(1, _STRIP // (n * width))
        for top in range(0, height, step):
            index, bilinear = _neighbours(offsets[:, :, top : top + step].to(precision), top, height, sampling)
            samples = F.embedding_bag(index, padded.view(-1, channels), mode="sum", per_sample_weights=bilinear)
            result[:, top : top + step] = F.linear(samples.view(n, -1, width, TAPS * channels), matrix)
    return result.permute(0, 3, 1, 2).to(features.dtype)


def _neighbours(offsets: Tensor, top: int, height: int, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """For each tap of a strip the four pixels around it, in the padded image that `_gathered` makes, and their weights.

    Args:
        offsets: (N, 18, h, W).
        top: the strip's first row.
        height: of the whole image.
        sampling: see `DeformConv2d`.

    Returns:
        (N * h * W * 9, 4) int32 and floating.
    """
    n, _, strip, width = offsets.shape
    rows, columns = _coordinates(offsets, first=-1 if sampling == "standard" else 0, top=top)
    share = None if sampling == "standard" else _edge_count(rows, height) * _edge_count(columns, width)
    (row, down), (column, right) = _split(rows, height, sampling), _split(columns, width, sampling)
    up, left = 1 - down, 1 - right
    if share is not None:
        up, down = up * share, down * share

    stride = width + 3
    first = row.mul_(stride).add_(column).add_(stride + 1).clamp_(0, (height + 1) * stride + width + 1)  # NaN finds a pixel too
    first += torch.arange(n, dtype=torch.int32).view(n, 1, 1, 1) * ((height + 3) * stride)
    index = torch.empty(n, strip, width, TAPS, 4, dtype=torch.int32)
    torch.add(_last(first)[..., None], torch.tensor((0, 1, stride, stride + 1), dtype=torch.int32), out=index)
    bilinear = offsets.new_empty(n, strip, width, TAPS, 4)
    for corner, (vertical, horizontal) in enumerate(((up, left), (up, right), (down, left), (down, right))):
        torch.mul(_last(vertical), _last(horizontal), out=bilinear[..., corner])
    return index.view(-1, 4), bilinear.view(-1, 4)


def _split(axis: Tensor, size: int, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Coordinates, of which the tensor is used up, as whole pixels (int32) and the share of the way to the next."""
    low, high = (-1, size) if sampling == "standard" else (0, size - 1)  # what lies further out meets only zeros
    axis = axis.clamp_(low, high)
    first = axis.floor()
    return first.to(torch.int32), axis.sub_(first)


def _last(taps: Tensor) -> Tensor:
    """(N, 9, h, W) to (N, h, W, 9), without copying."""
    return taps.permute(0, 2, 3, 1)


def _coordinates(offsets: Tensor, first: int, top: int = 0) -> tuple[Tensor, Tensor]:
    """Row and column that each tap reads, (N, 9, H, W), in pixels.

    Args:
        offsets: (N, 18, H, W), of a strip of rows.
        first: where the grid's first tap lies undeformed.
        top: the strip's first row.
    """
    height, width = offsets.shape[-2:]
    tap = torch.arange(first, first + 3, device=offsets.device, dtype=offsets.dtype)
    row = torch.arange(top, top + height, device=offsets.device, dtype=offsets.dtype)
    column = torch.arange(width, device=offsets.device, dtype=offsets.dtype)
    rows = tap.repeat_interleave(3).view(TAPS, 1, 1) + row.view(1, height, 1)
    columns = tap.repeat(3).view(TAPS, 1, 1) + column.view(1, 1, width)
    return rows + offsets[:, :TAPS], columns + offsets[:, TAPS:]


def _edge_count(coordinates: Tensor, size: int) -> Tensor:
    """How often the official code counts a sample along one axis: twice where both neighbours fall on the same pixel."""
    return 1.0 + ((coordinates < 0) | (coordinates >= size - 1)).to(coordinates.dtype)
