"""A user's own images for a network, and back in the manner of their files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rasterio.enums import ColorInterp
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from cloudkit.imaging.formats import TIFF_SUFFIXES
from cloudkit.imaging.images import unit_of, write_image
from cloudkit.imaging.properties import Band, Properties
from cloudkit.imaging.raster import Raster, read_raster
from cloudkit.imaging.writing import fits_png, write_raster


@dataclass(frozen=True)
class Picture:
    """An image for a network, with all that its file holds."""

    image: Tensor
    """Values (3, H, W), float32 in [0, 1]. Pixels without data repeat the nearest one with data."""
    valid: Tensor
    """Pixels (H, W) with data."""
    white: float
    """Stored value that is 1 in `image`."""
    raster: Raster
    """Content of the file."""

    @property
    def is_gray(self) -> bool:
        """Flag for a file with one band of colour."""
        return self.raster.pixels.shape[-1] == 1


def read_picture(path: Path, *, peak: float | None = None) -> Picture:
    """Read an image with all that its file holds.

    Args:
        path: PNG, JPEG, TIFF, BMP, JPEG 2000 or WebP; RGB or gray; with or without alpha.
        peak: stored value that becomes 1. Default: the largest value of an integer type.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, or its content does not fit.
    """
    raster = read_raster(path)
    properties, white = raster.properties, peak
    if white is None:
        white = properties.maximum

    image, valid = unit_of(raster, path, peak=peak), raster.valid
    if valid.any() and not valid.all():
        image = image[:, *_nearest(valid)]
    return Picture(image, torch.from_numpy(valid), white, raster)


def write_picture(path: Path, original: Picture, image: Tensor) -> Path:
    """Write a restored image (3, H, W) in [0, 1] as its original was stored.

    Pixels without data keep their stored values.

    Returns:
        The file. Its suffix is .png if PNG can hold all of the original, else .tif.
    """
    raster = original.raster
    values = image.mean(dim=0, keepdim=True) if original.is_gray else image
    values = values.permute(1, 2, 0).clamp(0, 1) * original.white
    dtype = raster.pixels.dtype
    restored = (values if dtype.kind == "f" else values.round()).numpy().astype(dtype)
    pixels = np.where(original.valid[..., None].numpy(), restored, raster.pixels)

    path = path.with_suffix(".png" if fits_png(raster.properties) else ".tif")
    write_raster(path, replace(raster, pixels=pixels))
    return path


def write_thickness(path: Path, original: Picture, thickness: Tensor) -> Path:
    """Write a thickness map (1, H, W) in [0, 1]: 16-bit gray, 0 clear, 65535 opaque.

    Returns:
        The file: a GeoTIFF at the place of its original if that is known, else a PNG.
    """
    properties = original.raster.properties
    if not properties.place.is_known:
        path = path.with_suffix(".png")
        write_image(path, thickness, bits=16)
        return path

    band = Band(ColorInterp.gray, description="cloud thickness", scale=1 / 65535)
    kept = {"AREA_OR_POINT"} & properties.tags.get("", {}).keys()
    tags = {"": {name: properties.tags[""][name] for name in kept}}
    place, options = properties.place, {"compress": "deflate"}
    described = Properties("TIFF", "uint16", 65535, (band,), place, tags, options)
    pixels = thickness.mul(65535).round().permute(1, 2, 0).numpy().astype(np.uint16)
    valid = original.valid.numpy()
    mask = None if valid.all() else valid.astype(np.uint8) * 255

    path = path.with_suffix(TIFF_SUFFIXES[0])
    write_raster(path, Raster(pixels, None, mask, described))
    return path


def _nearest(valid: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return row and column of the valid pixel that is nearest to each pixel."""
    rows, columns = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return torch.from_numpy(rows), torch.from_numpy(columns)
