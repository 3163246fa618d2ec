"""TIFF files of scenes that do not fit in memory, written window by window."""

import errno
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from cloudkit.files import write_atomically
from cloudkit.imaging.exif import add_exif
from cloudkit.imaging.gdal import add_overviews, create_on_disk, open_dataset
from cloudkit.imaging.metadata import write_properties
from cloudkit.imaging.properties import Properties
from cloudkit.imaging.raster import Raster
from cloudkit.imaging.writing import make_cog, stored_pixels, tiff_options

_BLOCK = 512  # pixels, side of a block of the file
_BLOCKS = 4  # blocks in a window, side by side
_PREDICTED = ("LZW", "DEFLATE", "ZSTD")  # compressions with a predictor


def write_scene(
    path: Path,
    properties: Properties,
    size: tuple[int, int],
    read: Callable[[Window], Raster],
    *,
    cog: bool = False,
) -> None:
    """Write a TIFF in blocks of 512 pixels. It is complete or absent, and read again to be sure.

    Args:
        path: the file.
        properties: those of the file. Without compression it gets DEFLATE.
        size: height and width.
        read: returns the content of a window.
        cog: write a Cloud Optimized GeoTIFF.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    tiled = replace(properties, options=_tiled(properties))
    write_atomically(path, partial(_write, properties=tiled, size=size, read=read, cog=cog))


def _write(
    path: Path,
    properties: Properties,
    size: tuple[int, int],
    read: Callable[[Window], Raster],
    cog: bool,
) -> None:
    profile = {"height": size[0], "width": size[1], "count": len(properties.bands)}
    checksums = []
    with create_on_disk(
        path, dtype=properties.dtype, **profile, **tiff_options(properties)
    ) as dataset:
        write_properties(dataset, properties)
        for window in _windows(size):
            raster = read(window)
            pixels = np.ascontiguousarray(stored_pixels(raster).transpose(2, 0, 1))
            dataset.write(pixels, window=window)
            if raster.mask is not None and not properties.has_nodata_colour:
                dataset.write_mask(raster.mask, window=window)
            checksums.append(_checksum(pixels, properties))

    if cog:
        make_cog(path, properties)
    elif properties.overviews:
        add_overviews(path, properties.overviews, properties.resampling)
    _verify(path, properties, size, checksums)
    if properties.attachments.exif and not cog:
        add_exif(path, properties.attachments.exif)


def _verify(
    path: Path, properties: Properties, size: tuple[int, int], checksums: list[int]
) -> None:
    """Read all pixels again, because GDAL does not report a disk that was full at the end."""
    try:
        with open_dataset(path, "TIFF") as dataset:
            for window, checksum in zip(_windows(size), checksums, strict=True):
                if _checksum(dataset.read(window=window), properties) != checksum:
                    raise ValueError("a block is not the one that was written")
    except Exception as error:  # decoders raise errors of many types on incomplete files
        raise OSError(
            errno.EIO,
            f"{path.parent} got an incomplete file ({error}); its disk is full or failing. Free "
            "space and run the same command again",
        ) from error


def _checksum(pixels: np.ndarray, properties: Properties) -> int:
    if pixels.dtype == np.float32 and properties.options.get("nbits") == 16:
        pixels = pixels.astype(np.float16)  # the file rounds them
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _windows(size: tuple[int, int]) -> Iterator[Window]:
    """Divide a file into windows of whole blocks, in the order of the blocks."""
    height, width = size
    for row in range(0, height, _BLOCK):
        for column in range(0, width, _BLOCKS * _BLOCK):
            yield Window(
                column, row, min(_BLOCKS * _BLOCK, width - column), min(_BLOCK, height - row)
            )


def _tiled(properties: Properties) -> dict[str, object]:
    options = {"compress": "DEFLATE", **properties.options}
    options |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK}
    if str(options["compress"]).upper() in _PREDICTED and "nbits" not in options:
        predictor = 3 if properties.dtype.startswith("float") else 2
        options = {"predictor": predictor, **options}
    return options
