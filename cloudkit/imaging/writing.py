"""Image files with all that their properties say."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, Resampling

from cloudkit.files import write_atomically
from cloudkit.imaging.colours import inverted
from cloudkit.imaging.exif import add_exif
from cloudkit.imaging.formats import TIFF_SUFFIXES
from cloudkit.imaging.gdal import copy_as_cog, create_dataset
from cloudkit.imaging.metadata import write_properties
from cloudkit.imaging.photos import add_attachments, write_photo
from cloudkit.imaging.properties import NODATA_COLOUR, Properties
from cloudkit.imaging.raster import Raster

_MOST_PNG_BANDS = 4
_COG_COMPRESSIONS = ("LZW", "DEFLATE", "ZSTD", "LZMA", "WEBP", "LERC", "LERC_ZSTD", "LERC_DEFLATE")


def result_suffix(image_format: str) -> str:
    """Return the suffix of a file for all that an image of a format may hold: .tif or .png."""
    return TIFF_SUFFIXES[0] if image_format in ("TIFF", "JPEG 2000") else ".png"


def write_raster(path: Path, raster: Raster, *, cog: bool = False) -> None:
    """Write an image as TIFF, PNG, JPEG or BMP, as its suffix says. It is never incomplete.

    Args:
        path: the file.
        raster: its content.
        cog: write a TIFF as a Cloud Optimized GeoTIFF.

    Raises:
        ValueError: the format cannot hold this image.
    """
    pixels = stored_pixels(raster)
    properties, suffix = raster.properties, path.suffix.lower()
    bands, dtype = pixels.shape[-1], properties.dtype
    if suffix in TIFF_SUFFIXES:
        write = partial(_write_tiff, pixels=pixels, raster=raster, cog=cog)
    elif dtype == "uint8" and bands <= _MOST_PNG_BANDS:
        write = partial(write_photo, pixels=pixels, attachments=properties.attachments)
    elif dtype == "uint16" and bands <= _MOST_PNG_BANDS and suffix == ".png":
        write = partial(_write_deep_png, pixels=pixels, properties=properties)
    else:
        raise ValueError(f"{path.name}: {bands} bands of {dtype} need TIFF; end the name in .tif.")
    write_atomically(path, write)


def stored_pixels(raster: Raster) -> np.ndarray:
    """Return pixels (H, W, bands) in the order of the file, alpha among them."""
    properties = raster.properties
    shape = (*raster.pixels.shape[:2], len(properties.bands))
    pixels = np.empty(shape, properties.dtype)
    pixels[..., properties.order] = raster.pixels
    if properties.alpha is not None:
        pixels[..., properties.alpha] = raster.alpha
    return inverted(pixels, properties) if properties.white_is_zero else pixels


def tiff_options(properties: Properties) -> dict[str, Any]:
    """Return options of GDAL that write a TIFF of these properties."""
    return {"bigtiff": "IF_SAFER", **_photometric(properties), **properties.options}


def make_cog(path: Path, properties: Properties) -> None:
    """Replace a TIFF by a Cloud Optimized GeoTIFF. EXIF data has no place in it."""
    compression = str(properties.options.get("compress", "DEFLATE")).upper()
    options = {"copy_src_mdd": "YES"}  # tags of all namespaces
    options["compress"] = compression if compression in _COG_COMPRESSIONS else "DEFLATE"
    if "predictor" in properties.options:
        options["predictor"] = properties.options["predictor"]
    if "nbits" in properties.options:
        options["nbits"] = properties.options["nbits"]
    if compression == "WEBP":
        options["quality"] = "100"  # without loss
    resampling = properties.resampling if properties.overviews else Resampling.average

    copy = path.with_name(f"{path.name}.cog")
    try:
        copy_as_cog(path, copy, overview_resampling=resampling.name, **options)
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)


def _write_tiff(path: Path, pixels: np.ndarray, raster: Raster, cog: bool) -> None:
    properties, mask = raster.properties, raster.mask
    overviews, resampling = properties.overviews, properties.resampling
    with create_dataset(
        path, "GTiff", overviews, resampling, **_shape(pixels), **tiff_options(properties)
    ) as dataset:
        write_properties(dataset, properties)
        dataset.write(pixels.transpose(2, 0, 1))
        if mask is not None and not properties.has_nodata_colour:
            dataset.write_mask(mask)

    if cog:
        make_cog(path, properties)
    elif properties.attachments.exif:
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
