"""Image files with all that their properties say."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from cloudkit.files import write_atomically
from cloudkit.imaging.colours import inverted
from cloudkit.imaging.exif import add_exif
from cloudkit.imaging.formats import TIFF_SUFFIXES
from cloudkit.imaging.gdal import create_dataset
from cloudkit.imaging.metadata import write_properties
from cloudkit.imaging.photos import add_attachments, write_photo
from cloudkit.imaging.properties import NODATA_COLOUR, Properties
from cloudkit.imaging.raster import Raster

_MOST_PNG_BANDS = 4


def fits_png(properties: Properties) -> bool:
    """Return True if PNG can hold pixels of these properties, and all else of them."""
    return (
        properties.image_format not in ("TIFF", "JPEG 2000")
        and properties.dtype in ("uint8", "uint16")
        and len(properties.bands) <= _MOST_PNG_BANDS
    )


def write_raster(path: Path, raster: Raster) -> None:
    """Write an image as TIFF, PNG, JPEG or BMP, as its suffix says. It is never incomplete.

    Raises:
        ValueError: the format cannot hold this image.
    """
    pixels = _stored(raster)
    properties, suffix = raster.properties, path.suffix.lower()
    bands, dtype = pixels.shape[-1], properties.dtype
    if suffix in TIFF_SUFFIXES:
        write = partial(_write_tiff, pixels=pixels, mask=raster.mask, properties=properties)
    elif dtype == "uint8" and bands <= _MOST_PNG_BANDS:
        write = partial(write_photo, pixels=pixels, attachments=properties.attachments)
    elif dtype == "uint16" and bands <= _MOST_PNG_BANDS and suffix == ".png":
        write = partial(_write_deep_png, pixels=pixels, properties=properties)
    else:
        raise ValueError(f"{path.name}: {bands} bands of {dtype} need TIFF; end the name in .tif.")
    write_atomically(path, write)


def _stored(raster: Raster) -> np.ndarray:
    """Return pixels (H, W, bands) in the order of the file, alpha among them."""
    properties = raster.properties
    shape = (*raster.pixels.shape[:2], len(properties.bands))
    pixels = np.empty(shape, properties.dtype)
    pixels[..., properties.order] = raster.pixels
    if properties.alpha is not None:
        pixels[..., properties.alpha] = raster.alpha
    return inverted(pixels, properties) if properties.white_is_zero else pixels


def _write_tiff(
    path: Path, pixels: np.ndarray, mask: np.ndarray | None, properties: Properties
) -> None:
    options = {"bigtiff": "IF_SAFER", **_photometric(properties), **properties.options}
    overviews, resampling = properties.overviews, properties.resampling
    with create_dataset(
        path, "GTiff", overviews, resampling, **_shape(pixels), **options
    ) as dataset:
        write_properties(dataset, properties)
        dataset.write(pixels.transpose(2, 0, 1))
        if mask is not None and not properties.has_nodata_colour:
            dataset.write_mask(mask)

    if properties.attachments.exif:
        add_exif(path, properties.attachments.exif)


def _write_deep_png(path: Path, pixels: np.ndarray, properties: Properties) -> None:
    with create_dataset(path, "PNG", (), **_shape(pixels)) as dataset:
        dataset.colorinterp = [band.colour for band in properties.bands]
        if properties.has_nodata_colour:
            dataset.update_tags(**{NODATA_COLOUR: properties.tags[""][NODATA_COLOUR]})
        elif properties.bands[0].nodata is not None:
            dataset.nodata = properties.bands[0].nodata
        dataset.write(pixels.transpose(2, 0, 1))
    add_attachments(path, properties.attachments)


def _shape(pixels: np.ndarray) -> dict[str, Any]:
    height, width, count = pixels.shape
    return {"height": height, "width": width, "count": count, "dtype": pixels.dtype}


def _photometric(properties: Properties) -> dict[str, Any]:
    colours = [band.colour for band in properties.bands]
    if properties.white_is_zero:
        photometric = "miniswhite"
    elif colours[:3] == [ColorInterp.red, ColorInterp.green, ColorInterp.blue]:
        photometric = "rgb"
    else:
        photometric = "minisblack"
    alpha = "unspecified" if properties.alpha is None else "yes"
    return {"photometric": photometric, "alpha": alpha}
