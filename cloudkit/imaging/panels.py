"""Figures for people: images side by side under their titles."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_TITLE_HEIGHT = 22
_GAP = 4


def side_by_side(images: Mapping[str, Tensor | None]) -> Tensor:
    """Place images of one height side by side under their titles.

    Args:
        images: by title; (1 or 3, H, W), clamped to [0, 1]. One band is gray, None is left out.

    Returns:
        One image (3, H + title, W') in [0, 1], on the CPU.
    """
    columns: list[Tensor] = []
    for title, image in images.items():
        if image is None:
            continue
        column = _titled(title, image.detach().float().cpu().clamp(0, 1))
        if columns:
            columns.append(torch.ones(3, column.shape[1], _GAP))
        columns.append(column)
    return torch.cat(columns, dim=2)


def stacked(panels: Sequence[Tensor]) -> Tensor:
    """Place panels (3, H, W) of any sizes below each other, and fill up narrow ones with white."""
    width = max(panel.shape[2] for panel in panels)
    rows = [F.pad(panel, (0, width - panel.shape[2], 0, _GAP), value=1.0) for panel in panels]
    return torch.cat(rows, dim=1)


def _titled(title: str, image: Tensor) -> Tensor:
    strip = Image.new("L", (image.shape[2], _TITLE_HEIGHT), 255)
    ImageDraw.Draw(strip).text((4, 3), title, fill=0, font=ImageFont.load_default(13))
    heading = torch.from_numpy(np.array(strip)).float() / 255
    return torch.cat((heading.expand(3, -1, -1), image.expand(3, -1, -1)), dim=1)
