"""Images of a user's own: what is not colour (depth, gray, alpha) is kept aside and comes back with the restored image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cloudkit.images import TIFF_SUFFIXES, ImageError, decode, read_unit, write_image


@dataclass(frozen=True)
class Picture:
    """An image as networks want it, and what it takes to write another one like it."""

    image: Tensor
    """(3, H, W) float32 in [0, 1]."""
    bits: Literal[8, 16]
    """Of the file to write; floating images are written with 16."""
    white: float
    """Value in [0, 1] of the stored type's range that means 1."""
    gray: bool
    """Whether the file has one band of colour."""
    alpha: Tensor | None
    """(1, H, W) in [0, 1], if the file has an alpha channel."""


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
    deep = pixels.dtype != "uint8"
    largest = {"uint8": 255.0, "uint16": 65535.0}.get(str(pixels.dtype))
    white = peak / largest if peak is not None and largest is not None else 1.0
    if white > 1:
        raise ImageError(f"{path} holds {pixels.dtype}, whose largest value is below the peak of {peak:g}; leave --peak out.")
    alpha = torch.from_numpy(pixels[None, ..., -1].astype("float32")) / (largest or 1.0) if has_alpha else None
    return Picture(image, 16 if deep else 8, white, gray=pixels.shape[-1] - has_alpha == 1, alpha=alpha)


def write_picture(path: Path, like: Picture, image: Tensor) -> Path:
    """Write a restored image (3, H, W) in [0, 1] in the manner of the picture that it was made from.

    Returns:
        The file, whose ending is .tif where PNG cannot hold the picture (16 bits, unless gray without alpha).
    """
    bands = image.mean(dim=0, keepdim=True) if like.gray else image
    bands = bands * like.white
    if like.alpha is not None:
        bands = torch.cat((bands, like.alpha))
    if like.bits == 16 and bands.shape[0] > 1 and path.suffix.lower() not in TIFF_SUFFIXES:
        path = path.with_suffix(".tif")
    write_image(path, bands, bits=like.bits)
    return path
