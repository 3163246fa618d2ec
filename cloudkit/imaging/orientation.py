"""Images that are stored rotated or flipped, and say so."""

from dataclasses import replace

import numpy as np
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine
from rasterio.windows import Window

from cloudkit.imaging.formats import NotKeptError
from cloudkit.imaging.properties import Place

UPRIGHT = 1
# Steps along rows and columns that make an image upright, for each value of the tag Orientation.
_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
_TRANSPOSED = (5, 6, 7, 8)  # rows and columns are exchanged


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and flip pixels (H, W, ...) as the tag Orientation says."""
    if orientation in _TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    row_step, column_step = _STEPS.get(orientation, (1, 1))
    return pixels[::row_step, ::column_step]


def stored_window(window: Window, orientation: int, height: int, width: int) -> Window:
    """Return the place in the file of a window of the upright image.

    Args:
        window: the window.
        orientation: value of the tag Orientation.
        height: height of the upright image.
        width: width of the upright image.
    """
    row, column = window.row_off, window.col_off
    row_step, column_step = _STEPS.get(orientation, (1, 1))
    if row_step < 0:
        row = height - row - window.height
    if column_step < 0:
        column = width - column - window.width
    if orientation in _TRANSPOSED:
        return Window(row, column, window.height, window.width)
    return Window(column, row, window.width, window.height)


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return height and width of the upright image from those of the stored one."""
    return (width, height) if orientation in _TRANSPOSED else (height, width)


def upright_place(place: Place, orientation: int, height: int, width: int) -> Place:
    """Return the position of the upright image.

    Args:
        place: the position of the image as it is stored.
        orientation: value of the tag Orientation.
        height: height as stored.
        width: width as stored.

    Raises:
        NotKeptError: the position is a formula of the stored rows and columns.
    """
    if orientation not in range(2, 9) or not place.is_known:
        return place
    if place.rpcs:
        raise NotKeptError(
            f"it has the orientation {orientation}, and RPCs for the image as it is stored"
        )

    to_stored = Affine.identity()
    if orientation in _TRANSPOSED:
        to_stored, height, width = Affine(0, 1, 0, 1, 0, 0), width, height
    row_step, column_step = _STEPS.get(orientation, (1, 1))
    if column_step < 0:
        to_stored *= Affine.translation(width, 0) * Affine.scale(-1, 1)
    if row_step < 0:
        to_stored *= Affine.translation(0, height) * Affine.scale(1, -1)

    gcps: list[GroundControlPoint] = []
    for point in place.gcps[0]:
        column, row = ~to_stored * (point.col, point.row)
        gcps.append(
            GroundControlPoint(row, column, point.x, point.y, point.z, point.id, point.info)
        )
    located = place.transform != Affine.identity() or (place.crs and not gcps)
    transform = place.transform * to_stored if located else place.transform
    return replace(place, transform=transform, gcps=(gcps, place.gcps[1]))
