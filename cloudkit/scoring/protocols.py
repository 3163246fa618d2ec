"""The protocols under which the field publishes PSNR and SSIM: what each code base does before it computes, and how.

Numbers of two protocols do not compare: of one and the same restored image they lie many dB and .1 of SSIM apart. Four protocols
are exact. The others are reconstructed from the formula of their source; where it is not known whether that source clamps the
network's output, it is clamped to [0, 1] here, as in any image file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.scoring.metrics import GAUSSIAN_SIZE, UNIFORM_SIZE, psnr, ssim

Protocol = Literal["plain", "thiefcloud", "dehazeformer", "matlab-y", "spagan", "sui", "rsdformer", "geocr"]
Scores = dict[str, float]

_POOLED_SIZE = 256  # near this length of the shorter side SSIM is computed, where it is computed on pooled images
_SUI_SIZE = 256
_RSDFORMER_BORDER = 64
_SPAGAN_WEIGHTS = (0.114478, 0.586611, 0.298912)  # for red, green, blue: its luma weights meet images in BGR order
_ROUNDING = 1e-6  # of one 8-bit level: what truncation forgives, since the weights of a filter sum to 1 only nearly


@dataclass(frozen=True)
class Rules:
    """One protocol."""

    name: Protocol
    """What it is called on the command line."""
    title: str
    """One line for help and README: what it computes, and on what."""
    source: str
    """Whose numbers follow it."""
    exact: bool
    """True: as its source computes; False: reconstructed from their formula."""
    smallest: int
    """The shortest side that it can score, in pixels."""
    compute: Callable[[Tensor, Tensor], Scores]
    """From the raw restored and the clear image, float64 (1, 3, H, W)."""
    metrics: tuple[str, ...] = ("psnr", "ssim")
    """The names of its scores."""

    @property
    def kind(self) -> str:
        """How far it can be trusted, in words."""
        return "exact" if self.exact else "reconstructed from their formula"


def score(protocol: Protocol, restored: Tensor, clear: Tensor) -> Scores:
    """The scores of one restored image under a protocol, computed in float64.

    Args:
        protocol: one of `PROTOCOLS`.
        restored: (3, H, W), as the network returns it, not clamped.
        clear: the same shape, in [0, 1].

    Returns:
        "psnr" in dB, infinite where both are equal, and "ssim"; under plain also "ssim_gaussian".

    Raises:
        ValueError: shapes do not fit, the image is too small for the protocol, a value is not finite, or the clear image leaves
            [0, 1].
    """
    rules = PROTOCOLS[protocol]
    if restored.shape != clear.shape or clear.ndim != 3 or clear.shape[0] != 3:
        raise ValueError(f"shapes are {tuple(restored.shape)} and {tuple(clear.shape)}, expected (3, H, W) twice the same.")
    height, width = clear.shape[1:]
    if min(height, width) < rules.smallest:
        raise ValueError(
            f"the protocol {protocol} cannot score {height}x{width} pixels, expected at least {rules.smallest}x{rules.smallest}."
        )
    if not restored.isfinite().all():
        raise ValueError("the restored image holds values that are not finite, expected numbers: its network has diverged.")
    low, high = (value.item() for value in torch.aminmax(clear))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"the clear image ranges from {low:g} to {high:g}, expected [0, 1]: scale it first.")
    return rules.compute(restored.detach().double()[None], clear.double()[None])


def _plain(restored: Tensor, clear: Tensor) -> Scores:
    """Clamped to [0, 1]; PSNR over all values; SSIM at full resolution with scikit-image's default window, and a Gaussian one."""
    pair = restored.clamp(0, 1), clear
    return {"psnr": float(psnr(*pair)), "ssim": float(ssim(*pair)), "ssim_gaussian": float(ssim(*pair, gaussian=True))}


def _thiefcloud(restored: Tensor, clear: Tensor) -> Scores:
    """Clamped to [-1, 1]; both images mapped by x * 0.5 + 0.5, so every error is halved; SSIM Gaussian after pooling.

    The map adds exactly 20 log10(2) = 6.0206 dB where nothing is clamped. Raw values below 0 stay errors, down to -1. The padding
    with zeros to a square multiple of 128 in that test.py is an input of the network and cut off again before the scores; the
    field's images, squares of 256 and 512 pixels, get none.
    """
    restored, clear = restored.clamp(-1, 1) * 0.5 + 0.5, clear * 0.5 + 0.5
    return {"psnr": float(psnr(restored, clear)), "ssim": _pooled_ssim(restored, clear)}


def _dehazeformer(restored: Tensor, clear: Tensor) -> Scores:
    """Clamped to [0, 1]; PSNR as plain; SSIM Gaussian after pooling."""
    restored = restored.clamp(0, 1)
    return {"psnr": float(psnr(restored, clear)), "ssim": _pooled_ssim(restored, clear)}


def _matlab_y(restored: Tensor, clear: Tensor) -> Scores:
    """Rounded to uint8; Y of MATLAB's rgb2ycbcr, again uint8; PSNR for a peak of 255; SSIM as Wang's ssim_index.

    Y spans 16 to 235 but is scored as if it spanned 0 to 255, which alone adds 20 log10(255 / 219) = 1.32 dB on gray images.
    """
    pair = _matlab_luma(_to_uint8(restored)), _matlab_luma(_to_uint8(clear))
    return {"psnr": float(psnr(*pair)), "ssim": float(ssim(*pair, gaussian=True))}


def _spagan(restored: Tensor, clear: Tensor) -> Scores:
    """Gray by luma weights that meet BGR order; PSNR for a peak of 1; SSIM 7x7 for the range 2, scikit-image's old default."""
    weights = clear.new_tensor(_SPAGAN_WEIGHTS).view(1, 3, 1, 1)
    # the weights sum to 1.000001, so white is above 1
    gray, other = ((image * weights).sum(dim=1, keepdim=True) for image in (restored.clamp(0, 1), clear))
    return {"psnr": float(psnr(gray, other, bounded=False)), "ssim": float(ssim(gray / 2, other / 2))}


def _sui(restored: Tensor, clear: Tensor) -> Scores:
    """Images with a side above 256 made 256x256; truncated to uint8; PSNR over RGB; SSIM 7x7 on gray; both for 255.

    That source's network works on the reduced images, here its output is reduced: the two differ a little.
    """
    images = [restored.clamp(0, 1), clear]
    if max(clear.shape[-2:]) > _SUI_SIZE:
        size = (_SUI_SIZE, _SUI_SIZE)
        images = [F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False) for x in images]
    levels, other = ((255 * image + _ROUNDING).floor().clamp(0, 255) for image in images)
    return {
        "psnr": float(psnr(levels / 255, other / 255)),
        "ssim": float(ssim(_gray_levels(levels) / 255, _gray_levels(other) / 255)),
    }


def _rsdformer(restored: Tensor, clear: Tensor) -> Scores:
    """Clamped to [0, 1]; 64 pixels cut off on every side; PSNR the mean of the three bands' PSNR; SSIM Gaussian."""
    border = _RSDFORMER_BORDER
    restored, clear = (x[..., border:-border, border:-border] for x in (restored.clamp(0, 1), clear))
    bands = psnr(restored.transpose(0, 1), clear.transpose(0, 1))  # each band an image of its own
    return {"psnr": float(bands.mean()), "ssim": float(ssim(restored, clear, gaussian=True))}


def _geocr(restored: Tensor, clear: Tensor) -> Scores:
    """Nothing clamped; PSNR for a peak of 1; SSIM 7x7 for the range 1."""
    return {"psnr": float(psnr(restored, clear, bounded=False)), "ssim": float(ssim(restored, clear, bounded=False))}


def _pooled_ssim(restored: Tensor, clear: Tensor) -> float:
    """Gaussian SSIM after adaptive average pooling of the shorter side to about 256: after Wang, but it hides fine errors."""
    height, width = clear.shape[-2:]
    ratio = max(1, round(min(height, width) / _POOLED_SIZE))
    size = (int(height / ratio), int(width / ratio))
    return float(ssim(F.adaptive_avg_pool2d(restored, size), F.adaptive_avg_pool2d(clear, size), gaussian=True))


def _to_uint8(image: Tensor) -> Tensor:
    """The levels 0 to 255 that an 8-bit file would hold: rounded half up, as MATLAB rounds (away from zero)."""
    return (255 * image.clamp(0, 1) + 0.5).floor()


def _matlab_luma(levels: Tensor) -> Tensor:
    """Y of levels (1, 3, H, W), divided by 255: round(16 + (65.481 R + 128.553 G + 24.966 B) / 255).

    The weights are taken times 1000, as whole numbers, so that what lies half way between two levels is surely rounded up.
    """
    weights = levels.new_tensor((65481, 128553, 24966)).view(1, 3, 1, 1)
    y = 16 + ((levels * weights).sum(dim=1, keepdim=True) + 127500).div(255000, rounding_mode="floor")
    return y / 255


def _gray_levels(levels: Tensor) -> Tensor:
    """Gray levels (1, 1, H, W) by the luma weights of ITU-R 601, rounded; whole numbers, for the same reason as in Y."""
    weights = levels.new_tensor((299, 587, 114)).view(1, 3, 1, 1)
    return ((levels * weights).sum(dim=1, keepdim=True) + 500).div(1000, rounding_mode="floor")


_RULES = (
    Rules(
        name="plain",
        title="float RGB in [0, 1], full resolution; SSIM 7x7 uniform (scikit-image's default) and Gaussian 11x11",
        source="this project",
        exact=True,
        smallest=GAUSSIAN_SIZE,
        compute=_plain,
        metrics=("psnr", "ssim", "ssim_gaussian"),
    ),
    Rules(
        name="thiefcloud",
        title="images mapped by x * 0.5 + 0.5: +6.02 dB; SSIM Gaussian after pooling to about 256 pixels",
        source="test.py of the official ThiefCloud code; EMPF-Net, RSHazeNet, MABDT",
        exact=True,
        smallest=GAUSSIAN_SIZE,
        compute=_thiefcloud,
    ),
    Rules(
        name="dehazeformer",
        title="PSNR as plain; SSIM Gaussian after pooling to about 256 pixels",
        source="DehazeFormer",
        exact=True,
        smallest=GAUSSIAN_SIZE,
        compute=_dehazeformer,
    ),
    Rules(
        name="matlab-y",
        title="8-bit Y of MATLAB's rgb2ycbcr, 16 to 235 scored for a peak of 255: +1.32 dB by that alone; Wang's SSIM on Y",
        source="CMNet, CR-Famba, MemoryNet",
        exact=True,
        smallest=GAUSSIAN_SIZE,
        compute=_matlab_y,
    ),
    Rules(
        name="spagan",
        title="gray by luma weights that meet BGR order; SSIM 7x7 for a range of 2",
        source="SpA-GAN, IDF-CR",
        exact=False,
        smallest=UNIFORM_SIZE,
        compute=_spagan,
    ),
    Rules(
        name="sui",
        title="reduced to 256x256 where larger, truncated to 8 bits; PSNR on RGB, SSIM 7x7 on gray",
        source="Sui et al.: DE and their collection of models",
        exact=False,
        smallest=UNIFORM_SIZE,
        compute=_sui,
    ),
    Rules(
        name="rsdformer",
        title="a border of 64 pixels cut off; PSNR the mean over the bands; SSIM Gaussian",
        source="RSDformer",
        exact=False,
        smallest=2 * _RSDFORMER_BORDER + GAUSSIAN_SIZE,
        compute=_rsdformer,
    ),
    Rules(
        name="geocr",
        title="float RGB, not clamped; SSIM 7x7",
        source="GeoCR, CVAE, PSMB-Net, BMFH-Net, SFRDP-Net",
        exact=False,
        smallest=UNIFORM_SIZE,
        compute=_geocr,
    ),
)
PROTOCOLS: dict[Protocol, Rules] = {rules.name: rules for rules in _RULES}
