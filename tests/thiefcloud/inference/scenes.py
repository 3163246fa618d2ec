"""Networks and scenes for the tests of tiles."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thiefcloud
from scpm import Prior
from tests.helpers import noise
from thiefcloud import NoPrior, RemovalNetwork, Restoration, ThiefCloud
from thiefcloud.inference.tiles import ArrayTarget, Source


class Blur(RemovalNetwork):
    """A network that sees nine pixels, and is fast."""

    kind = "blur"

    def __init__(self) -> None:
        super().__init__(3, residual=False, inversion=False)
        self.prior, self.inversion = NoPrior(3), None
        self.gain = nn.Parameter(torch.tensor(0.5))

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        return Restoration(self.gain * F.avg_pool2d(image, 3, 1, 1), None, None, prior.thickness)


def with_random_residual() -> ThiefCloud:
    """The released network, which changes much behind its inversion."""
    model = thiefcloud.load("general")
    assert isinstance(model, ThiefCloud)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.level_full.head.parameters():
            weight.normal_(std=0.05)
    return model


def scene(height: int, width: int, seed: int = 0) -> Tensor:
    """Ground with texture and a corner without data."""
    coarse = noise(seed, height=height // 16 + 2, width=width // 16 + 2)
    smooth = F.interpolate(coarse[None], size=(height, width), mode="bilinear")[0]
    image = 0.1 + 0.7 * smooth + 0.1 * noise(seed + 1, height=height, width=width)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    image[:, rows + columns < 40] = 0
    return image


def empty_target(source: Source) -> ArrayTarget:
    """A target with NaN where nothing is written."""
    shape = source.bands, source.height, source.width
    thickness = np.full((1, *shape[1:]), np.nan, np.float32)
    return ArrayTarget(np.full(shape, np.nan, np.float32), thickness)
