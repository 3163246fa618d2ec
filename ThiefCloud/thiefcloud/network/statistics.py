"""Statistics of images and cells, and the guide of the prior: inputs of overlay and inversion."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from scpm import PRIOR_WIDTH, Prior

CELL = 4  # side of a cell in pixels
CELL_STATISTICS = 4  # numbers of `cell_statistics` for each band
STATISTICS = 9  # numbers of `image_statistics` for each band and each difference of bands
GUIDE = 1 + 3 * PRIOR_WIDTH  # the thickness, and the features of three levels

# None lies nearer to 0 or 1 than this, so that a hundredth of odd pixels (lettering, dead or
# clipped pixels) changes little.
_TRIMMED = 0.02
_QUANTILES = (_TRIMMED, 0.05, 0.25, 0.5, 0.75, 0.95, 1 - _TRIMMED)
_SAMPLED = 2**16  # pixels from which statistics are computed; more change nothing


def image_statistics(images: Tensor) -> Tensor:
    """Compute mean, standard deviation and seven quantiles of bands and of their differences.

    Mean and deviation are those of the values clamped to the outermost quantiles.

    Args:
        images: (N, bands, H, W).

    Returns:
        (N, rows, 9), float32. The rows are the bands, then each band but the last minus the next
        one: 2 bands - 1 in all.
    """
    step = sampling_step(*images.shape[-2:])
    return pixel_statistics(images[..., ::step, ::step].flatten(2).float())


def scene_statistics(images: Tensor) -> Tensor:
    """Compute `image_statistics` of the pixels that hold data alone, as `has_data` finds them.

    Args:
        images: (N, bands, H, W). Not in the dtype of a network: float16 is too short for sums.

    Returns:
        (N, 2 bands - 1, 9), float32.
    """
    step = sampling_step(*images.shape[-2:])
    found = []
    for image in images[..., ::step, ::step].flatten(2).float():
        valid = image.any(0)
        found.append(pixel_statistics(image[None, :, valid if valid.any() else ~valid]))
    return torch.cat(found)


def sampling_step(height: int, width: int) -> int:
    """Return the distance of the rows and columns from which statistics are computed."""
    return max(1, math.isqrt(height * width // _SAMPLED))


def pixel_statistics(pixels: Tensor) -> Tensor:
    """Compute `image_statistics` of pixels (N, bands, count), float32."""
    pixels = torch.cat((pixels, pixels[:, :-1] - pixels[:, 1:]), dim=1)
    levels = torch.tensor(_QUANTILES, device=pixels.device)
    quantiles = _quantiles(pixels, levels)

    pixels = pixels.clamp(quantiles[..., :1], quantiles[..., -1:])  # as `trimmed`
    mean = pixels.mean(2, keepdim=True)
    deviation = pixels.std(2, correction=0, keepdim=True)
    return torch.cat((mean, deviation, quantiles), dim=2)


def _quantiles(pixels: Tensor, levels: Tensor) -> Tensor:
    """Compute quantiles of pixels (N, bands, count), as (N, bands, levels)."""
    if not torch.compiler.is_exporting():
        return torch.quantile(pixels, levels, dim=2).movedim(0, 2)

    # PyTorch 2.11 cannot export the function above, which looks at the values of the levels.
    last = pixels.shape[2] - 1
    ordered, ranks = pixels.sort(dim=2).values, levels * last
    below = ranks.long()
    above = (below + 1).clamp_max(last)
    return torch.lerp(ordered[..., below], ordered[..., above], ranks - below)


def trimmed(images: Tensor, statistics: Tensor) -> Tensor:
    """Clamp each band to its outermost quantiles.

    Args:
        images: (N, bands, H, W).
        statistics: their `image_statistics`.
    """
    of_bands = statistics[:, : images.shape[1], :, None, None]
    return images.clamp(of_bands[:, :, 2], of_bands[:, :, -1])


def cell_statistics(images: Tensor) -> Tensor:
    """Compute mean, standard deviation, least and largest value of each band in cells.

    Args:
        images: (N, bands, H, W).

    Returns:
        (N, 4 bands, H/4, W/4).
    """
    mean = F.avg_pool2d(images, CELL)
    deviation = (F.avg_pool2d(images.square(), CELL) - mean.square()).clamp_min(1e-8).sqrt()
    least, largest = -F.max_pool2d(-images, CELL), F.max_pool2d(images, CELL)
    return torch.cat((mean, deviation, least, largest), dim=1)


def guide(prior: Prior) -> Tensor:
    """Average thickness and features of the prior over cells: (N, 37, H/4, W/4)."""
    parts = (
        F.avg_pool2d(prior.thickness, 4),
        F.avg_pool2d(prior.full, 4),
        F.avg_pool2d(prior.half, 2),
        prior.quarter,
    )
    return torch.cat(parts, dim=1)


def has_data(images: Tensor) -> Tensor:
    """Find the pixels (N, 1, H, W) that are not 0 in all bands.

    The corners around a scene that was rotated to the north hold no data.
    """
    return images.any(1, keepdim=True)


def fill(images: Tensor, valid: Tensor, mean: Tensor | None = None) -> Tensor:
    """Replace invalid pixels by the mean of the valid ones, lest they pass for dark ground.

    Args:
        images: (N, bands, H, W).
        valid: (N, 1, H, W).
        mean: (N, bands, 1, 1), that of the scene if the images are parts of one.
    """
    if mean is None:
        # Rounded sums would show: the deviation within even cells depends on the last bits.
        dtype = torch.float32 if images.device.type == "mps" else torch.float64
        total = torch.where(valid, images, 0).sum((2, 3), keepdim=True, dtype=dtype)
        mean = (total / valid.sum((2, 3), keepdim=True).clamp_min(1)).to(images)
    return torch.where(valid, images, mean)


def centred(values: Tensor) -> Tensor:
    """Scale values in [0, 1] to a mean near 0 and a deviation near 1; networks learn fastest so."""
    return 4 * (values - 0.4)
