"""The protocols under which the field publishes PSNR and SSIM.

Numbers of two protocols do not compare: for one restored image they differ by many dB and by .1 of
SSIM. Protocols marked "exact" compute as their source does. Those marked "reconstructed" follow
the formula of their source. If it is unknown whether that source clamps the network's output, the
output is clamped to [0, 1] here, as in any image file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from trainkit.scoring.measures import METRICS
from trainkit.scoring.metrics import GAUSSIAN_SIZE, UNIFORM_SIZE, psnr, ssim

Protocol = Literal[
    "plain", "thiefcloud", "dehazeformer", "matlab-y", "spagan", "sui", "rsdformer", "geocr"
]
Scores = dict[str, float]

_POOLED_SIZE = 256  # pixels: length of the shorter side to which images are pooled for SSIM
_SUI_SIZE = 256
_RSDFORMER_BORDER = 64
# For red, green, blue: the source applies its luma weights to images in BGR order.
_SPAGAN_WEIGHTS = (0.114478, 0.586611, 0.298912)
# Fraction of an 8-bit level that truncation forgives: filter weights sum to 1 only nearly.
_ROUNDING = 1e-6


def score(protocol: Protocol, restored: Tensor, clear: Tensor) -> Scores:
    """Return the scores of one restored image under a protocol, computed in float64.

    Args:
        protocol: a name in `PROTOCOLS`.
        restored: (3, H, W), as the network returns it, not clamped.
        clear: the same shape, in [0, 1].

    Returns:
        "psnr" in dB, infinite if both images are equal, and "ssim"; under plain, every metric
        that is not optional.

    Raises:
        ValueError: the shapes are wrong, the image is too small, a restored value is not finite,
            or the clear image leaves [0, 1].
    """
    if restored.shape != clear.shape or clear.ndim != 3 or clear.shape[0] != 3:
        raise ValueError(
            f"shapes are {tuple(restored.shape)} and {tuple(clear.shape)}, "
            "expected (3, H, W) twice the same."
        )
    rules = PROTOCOLS[protocol]
    height, width = clear.shape[1:]
    if min(height, width) < rules.smallest:
        raise ValueError(
            f"the protocol {protocol} cannot score {height}x{width} pixels, "
            f"expected at least {rules.smallest}x{rules.smallest}."
        )
    if not restored.isfinite().all():
        raise ValueError(
            "the restored image holds values that are not finite, expected numbers: "
            "its network has diverged."
        )
    low, high = (value.item() for value in torch.aminmax(clear))
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"the clear image ranges from {low:g} to {high:g}, expected [0, 1]: scale it first."
        )

    return rules.compute(restored.detach().double()[None], clear.double()[None])


def _plain(restored: Tensor, clear: Tensor) -> Scores:
    """Score as this project does (exact).

    Clamp to [0, 1]. PSNR over all values. SSIM at full resolution, with scikit-image's default
    window and with a Gaussian one.
    """
    restored = restored.clamp(0, 1)
    scores = {}
    for name, metric in METRICS.items():
        if not metric.optional:
            scores[name] = float(metric.function(restored, clear))
    return scores


def _thiefcloud(restored: Tensor, clear: Tensor) -> Scores:
    """Score as test.py of the official ThiefCloud code, EMPF-Net, RSHazeNet and MABDT (exact).

    Clamp to [-1, 1] and map both images by x * 0.5 + 0.5, which halves every error. Gaussian SSIM
    after pooling.

    The map adds exactly 20 log10(2) = 6.0206 dB if nothing is clamped. Raw values below 0 stay
    errors, down to -1. The official test.py also pads the network's input with zeros to a square
    multiple of 128, and cuts this off before scoring. Squares of 256 and 512 pixels get no padding.
    """
    restored, clear = restored.clamp(-1, 1) * 0.5 + 0.5, clear * 0.5 + 0.5
    return {"psnr": float(psnr(restored, clear)), "ssim": _pooled_ssim(restored, clear)}


def _dehazeformer(restored: Tensor, clear: Tensor) -> Scores:
    """Score as DehazeFormer (exact).

    Clamp to [0, 1]. PSNR as plain. Gaussian SSIM after pooling.
    """
    restored = restored.clamp(0, 1)
    return {"psnr": float(psnr(restored, clear)), "ssim": _pooled_ssim(restored, clear)}


def _matlab_y(restored: Tensor, clear: Tensor) -> Scores:
    """Score as CMNet, CR-Famba and MemoryNet (exact).

    Round to uint8, take Y of MATLAB's rgb2ycbcr, and round again. PSNR for a peak of 255. SSIM as
    in Wang's ssim_index.

    Y spans 16 to 235 but is scored as if it spanned 0 to 255. That alone adds
    20 log10(255 / 219) = 1.32 dB on gray images.
    """
    y, other = _matlab_luma(_to_uint8(restored)), _matlab_luma(_to_uint8(clear))
    return {"psnr": float(psnr(y, other)), "ssim": float(ssim(y, other, gaussian=True))}


def _spagan(restored: Tensor, clear: Tensor) -> Scores:
    """Score as SpA-GAN and IDF-CR (reconstructed).

    Convert to gray by luma weights that meet bands in BGR order. PSNR for a peak of 1. SSIM 7x7
    for the range 2, scikit-image's old default.
    """
    weights = clear.new_tensor(_SPAGAN_WEIGHTS).view(1, 3, 1, 1)
    gray = (restored.clamp(0, 1) * weights).sum(dim=1, keepdim=True)
    other = (clear * weights).sum(dim=1, keepdim=True)
    return {
        "psnr": float(psnr(gray, other, bounded=False)),  # weights of 1.000001 put white above 1
        "ssim": float(ssim(gray / 2, other / 2)),
    }


def _sui(restored: Tensor, clear: Tensor) -> Scores:
    """Score as Sui et al. in DE and their collection of models (reconstructed).

    Reduce images with a side above 256 to 256x256 and truncate to uint8. PSNR over RGB and SSIM
    7x7 on gray, both for a range of 255.

    The network of that source works on reduced images. Here its output is reduced, which differs a
    little.
    """
    images = torch.cat((restored.clamp(0, 1), clear))
    if max(clear.shape[-2:]) > _SUI_SIZE:
        size = (_SUI_SIZE, _SUI_SIZE)
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)

    levels, other = (255 * images + _ROUNDING).floor().clamp(0, 255).split(1)
    return {
        "psnr": float(psnr(levels / 255, other / 255)),
        "ssim": float(ssim(_gray_levels(levels) / 255, _gray_levels(other) / 255)),
    }


def _rsdformer(restored: Tensor, clear: Tensor) -> Scores:
    """Score as RSDformer (reconstructed).

    Clamp to [0, 1] and cut off 64 pixels on every side. PSNR is the mean of the PSNR of the three
    bands. SSIM is Gaussian.
    """
    inside = slice(_RSDFORMER_BORDER, -_RSDFORMER_BORDER)
    restored, clear = restored[..., inside, inside].clamp(0, 1), clear[..., inside, inside]
    bands = psnr(restored.transpose(0, 1), clear.transpose(0, 1))  # each band as an image
    return {"psnr": float(bands.mean()), "ssim": float(ssim(restored, clear, gaussian=True))}


def _geocr(restored: Tensor, clear: Tensor) -> Scores:
    """Score as GeoCR, CVAE, PSMB-Net, BMFH-Net and SFRDP-Net (reconstructed).

    Clamp nothing. PSNR for a peak of 1. SSIM 7x7 for the range 1.
    """
    return {
        "psnr": float(psnr(restored, clear, bounded=False)),
        "ssim": float(ssim(restored, clear, bounded=False)),
    }


def _pooled_ssim(restored: Tensor, clear: Tensor) -> float:
    """Return Gaussian SSIM after average pooling of the shorter side to about 256 pixels.

    Wang recommends the pooling, but it hides fine errors.
    """
    height, width = clear.shape[-2:]
    ratio = max(1, round(min(height, width) / _POOLED_SIZE))
    pooled = F.adaptive_avg_pool2d(
        torch.cat((restored, clear)), (int(height / ratio), int(width / ratio))
    )
    return float(ssim(*pooled.split(1), gaussian=True))


def _to_uint8(image: Tensor) -> Tensor:
    """Return the levels 0 to 255 of an 8-bit file, with halves rounded up as in MATLAB."""
    return (255 * image.clamp(0, 1) + 0.5).floor()


def _matlab_luma(levels: Tensor) -> Tensor:
    """Return Y of levels (1, 3, H, W), divided by 255.

    Y is round(16 + (65.481 R + 128.553 G + 24.966 B) / 255). The weights are integers here, times
    1000, so that values half way between two levels are surely rounded up.
    """
    weights = levels.new_tensor((65481, 128553, 24966)).view(1, 3, 1, 1)
    weighted = (levels * weights).sum(dim=1, keepdim=True)
    return (16 + (weighted + 127500).div(255000, rounding_mode="floor")) / 255


def _gray_levels(levels: Tensor) -> Tensor:
    """Return gray levels (1, 1, H, W) by the luma weights of ITU-R 601, with halves rounded up."""
    weights = levels.new_tensor((299, 587, 114)).view(1, 3, 1, 1)
    return ((levels * weights).sum(dim=1, keepdim=True) + 500).div(1000, rounding_mode="floor")


@dataclass(frozen=True)
class Rules:
    """One protocol."""

    compute: Callable[[Tensor, Tensor], Scores]
    """Function of the raw restored and the clear image, float64 (1, 3, H, W)."""
    smallest: int
    """Shortest side that it can score, in pixels."""


PROTOCOLS: dict[Protocol, Rules] = {
    "plain": Rules(_plain, GAUSSIAN_SIZE),
    "thiefcloud": Rules(_thiefcloud, GAUSSIAN_SIZE),
    "dehazeformer": Rules(_dehazeformer, GAUSSIAN_SIZE),
    "matlab-y": Rules(_matlab_y, GAUSSIAN_SIZE),
    "spagan": Rules(_spagan, UNIFORM_SIZE),
    "sui": Rules(_sui, UNIFORM_SIZE),
    "rsdformer": Rules(_rsdformer, 2 * _RSDFORMER_BORDER + GAUSSIAN_SIZE),
    "geocr": Rules(_geocr, UNIFORM_SIZE),
}
