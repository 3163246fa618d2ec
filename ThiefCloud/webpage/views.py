"""Pictures of scenes for the screen: overviews, and windows at full resolution."""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from thiefcloud.inference.rasters import RasterSource
from thiefcloud.inference.tiles import Window, whole

SIDE = 1024  # pixels, at most, of an overview
WINDOW = 512  # pixels, side of a window at full resolution
_STRIP = 512  # rows that are read at once
_USUAL = (0.01, 0.99)  # fractions of the values that become black and white
_MARK = (255, 200, 0)
Limits = tuple[float, float]


def overview(scene: RasterSource) -> Tensor:
    """Average a scene to at most `SIDE` pixels, (3, h, w), reading it strip by strip."""
    step = step_of(scene)
    pooled = []
    for strip in _strips(scene, max(_STRIP // step, 1) * step):
        pooled.append(F.avg_pool2d(strip, step, ceil_mode=True, count_include_pad=False))
    return torch.cat(pooled, dim=1)


def highest(scene: RasterSource) -> float:
    """Return the largest value of a scene, which its overview may not show."""
    return max(float(strip.max()) for strip in _strips(scene, _STRIP))


def _strips(scene: RasterSource, rows: int) -> Iterator[Tensor]:
    """Read a scene strip by strip."""
    for top in range(0, scene.height, rows):
        window = whole(scene).common(Window(top, 0, rows, scene.width))
        yield scene.read(window)[0]


def step_of(scene: RasterSource) -> int:
    """Return the number of pixels of a scene that become one of its overview, in each direction."""
    return math.ceil(max(scene.height, scene.width) / SIDE)


def window_around(scene: RasterSource, row: int, column: int) -> Window:
    """Return the window of a scene, at most `WINDOW` pixels wide, whose centre is near a pixel."""
    height, width = min(WINDOW, scene.height), min(WINDOW, scene.width)
    top = min(max(row - height // 2, 0), scene.height - height)
    left = min(max(column - width // 2, 0), scene.width - width)
    return Window(top, left, height, width)


def shown_limits(scene: RasterSource, image: Tensor) -> Limits:
    """Return the values of an overview that become black and white on the screen.

    Images of 8 bits are shown as they are. Reflectance would be dark.
    """
    seen = image[:, image.any(0)]
    if scene.file.properties.dtype == "uint8" or not seen.numel():
        return 0.0, 1.0
    low, high = np.quantile(seen.numpy(), _USUAL)
    return (float(low), float(high)) if high > low else (0.0, 1.0)


def picture_of(image: Tensor, limits: Limits = (0.0, 1.0)) -> np.ndarray:
    """Convert an image (3, h, w) to 8 bits (h, w, 3), with these values as black and white."""
    low, high = limits
    values = (image - low) / (high - low)
    return values.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def marked(picture: np.ndarray, window: Window, step: int) -> np.ndarray:
    """Draw the edges of a window of a scene into its overview (h, w, 3)."""
    image = Image.fromarray(picture)
    left, top = window.left // step, window.top // step
    right, bottom = (window.right - 1) // step, (window.bottom - 1) // step
    line = max(1, max(picture.shape) // 256)
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), outline=_MARK, width=line)
    return np.asarray(image)
