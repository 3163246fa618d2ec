"""Images of a user's own: what is not colour (depth, gray, alpha, place) is kept aside and comes back with the restored one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cloudkit.images import ImageError, decode, read_unit, write_image
from cloudkit.tiff import TIFF_SUFFIXES, Tag, geographic_tags

_KINDS: dict[str, tuple[Literal[8, 16, 32], float]] = {"uint8": (8, 255.0), "uint16": (16, 65535.0), "float32": (32, 1.0)}


@dataclass(frozen=True)
class Picture:
    """An image as networks want it, and what it takes to write another one like it."""

    image: Tensor
    """(3, H, W) float32 in [0, 1]."""
    bits: Literal[8, 16, 32]
    """Of the file to write; 32: floats."""
    white: float
    """What means 1: of floats the stored value, else its share of the stored type's range."""
    gray: bool
    """Whether the file has one band of colour."""
    alpha: Tensor | None
    """(1, H, W) as a share of the stored type's range, of floats as stored, if the file has an alpha channel."""
    tags: Sequence[Tag]
    """Where on Earth a GeoTIFF lies."""


def read_picture(path: Path, *, peak: float | None = None) -> Picture:
    """Read an image with all that belongs to it.

    Args:
        path: PNG, JPEG, TIFF or BMP, 8 or 16 bits or floating, RGB or gray, with or without alpha.
        peak: the stored value that means 1; default: the largest of an integer type.

    Raises:
        FileNotFoundError, ImageError: the file is not there, is damaged, or holds something else.
    """
    pixels, has_alpha = decode(path)
    image = read_unit(path, peak=peak)
    bits, largest = _KINDS[str(pixels.dtype)]
    white = 1.0 if peak is None else peak / largest
    if bits < 32 and white > 1:
        raise ImageError(f"{path} holds {pixels.dtype}, whose largest value is below the peak of {peak:g}; leave --peak out.")
    alpha = torch.from_numpy(pixels[None, ..., -1].astype("float32")) / largest if has_alpha else None
    gray = pixels.shape[-1] - has_alpha == 1
    return Picture(image, bits, white, gray=gray, alpha=alpha, tags=geographic_tags(path))


def write_picture(path: Path, like: Picture, image: Tensor) -> Path:
    """Write a restored image (3, H, W) in [0, 1] in the manner of the picture that it was made from.

    Returns:
        The file, whose ending is .tif where PNG cannot hold the picture (16 bits, unless gray without alpha; floats).
    """
    bands = image.mean(dim=0, keepdim=True) if like.gray else image
    bands = bands * like.white
    if like.alpha is not None:
        bands = torch.cat((bands, like.alpha))
    if like.bits > 8 and (bands.shape[0] > 1 or like.bits == 32) and path.suffix.lower() not in TIFF_SUFFIXES:
        path = path.with_suffix(".tif")
    write_image(path, bands, bits=like.bits, tags=like.tags)
    return path
