"""Random changes of scale and colour of clear ground, before clouds are laid over it.

Networks learn a few hundred images by heart. Then they tell cloud from ground that they know, and
not from other ground. Clouds laid afterwards keep their exact thickness and their own colours.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_ZOOM = (0.5, 2.0)  # enlargement
_GAMMA, _OWN_GAMMA = 0.3, 0.15  # deviation of its logarithm, of all bands and of each
_GAIN = 0.2  # the same for a factor of each band
_MIXING = 0.1  # deviation of the part of a band that another one takes


def augment_ground(images: Tensor, seeds: Sequence[int], fraction: float) -> Tensor:
    """Change scale and colour of a fraction of clear images.

    Args:
        images: (N, bands, H, W), floating, in [0, 1].
        seeds: N integers, one for each image.
        fraction: fraction of the images that change.

    Returns:
        The images again, of the same shape, type and range.
    """
    augmented = images.clone()
    for number, seed in enumerate(seeds):
        random = np.random.default_rng(seed)
        if random.random() < fraction:
            augmented[number] = _recoloured(_rescaled(images[number], random), random)
    return augmented


def _rescaled(image: Tensor, random: np.random.Generator) -> Tensor:
    """Enlarge a part of an image (bands, H, W), or reduce it and repeat it mirrored beside."""
    size = image.shape[1:]
    zoom = _ZOOM[0] * (_ZOOM[1] / _ZOOM[0]) ** random.random()
    rows, columns = (max(round(length / zoom), 1) for length in size)

    # Mirror what is smaller than the part to cut, at most to twice its size.
    missing = (max(rows - size[0], 0), max(columns - size[1], 0))
    top, left = missing[0] // 2, missing[1] // 2
    margins = (left, missing[1] - left, top, missing[0] - top)
    wide = F.pad(image[None], margins, mode="reflect")

    # Cut a random part and bring it to the size of the image.
    top = int(random.integers(wide.shape[-2] - rows + 1))
    left = int(random.integers(wide.shape[-1] - columns + 1))
    part = wide[..., top : top + rows, left : left + columns]
    return F.interpolate(part, size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _recoloured(image: Tensor, random: np.random.Generator) -> Tensor:
    """Change the colours of an image (bands, H, W) by gamma, mixture of the bands, and gain."""
    bands = len(image)
    gamma = np.exp(_GAMMA * random.standard_normal() + _OWN_GAMMA * random.standard_normal(bands))
    gain = np.exp(_GAIN * random.standard_normal(bands))
    mixing = _MIXING * random.standard_normal((bands, bands))
    mixing += np.eye(bands) - mixing.mean(1, keepdims=True)  # gray stays gray
    drawn = np.concatenate((gain[:, None] * mixing, gamma[:, None]), axis=1)

    # Send all numbers at once, because each transfer to a GPU waits.
    numbers = torch.from_numpy(drawn).to(image)
    powers = image ** numbers[:, bands:, None]
    return torch.einsum("ij,jhw->ihw", numbers[:, :bands], powers).clamp(0, 1)
