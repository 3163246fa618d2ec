"""A user's own images for a network, and back in the manner of their files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rasterio.enums import ColorInterp
from torch import Tensor

from cloudkit.imaging.formats import TIFF_SUFFIXES
from cloudkit.imaging.images import write_image
from cloudkit.imaging.properties import Band, Properties
from cloudkit.imaging.raster import Raster, read_raster
from cloudkit.imaging.selection import Selection, select
from cloudkit.imaging.writing import result_suffix, write_raster


@dataclass(frozen=True)
class Picture:
    """An image for a network, with all that its file holds."""

    image: Tensor
    """Values (3, H, W), float32 in [0, 1]. Pixels without data are 0."""
    valid: Tensor
    """Pixels (H, W) with data."""
    raster: Raster
    """Content of the file."""
    selection: Selection
    """Bands that `image` shows, and their scale."""


def read_picture(path: Path, *, peak: float | None = None) -> Picture:
    """Read an image with all that its file holds.

    Args:
        path: PNG, JPEG, TIFF, BMP, JPEG 2000 or WebP; RGB or gray; with or without alpha.
        peak: stored value that becomes 1. Default: what the file says of its values, else the
            largest value of an integer type.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, or its content does not fit.
    """
    raster = read_raster(path)
    return picture_of(raster, select(raster.properties, path, peak=peak))


def picture_of(raster: Raster, selection: Selection) -> Picture:
    """Return an image that was read, as `read_picture` does.

    Raises:
        ImageError: values do not fit the scale.
    """
    valid = torch.from_numpy(selection.valid(raster))
    image = torch.where(valid, selection.to_unit(raster, whole=True), 0)
    return Picture(image, valid, raster, selection)


def write_picture(path: Path, original: Picture, image: Tensor, *, cog: bool = False) -> Path:
    """Write a restored image (3, H, W) in [0, 1] as its original was stored.

    Pixels without data, and bands that the network does not see, keep their stored values.

    Returns:
        The file. Its suffix is .tif for TIFF and JPEG 2000, else .png.
    """
    raster, selection = original.raster, original.selection
    stored = selection.to_stored(raster, original.image, image)
    path = path.with_suffix(result_suffix(raster.properties.image_format))
    write_raster(path, selection.merge(raster, stored), cog=cog)
    return path


def write_thickness(path: Path, original: Picture, thickness: Tensor, *, cog: bool = False) -> Path:
    """Write a thickness map (1, H, W) in [0, 1]: 16-bit gray, 0 clear, 65535 opaque.

    Returns:
        The file: a GeoTIFF at the place of its original if that is known, else a PNG.
    """
    properties = original.raster.properties
    path = path.with_suffix(thickness_suffix(properties))
    if path.suffix == ".png":
        write_image(path, thickness, bits=16)
        return path

    pixels = stored_thickness(thickness)
    valid = original.valid.numpy()
    mask = None if valid.all() else valid.astype(np.uint8) * 255
    write_raster(path, Raster(pixels, None, mask, thickness_properties(properties)), cog=cog)
    return path


def thickness_suffix(properties: Properties) -> str:
    """Return the suffix of the thickness map of an image."""
    return TIFF_SUFFIXES[0] if properties.place.is_known else ".png"


def thickness_properties(properties: Properties) -> Properties:
    """Return the properties of the thickness map of an image: its place, and 16-bit gray."""
    band = Band(ColorInterp.gray, description="cloud thickness", scale=1 / 65535)
    place, tags = properties.place, properties.place_tags
    return Properties("TIFF", "uint16", 65535, (band,), place, tags, {"compress": "deflate"})


def stored_thickness(thickness: Tensor) -> np.ndarray:
    """Convert a thickness map (1, H, W) in [0, 1] to stored values (H, W, 1)."""
    return thickness.mul(65535).round().permute(1, 2, 0).numpy().astype(np.uint16)
