"""SCPM, the self-supervised cloud prior model: a small U-Net that detects cloud thickness."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scpm.network.deform import DeformConv2d, Sampling
from scpm.network.scene import double_between_corners
from scpm.network.simam import SimAM

FACTOR = 8  # the networks halve images three times, so height and width must be multiples of it
PRIOR_WIDTH = 12  # channels of each feature map of a `Prior`


class Prior(NamedTuple):
    """Thickness and features of the cloud in an image."""

    thickness: Tensor
    """Thickness map (N, 1, H, W), 0 is clear, 1 opaque. It is not clamped to [0, 1]."""
    full: Tensor
    """Features (N, 12, H, W) after SimAM."""
    half: Tensor
    """Features (N, 12, H/2, W/2) after SimAM."""
    quarter: Tensor
    """Features (N, 12, H/4, W/4) after SimAM."""


class SCPM(nn.Module):
    """Cloud thickness detector after DCNet (paper, figure 2; `CDNet_V1` in the official code).

    Args:
        in_channels: bands of the images; 3 for RGB.
        sampling: form of the deformable convolutions. Only weights of the official code need
            "official".

    Shape: images (N, in_channels, H, W) in [0, 1] to a `Prior`. H and W must be multiples of 8.
    """

    def __init__(self, in_channels: int = 3, sampling: Sampling = "standard") -> None:
        super().__init__()
        self.in_channels = in_channels
        self.config = {"in_channels": in_channels, "sampling": sampling}

        full, half, quarter, eighth = PRIOR_WIDTH, 24, 48, 96
        self.encoder_full = _deformable_pair(in_channels, full, sampling)
        self.encoder_half = _normalised_pair(full, half)
        self.encoder_quarter = _normalised_pair(half, quarter)
        self.encoder_eighth = _normalised_pair(quarter, eighth)

        self.decoder_quarter = SharedDecoder(eighth, quarter)
        self.decoder_half = SharedDecoder(quarter, half)
        self.decoder_full = DeformableDecoder(half, full, sampling)

        self.squeeze_quarter = _conv_relu(quarter, PRIOR_WIDTH)
        self.squeeze_half = _conv_relu(half, PRIOR_WIDTH)
        self.attention = SimAM()
        self.head = nn.Conv2d(3 * PRIOR_WIDTH, 1, 1)
        self._initialise()

    def _initialise(self) -> None:
        """Draw convolutions from Kaiming's normal distribution, and scales of BatchNorm near 1.

        Biases of convolutions and the transposed convolution keep PyTorch's default.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Prior:
        """Detect the cloud in images (N, in_channels, H, W) in [0, 1].

        Raises:
            ValueError: images have another shape.
        """
        check_input(images, self.in_channels)

        full = self.encoder_full(images)
        half = self.encoder_half(F.avg_pool2d(full, 2))
        quarter = self.encoder_quarter(F.avg_pool2d(half, 2))
        eighth = self.encoder_eighth(F.avg_pool2d(quarter, 2))

        quarter = self.decoder_quarter(eighth, quarter)
        half = self.decoder_half(quarter, half)

        full = self.attention(self.decoder_full(half, full))
        half = self.attention(self.squeeze_half(half))
        quarter = self.attention(self.squeeze_quarter(quarter))

        return Prior(self._predict_thickness(full, half, quarter), full, half, quarter)

    def _predict_thickness(self, full: Tensor, half: Tensor, quarter: Tensor) -> Tensor:
        """Return `head` of the three maps, upsampled and joined.

        The 1x1 convolution and the upsampling may change places. Upsampling one channel is cheaper.
        """
        weight_quarter, weight_half, weight_full = self.head.weight.chunk(3, dim=1)
        from_quarter = _upsample(F.conv2d(quarter, weight_quarter), 4)
        from_half = _upsample(F.conv2d(half, weight_half), 2)
        return F.conv2d(full, weight_full, self.head.bias) + from_half + from_quarter


class SharedDecoder(nn.Module):
    """Upsampling step that applies the same two convolutions before and after it joins the skip.

    Shape: deeper (N, in_channels, H/2, W/2) and skip (N, out_channels, H, W) to
    (N, out_channels, H, W). in_channels must be twice out_channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *_conv_relu(in_channels, out_channels), *_conv_relu(out_channels, out_channels)
        )

    def forward(self, deeper: Tensor, skip: Tensor) -> Tensor:
        """Upsample the deeper map and join it with the skip."""
        up = self.block(double_between_corners(deeper))
        return self.block(torch.cat((skip, up), dim=1))


class DeformableDecoder(nn.Module):
    """Last upsampling step: a transposed convolution, then deformable convolutions.

    Shape: deeper (N, in_channels, H/2, W/2) and skip (N, out_channels, H, W) to
    (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, sampling: Sampling) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels, 2, stride=2)
        self.squeeze = _conv_relu(in_channels, out_channels)
        self.block = _deformable_pair(2 * out_channels, out_channels, sampling)

    def forward(self, deeper: Tensor, skip: Tensor) -> Tensor:
        """Upsample the deeper map and join it with the skip."""
        return self.block(torch.cat((self.squeeze(self.up(deeper)), skip), dim=1))


def check_input(images: Tensor, channels: int) -> None:
    """Raise ValueError unless images are (N, channels, H, W) with H and W multiples of 8."""
    if images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(
            f"images have the shape {tuple(images.shape)}, expected (N, {channels}, H, W)."
        )

    height, width = images.shape[2:]
    if height % FACTOR or width % FACTOR or height * width == 0:
        raise ValueError(
            f"images are {height}x{width} pixels, expected positive multiples of {FACTOR}: pad "
            "and crop outside the network, as thiefcloud.restore and scpm.detect do."
        )


def _upsample(features: Tensor, scale: int) -> Tensor:
    return F.interpolate(features, scale_factor=scale, mode="bilinear", align_corners=False)


def _conv_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU(inplace=True))


def _normalised_pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _deformable_pair(in_channels: int, out_channels: int, sampling: Sampling) -> nn.Sequential:
    return nn.Sequential(
        DeformConv2d(in_channels, out_channels, sampling),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        DeformConv2d(out_channels, out_channels, sampling),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
