"""TIFF files: any number of bands, 16 bits and floats, orientation and georeference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

Tag = tuple[int, int, int, object, bool]  # as tifffile writes it: code, type, count, value, once
TIFF_SUFFIXES = (".tif", ".tiff")
_ALPHA = (1, 2)  # values of the tag ExtraSamples: associated and unassociated alpha
_ORIENTATION = 274
# Steps along rows and columns that make an image upright, for each value of the tag Orientation.
_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
# GeoTIFF 1.1 (OGC 19-008): pixel scale, tie points, transformation, and the keys of the coordinate
# system with their numbers and texts. The last is GDAL's no-data value.
_GEOGRAPHIC = (33550, 33922, 34264, 34735, 34736, 34737, 42113)


def decode_tiff(path: Path) -> tuple[np.ndarray, bool] | None:
    """Read the stored pixels (H, W, bands), upright, and whether the last band is alpha.

    Returns:
        The pixels and the answer, or None for a kind of TIFF that Pillow reads better.

    Raises:
        Exception: of any type, if the file is damaged.
    """
    photometric = tifffile.PHOTOMETRIC
    with tifffile.TiffFile(path) as file:
        page, series = file.pages.first, file.series[0]
        if page.photometric in (photometric.PALETTE, photometric.CIELAB, photometric.YCBCR):
            return None
        try:
            pixels = series.asarray()
        except ValueError:  # tifffile lacks this compression; Pillow knows the usual ones
            if page.bitspersample > 8 and (page.dtype, page.samplesperpixel) != (np.uint16, 1):
                raise  # Pillow would silently keep only the upper 8 bits
            return None

        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif pixels.ndim == 3 and series.axes[-1] != "S":  # bands first
            pixels = pixels.transpose(1, 2, 0)
        if pixels.ndim != 3:
            raise ValueError(
                f"expected one image with bands, found an array of shape {pixels.shape}"
            )

        if page.photometric == photometric.MINISWHITE and pixels.dtype.kind == "u":
            pixels = np.iinfo(pixels.dtype).max - pixels
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * 255

        orientation = page.tags.valueof(_ORIENTATION, 1)
        last_is_alpha = bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA
        return _upright(pixels, orientation), last_is_alpha and pixels.shape[-1] in (2, 4)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and flip pixels (H, W, bands) as the tag Orientation says."""
    if orientation in (5, 6, 7, 8):  # rows and columns are exchanged
        pixels = pixels.swapaxes(0, 1)
    row_step, column_step = _STEPS.get(orientation, (1, 1))
    return pixels[::row_step, ::column_step]


def geographic_tags(path: Path) -> list[Tag]:
    """Read the georeference of a TIFF.

    There is none for other files, nor for an image that is stored rotated, because its tags would
    not fit the upright image.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return []
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        if tags.valueof(_ORIENTATION, 1) != 1:
            return []
        found = [tags[code] for code in _GEOGRAPHIC if code in tags]
        return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in found]


def write_tiff(path: Path, pixels: np.ndarray, tags: Sequence[Tag] = ()) -> None:
    """Write pixels (H, W, bands). The last of two or four bands is alpha."""
    bands = pixels.shape[-1]
    tifffile.imwrite(
        path,
        pixels if bands > 1 else pixels[..., 0],
        photometric="rgb" if bands in (3, 4) else "minisblack",
        compression="zlib",
        planarconfig="contig",
        extrasamples=("unassalpha",) if bands in (2, 4) else None,
        extratags=tags,
        metadata=None,
    )
