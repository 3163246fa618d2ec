"""Borders of one colour around an image: frames, captions, rims that hold no ground.

They would pass for dark ground or for cloud, and mislead what an image tells as a whole.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from thiefcloud.inference.tiles import Window

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
_STRIP = 256  # lines that are read at a time


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


class Lines(NamedTuple):
    """Image as lines that follow one another inwards from one of its edges."""

    number: int
    length: int
    read: Callable[[int, int], Tensor]
    """Function of the first line and the one behind the last, which returns (C, lines, length)."""

    def distance(self, start: int, stop: int, colour: Tensor) -> Tensor:
        """Return the distance of each pixel of some lines from a colour, (lines, length)."""
        return (self.read(start, stop) - colour).abs().amax(0)


def find_borders(image: Tensor) -> Borders:
    """Find the borders of an image. Each has one colour, nearly, and ends in a straight edge.

    A calm sea or a snow field has no such edge, so it is no border.

    Args:
        image: (C, H, W), floating, in [0, 1].
    """
    height, width = image.shape[1:]
    return find_borders_of(height, width, lambda window: window.of(image))


def find_borders_of(height: int, width: int, read: Callable[[Window], Tensor]) -> Borders:
    """Find the borders of an image that is read in strips.

    Args:
        height: of the image.
        width: the same.
        read: function of a window that returns its pixels (C, h, w).
    """

    def from_top(start: int, stop: int) -> Tensor:
        return read(Window.between(start, 0, stop, width))

    def from_bottom(start: int, stop: int) -> Tensor:
        return read(Window.between(height - stop, 0, height - start, width)).flip(1)

    def from_left(start: int, stop: int) -> Tensor:
        return read(Window.between(0, start, height, stop)).transpose(1, 2)

    def from_right(start: int, stop: int) -> Tensor:
        return read(Window.between(0, width - stop, height, width - start)).transpose(1, 2).flip(1)

    return Borders(
        top=_width(Lines(height, width, from_top)),
        bottom=_width(Lines(height, width, from_bottom)),
        left=_width(Lines(width, height, from_left)),
        right=_width(Lines(width, height, from_right)),
    )


def _width(lines: Lines) -> int:
    """Return the width of the border at the edge where the lines begin."""
    limit = int(_WIDEST * lines.number)
    total = min(limit + _NARROW + _BEHIND, lines.number)
    if total < _SHORTEST or lines.length < _SHORTEST:
        return 0

    # Leave out the borders on the left and on the right, which may have the same colour.
    colour = lines.read(0, 1)[:, 0].median(dim=1).values[:, None, None]
    between = ~_sides(lines, colour, total)
    if between.sum() < (1 - 2 * _WIDEST) * lines.length:
        return 0

    found = _compare(lines, colour, between, total)
    for width in range(1, min(limit, found.widest) + 1):
        ends = found.coloured[width - 1] >= _FILLED > found.coloured[width]
        if ends and (first := _first_ground(lines, found, width)):
            return min(first, limit)
    return 0


class _Compared(NamedTuple):
    """Lines of an image, compared with the colour of a border."""

    colour: Tensor
    """Colour of the border, (C, 1, 1)."""
    between: Tensor
    """Columns that are no border themselves, (length), bool."""
    coloured: Tensor
    """Fraction of the pixels of each line that have the colour."""
    close: Tensor
    """Number of pixels of each line that are as near to it as half of a wide border must be."""
    exact: Tensor
    """Answer whether all pixels of each line have exactly this colour."""
    widest: int
    """Number of lines before the first that no border may hold."""

    def median(self, lines: Lines, start: int, stop: int) -> Tensor:
        """Return the median distance of some lines from the colour."""
        return lines.distance(start, stop, self.colour)[:, self.between].median()


def _compare(lines: Lines, colour: Tensor, between: Tensor, total: int) -> _Compared:
    """Compare lines with the colour of a border, as far in as the border may reach.

    Args:
        lines: the image.
        colour: that of the border, (C, 1, 1).
        between: columns that are no border themselves.
        total: number of lines to look at.
    """
    coloured, close, exact = torch.empty(0), torch.empty(0, dtype=torch.long), torch.empty(0).bool()
    widest = total
    for start in range(0, total, _STRIP):
        distance = lines.distance(start, min(start + _STRIP, total), colour)[:, between]
        coloured = torch.cat((coloured, (distance <= _TOLERANCE).float().mean(1).cpu()))
        close = torch.cat((close, (distance <= _MEDIAN).sum(1).cpu()))
        exact = torch.cat((exact, (distance == 0).all(1).cpu()))

        others = (coloured < _LETTERED).nonzero()
        widest = int(others[0, 0]) if len(others) else total
        if len(coloured) >= widest + _NARROW + _BEHIND:
            break
    return _Compared(colour, between, coloured, close, exact, widest)


def _first_ground(lines: Lines, found: _Compared, width: int) -> int | None:
    """Return the first line of ground if a border of a width ends there, else None.

    Args:
        lines: the image.
        found: its lines, compared with the colour of the border.
        width: width of the border that is tried.
    """
    # A border has less noise than ground.
    coloured = found.coloured
    if width < _NARROW:
        even = bool((coloured[: max(width - 1, 1)] >= _FULL).all())
    else:
        pixels = width * int(found.between.sum())
        half_close = 2 * int(found.close[:width].sum()) > pixels - 1  # the lower median is close
        even = half_close and bool(coloured[:width].min() >= _LETTERED)
    if not even or coloured[max(width - _NARROW, 0)] < _FULL:
        return None

    # The colour ends everywhere at once.
    first = width + (0 if found.exact[:width].all() else _blurred(coloured[width:]))
    last = min(first + _BEHIND, len(coloured))
    if coloured[first:last].mean() > _GROUND:
        return None
    step = found.median(lines, first, last) - found.median(lines, width - 1, width)
    return None if step < _STEP else first


def _sides(lines: Lines, colour: Tensor, total: int) -> Tensor:
    """Find the columns that belong to borders on the left and on the right."""
    others = torch.zeros(lines.length)
    for start in range(0, total, _STRIP):
        distance = lines.distance(start, min(start + _STRIP, total), colour)
        others += (distance > _TOLERANCE).sum(0).cpu()
        if min(others[0], others[-1]) > (1 - _FULL) * total + 1:
            break  # the answer is none, and the other lines need not be read
    return _reaches_in((total - others) / total >= _FULL)


def _blurred(coloured: Tensor) -> int:
    """Return the number of lines in which a lossy format mixes a border with the ground.

    Args:
        coloured: fraction of the pixels that have the border's colour, in each line behind it.
    """
    few = (coloured[_BLURRED:_NARROW] <= _GROUND).nonzero()
    return _BLURRED + int(few[0, 0]) if len(few) else _BLURRED


def _reaches_in(columns: Tensor) -> Tensor:
    """Return the columns (W) that are True without a gap from the left or from the right."""
    columns = columns.int()
    from_left = columns.cumprod(0)
    from_right = columns.flip(0).cumprod(0).flip(0)
    return (from_left + from_right) > 0
