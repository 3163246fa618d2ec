"""TIFF files: any number of bands, 16 bits and floats, how they are turned, and where on Earth they lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

Tag = tuple[int, int, int, object, bool]  # as tifffile writes it: code, type, count, value, once
TIFF_SUFFIXES = (".tif", ".tiff")
_ALPHA = (1, 2)  # tag ExtraSamples: associated and unassociated alpha
_ORIENTATION = 274
# GeoTIFF 1.1 (OGC 19-008): pixel scale, tie points, transformation, and the keys of the coordinate system with their numbers and
# texts; last GDAL's value of pixels that hold nothing.
_GEOGRAPHIC = (33550, 33922, 34264, 34735, 34736, 34737, 42113)


def decode_tiff(path: Path) -> tuple[np.ndarray, bool] | None:
    """Pixels (H, W, bands) as stored but upright, and whether the last band is alpha; None for a kind that Pillow reads better.

    Raises:
        Exception: of any kind, where the file is damaged.
    """
    with tifffile.TiffFile(path) as file:
        page, series = file.pages.first, file.series[0]
        if page.photometric in (tifffile.PHOTOMETRIC.PALETTE, tifffile.PHOTOMETRIC.CIELAB, tifffile.PHOTOMETRIC.YCBCR):
            return None
        try:
            pixels = series.asarray()
        except ValueError:  # a compression that tifffile leaves to another package; Pillow knows the usual ones
            if page.bitspersample > 8 and (page.dtype, page.samplesperpixel) != (np.uint16, 1):
                raise  # Pillow would silently keep only the upper 8 bits
            return None
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif pixels.ndim == 3 and series.axes[-1] != "S":  # bands first
            pixels = pixels.transpose(1, 2, 0)
        if pixels.ndim != 3:
            raise ValueError(f"expected one image with bands, found an array of shape {pixels.shape}")
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind == "u":
            pixels = np.iinfo(pixels.dtype).max - pixels
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * 255
        has_alpha = bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA and pixels.shape[-1] in (2, 4)
        return _upright(pixels, page.tags.valueof(_ORIENTATION, 1)), has_alpha


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, bands) with the first row on top and the first column at the left, as the tag Orientation says."""
    if orientation in (5, 6, 7, 8):  # stored by columns
        pixels = pixels.swapaxes(0, 1)
    down, right = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return pixels[::down, ::right]


def geographic_tags(path: Path) -> list[Tag]:
    """The tags that say where on Earth an image lies; none of a file that is no TIFF, and of one that is stored turned."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return []
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        if tags.valueof(_ORIENTATION, 1) != 1:
            return []
        found = [tags[code] for code in _GEOGRAPHIC if code in tags]
        return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in found]


def write_tiff(path: Path, pixels: np.ndarray, tags: Sequence[Tag] = ()) -> None:
    """Write pixels (H, W, bands); of two and four bands the last is alpha."""
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
