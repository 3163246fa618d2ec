"""AFE, the adaptive feature enhancement: two paths that feed each other through channel gates."""

import torch
from torch import Tensor, nn

from scpm import current_tile

_SMALLEST_VARIANCE = 1e-30  # its root has a finite gradient


class ChannelGate(nn.Module):
    """Channel weights in (0, 1) from each channel's mean and standard deviation.

    Shape: (N, channels, H, W) to (N, channels); H * W must be at least 2.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.from_mean = _gate_mlp(channels, hidden)
        self.from_std = _gate_mlp(channels, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Average the weights from the mean and those from the deviation."""
        tile = current_tile()
        if tile is None:
            mean, std = mean_and_std(features)
        else:
            mean, variance = tile.moments(self, features)
            std = variance.clamp_min(_SMALLEST_VARIANCE).sqrt().to(features)
            mean = mean.to(features)
        return (self.from_mean(mean) + self.from_std(std)) / 2


class AFE(nn.Module):
    """Adaptive feature enhancement (paper, figure 1; `LatticeBlock` in the official code).

    Args:
        channels: width of input and output, a multiple of 4.

    Shape: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block0 = _conv_block(channels)
        self.block1 = _conv_block(channels)
        self.gate1 = ChannelGate(channels, channels // 4)
        self.gate2 = ChannelGate(channels, channels // 4)
        self.gate3 = ChannelGate(channels, channels // 4)
        self.gate4 = ChannelGate(channels, channels // 4)
        self.compress = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Enhance features (N, channels, H, W)."""
        f = self.block0(x)
        p = torch.addcmul(x, self.gate1(f)[..., None, None], f)
        q = torch.addcmul(f, self.gate2(x)[..., None, None], x)
        del f  # maps of a large image take much memory

        g = self.block1(p)
        del p
        return self._compress(g, q, self.gate3(q), self.gate4(g))

    def _compress(self, g: Tensor, q: Tensor, from_q: Tensor, from_g: Tensor) -> Tensor:
        """Return `compress` of g + from_q * q and q + from_g * g, joined.

        Neither sum is computed, because the gates can go into the matrix of `compress`.
        """
        assert self.compress.bias is not None
        to_g, to_q = self.compress.weight.flatten(1).chunk(2, dim=1)

        return _sum_of_products(
            (to_g + to_q * from_g[:, None], g),
            (to_q + to_g * from_q[:, None], q),
            self.compress.bias,
        )


def _sum_of_products(
    one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], bias: Tensor
) -> Tensor:
    """Sum two 1x1 convolutions whose weights differ from image to image.

    Args:
        one: matrix (N, O, C) and features (N, C, H, W).
        other: the same.
        bias: (O,).

    Returns:
        (N, O, H, W) in the memory format of the features.
    """
    (a, x), (b, y) = one, other
    n, _, height, width = x.shape

    if x.is_contiguous():
        total = torch.baddbmm(bias[:, None], a, x.flatten(2))
        total = torch.baddbmm(total, b, y.flatten(2))
        return total.view(n, -1, height, width)

    total = torch.baddbmm(bias, _pixels_first(x), a.mT)
    total = torch.baddbmm(total, _pixels_first(y), b.mT)
    return total.view(n, height, width, -1).permute(0, 3, 1, 2)


def _pixels_first(features: Tensor) -> Tensor:
    """Return features (N, C, H, W) as (N, H * W, C)."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def mean_and_std(features: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and sample standard deviation of each channel: (N, C, H, W) to (N, C) twice.

    The gradient of the deviation is 0, not NaN, on a constant channel, such as a dead one of the
    prior.
    """
    # A sum of squares can leave the range of float16.
    if features.device.type != "cpu" or features.dtype == torch.float16:
        std, mean = torch.std_mean(features, dim=(2, 3), correction=1)
        return mean, std

    # PyTorch's own is a scalar loop on CPUs, over three times slower than these vectorised passes.
    mean = features.mean(dim=(2, 3))
    squares = (features - mean[..., None, None]).square().sum(dim=(2, 3))
    variance = squares / (features.shape[2] * features.shape[3] - 1)
    return mean, variance.clamp_min(_SMALLEST_VARIANCE).sqrt()


def _gate_mlp(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(channels, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, channels),
        nn.Sigmoid(),
    )


def _conv_block(channels: int) -> nn.Sequential:
    narrow = channels * 3 // 4
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 3, padding=1),
        nn.LeakyReLU(0.05, inplace=True),
        nn.Conv2d(narrow, narrow, 3, padding=1),
        nn.LeakyReLU(0.05, inplace=True),
        nn.Conv2d(narrow, channels, 3, padding=1),
        nn.LeakyReLU(0.05, inplace=True),
    )
