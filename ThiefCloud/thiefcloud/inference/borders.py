"""Borders of one colour around an image: frames, captions, rims that hold no ground.

They would pass for dark ground or for cloud, and mislead what an image tells as a whole.
"""

from typing import NamedTuple

from torch import Tensor

_TOLERANCE = 10 / 255  # from the colour; JPEG leaves noise in a border
_MEDIAN = 3 / 255  # the same for half of the pixels of a wide border
_NARROW = 9  # pixels, a block of JPEG, all of which is noisy, and one
_FULL = 0.9  # fraction of a line that has the colour, of a narrow border or before its edge
_FILLED = 0.6  # the same of most lines of a border
_LETTERED = 0.35  # the same of lines with lettering, in a wide border
_GROUND = 0.25  # fraction of the lines behind a border that may have its colour
_BEHIND = 4  # lines behind a border that are compared with it
_BLURRED = 2  # lines behind a border that lossy formats mix with it, at least
_STEP = 16 / 255  # from a border to the ground
_SHORTEST = 8  # pixels in a line, of which the colour can be told
_WIDEST = 0.34  # fraction of the image


class Borders(NamedTuple):
    """Widths of the borders of an image in pixels."""

    top: int
    bottom: int
    left: int
    right: int

    def inside(self, image: Tensor) -> Tensor:
        """Return the part (..., h, w) of an image (..., H, W) that they enclose."""
        height, width = image.shape[-2:]
        return image[..., self.top : height - self.bottom, self.left : width - self.right]


def find_borders(image: Tensor) -> Borders:
    """Find the borders of an image. Each has one colour, nearly, and ends in a straight edge.

    A calm sea or a snow field has no such edge, so it is no border.

    Args:
        image: (C, H, W), floating, in [0, 1].
    """
    columns = image.transpose(1, 2)
    return Borders(
        top=_width(image),
        bottom=_width(image.flip(1)),
        left=_width(columns),
        right=_width(columns.flip(1)),
    )


def _width(image: Tensor) -> int:
    """Return the width of the border at the top."""
    limit = int(_WIDEST * image.shape[1])
    lines = image[:, : limit + _NARROW + _BEHIND]
    if lines.shape[1] < _SHORTEST or lines.shape[2] < _SHORTEST:
        return 0

    # Leave out the borders on the left and on the right, which may have the same colour.
    colour = lines[:, 0].median(dim=1).values[:, None, None]
    distance = (lines - colour).abs().amax(0)
    sides = _reaches_in((distance <= _TOLERANCE).float().mean(0) >= _FULL)
    distance = distance[:, ~sides]
    if distance.shape[1] < (1 - 2 * _WIDEST) * image.shape[2]:
        return 0

    coloured = (distance <= _TOLERANCE).float().mean(1)
    for width in range(1, limit + 1):
        ends = coloured[width - 1] >= _FILLED > coloured[width]
        if ends and (first := _first_ground(distance, coloured, width)):
            return min(first, limit)
    return 0


def _first_ground(distance: Tensor, coloured: Tensor, width: int) -> int | None:
    """Return the first line of ground if a border of a width ends there, else None.

    Args:
        distance: distances of the pixels from the colour of the border, (lines, W).
        coloured: fraction of the pixels of each line that have it.
        width: width of the border that is tried.
    """
    # The colour ends everywhere at once.
    border = distance[:width]
    first = width + _blurred(border, coloured[width:])
    behind = slice(first, first + _BEHIND)
    step = distance[behind].median() - border[-1].median()
    before = coloured[max(width - _NARROW, 0)]
    if before < _FULL or coloured[behind].mean() > _GROUND or step < _STEP:
        return None

    # A border has less noise than ground.
    if width < _NARROW:
        even = bool((coloured[: max(width - 1, 1)] >= _FULL).all())
    else:
        even = bool(border.median() <= _MEDIAN and coloured[:width].min() >= _LETTERED)
    return first if even else None


def _blurred(border: Tensor, coloured: Tensor) -> int:
    """Return the number of lines in which a lossy format mixes a border with the ground.

    Args:
        border: distances of its pixels from its colour, (lines, W).
        coloured: fraction of the pixels that have it, in each line behind.
    """
    if not border.any():
        return 0
    few = (coloured[_BLURRED:_NARROW] <= _GROUND).nonzero()
    return _BLURRED + int(few[0, 0]) if len(few) else _BLURRED


def _reaches_in(columns: Tensor) -> Tensor:
    """Return the columns (W) that are True without a gap from the left or from the right."""
    columns = columns.int()
    from_left = columns.cumprod(0)
    from_right = columns.flip(0).cumprod(0).flip(0)
    return (from_left + from_right) > 0
