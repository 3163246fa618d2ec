"""Pictures for people: images side by side under their titles."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_TITLE_HEIGHT = 22
_GAP = 4


def side_by_side(images: Mapping[str, Tensor | None]) -> Tensor:
    """Images of one height under their titles.

    Args:
        images: by title; (1 or 3, H, W), clamped to [0, 1]; one band is shown gray, None is left out.

    Returns:
        (3, H + title, W') in [0, 1], on the CPU.
    """
    there = {title: image for title, image in images.items() if image is not None}
    columns = [_titled(title, image.detach().float().cpu().clamp(0, 1)) for title, image in there.items()]
    gap = torch.ones(3, columns[0].shape[1], _GAP)
    return torch.cat([part for column in columns for part in (gap, column)][1:], dim=2)


def stacked(panels: Sequence[Tensor]) -> Tensor:
    """Panels (3, H, W) of any sizes as one picture, one below the other, with white where one is narrower."""
    width = max(panel.shape[2] for panel in panels)
    rows = [F.pad(panel, (0, width - panel.shape[2], 0, _GAP), value=1.0) for panel in panels]
    return torch.cat(rows, dim=1)


def _titled(title: str, image: Tensor) -> Tensor:
    strip = Image.new("L", (image.shape[2], _TITLE_HEIGHT), 255)
    ImageDraw.Draw(strip).text((4, 3), title, fill=0, font=ImageFont.load_default(13))
    heading = torch.from_numpy(np.array(strip)).float() / 255
    return torch.cat((heading.expand(3, -1, -1), image.expand(3, -1, -1)), dim=1)
