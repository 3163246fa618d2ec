"""A user's own images: depth, gray, alpha and georeference are kept for the restored image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cloudkit.imaging.images import ImageError, decode, read_unit, write_image
from cloudkit.imaging.tiff import TIFF_SUFFIXES, Tag, geographic_tags

_BITS_AND_MAXIMUM: dict[str, tuple[Literal[8, 16, 32], float]] = {
    "uint8": (8, 255.0),
    "uint16": (16, 65535.0),
    "float32": (32, 1.0),
}


@dataclass(frozen=True)
class Picture:
    """An image for a network, with the properties of its file."""

    image: Tensor
    """Values (3, H, W), float32 in [0, 1]."""
    bits: Literal[8, 16, 32]
    """Bits of a stored value; 32 for floats."""
    white: float
    """Stored value that is 1 in `image`, as a fraction of the largest value of an integer type."""
    gray: bool
    """True if the file has one band of colour."""
    alpha: Tensor | None
    """Alpha channel (1, H, W), as a fraction of the largest value of an integer type."""
    tags: Sequence[Tag]
    """Georeference of a GeoTIFF."""


def read_picture(path: Path, *, peak: float | None = None) -> Picture:
    """Read an image with the properties of its file.

    Args:
        path: PNG, JPEG, TIFF or BMP; 8 bits, 16 bits or floats; RGB or gray; with or without alpha.
        peak: stored value that becomes 1. Default: the largest value of an integer type.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, or its content does not fit.
    """
    pixels, has_alpha = decode(path)
    image = read_unit(path, peak=peak)
    bits, maximum = _BITS_AND_MAXIMUM[str(pixels.dtype)]
    white = 1.0 if peak is None else peak / maximum
    if bits < 32 and white > 1:
        raise ImageError(
            f"{path} holds {pixels.dtype}, whose largest value is below the peak of {peak:g}; "
            "leave --peak out."
        )

    alpha = None
    if has_alpha:
        alpha = torch.from_numpy(pixels[None, ..., -1].astype("float32")) / maximum
    gray = pixels.shape[-1] - has_alpha == 1
    return Picture(image, bits, white, gray=gray, alpha=alpha, tags=geographic_tags(path))


def write_picture(path: Path, original: Picture, image: Tensor) -> Path:
    """Write a restored image (3, H, W) in [0, 1] with the file properties of its original.

    Returns:
        The file. Its suffix is .tif if PNG cannot hold the image: floats, or 16 bits with more than
        one band.
    """
    bands = image.mean(dim=0, keepdim=True) if original.gray else image
    bands = bands * original.white
    if original.alpha is not None:
        bands = torch.cat((bands, original.alpha))

    needs_tiff = original.bits == 32 or (original.bits == 16 and bands.shape[0] > 1)
    if needs_tiff and path.suffix.lower() not in TIFF_SUFFIXES:
        path = path.with_suffix(".tif")
    write_image(path, bands, bits=original.bits, tags=original.tags)
    return path
