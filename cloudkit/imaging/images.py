"""Image files. Integer formats are converted here and in `tiff`, and nowhere else.

Inside the project an image is a float32 tensor (bands, H, W) with values in [0, 1]; three bands are
RGB. Files hold uint8 or uint16 pixels, scaled by the largest value of their type, or floats in
[0, 1].
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from cloudkit.errors import UserError
from cloudkit.files import write_atomically
from cloudkit.imaging.tiff import TIFF_SUFFIXES, Tag, decode_tiff, write_tiff

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class ImageError(UserError):
    """An image file that cannot be used. The message names it."""


def read_image(path: Path, *, bands: int = 3) -> Tensor:
    """Read an image in its stored type: uint8, uint16 or float32, (bands, H, W).

    A gray image is repeated over the bands, and equal bands are reduced to one. An alpha channel is
    dropped. An image that is stored rotated or flipped, and says so, is made upright.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, or its pixel type or number of bands does not fit.
    """
    pixels, has_alpha = decode(Path(path))
    if has_alpha:
        pixels = pixels[..., :-1]
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, bands, axis=-1)
    elif bands == 1 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]

    if pixels.shape[-1] != bands:
        raise ImageError(
            f"{path} has {pixels.shape[-1]} bands, expected {bands}. Write a copy with only the "
            "needed bands (red, green, blue, in this order), or use a network for that many bands."
        )
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())  # Pillow's own array is read-only


def to_unit(pixels: Tensor, *, peak: float | None = None) -> Tensor:
    """Convert stored pixels to float32 in [0, 1].

    Args:
        pixels: uint8, uint16 or floating, any shape.
        peak: stored value that becomes 1; larger values are clamped. Default: the largest value of
            an integer type, 1.0 for floats.

    Raises:
        ValueError: floats are not a number, or are outside [0, 1] without a peak.
    """
    floating = pixels.dtype.is_floating_point
    if peak is not None:
        if floating and pixels.isnan().any():
            raise ValueError(
                "some pixels are not a number (NaN), expected finite values; replace them first."
            )
        return (pixels.to(torch.float32) / peak).clamp_(0, 1)
    if not floating:
        return pixels.to(torch.float32) / torch.iinfo(pixels.dtype).max

    pixels = pixels.to(torch.float32)
    low, high = (float(value) for value in torch.aminmax(pixels))
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"floating pixels range from {low:g} to {high:g}, expected [0, 1]; "
            "name the value of white (peak)."
        )
    return pixels.clamp(0, 1)


def read_unit(path: Path, *, bands: int = 3, peak: float | None = None) -> Tensor:
    """Read an image as float32 in [0, 1], (bands, H, W).

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: as for `read_image`, or for values that `to_unit` rejects.
    """
    pixels = read_image(path, bands=bands)
    try:
        return to_unit(pixels, peak=peak)
    except ValueError as error:
        raise ImageError(f"{path}: {error}") from error


def write_image(path: Path, image: Tensor, *, bits: int = 8, tags: Sequence[Tag] = ()) -> None:
    """Write an image as PNG, JPEG, BMP or TIFF, as its suffix says. The file is never incomplete.

    Args:
        path: the file. Missing folders are created.
        image: floating, (bands, H, W). One band is gray, three are RGB; two and four have alpha.
        bits: 8 or 16 for the image clamped to [0, 1], 32 for floats as they are. PNG holds 16 bits
            only for gray, and no floats. TIFF holds all of them with any number of bands.
        tags: tags to add to a TIFF.

    Raises:
        ValueError: the format cannot hold this image.
    """
    if image.ndim != 3:
        raise ValueError(f"expected an image (bands, H, W), got the shape {tuple(image.shape)}.")
    values = image.detach().to("cpu", torch.float32)
    if bits != 32:
        values = values.clamp(0, 1).mul(2**bits - 1).round()
    dtype = {8: np.uint8, 16: np.uint16, 32: np.float32}[bits]
    pixels = values.permute(1, 2, 0).numpy().astype(dtype)

    path, bands = Path(path), image.shape[0]
    if path.suffix.lower() in TIFF_SUFFIXES:
        write_atomically(path, partial(write_tiff, pixels=pixels, tags=tags))
    elif (bits == 8 and bands <= 4) or (bits == 16 and bands == 1):
        picture = Image.fromarray(pixels[..., 0] if bands == 1 else pixels)
        write_atomically(path, partial(picture.save, quality=95))  # only JPEG has a quality
    else:
        raise ValueError(
            f"{path.name}: {bits} bits and {bands} bands need TIFF; end the name in .tif."
        )


def decode(path: Path) -> tuple[np.ndarray, bool]:
    """Read the stored pixels (H, W, bands), and whether the last band is alpha.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, empty or unreadable, or its pixel type does not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no image file {path}.")
    try:
        decoded = decode_tiff(path) if path.suffix.lower() in TIFF_SUFFIXES else None
        pixels, has_alpha = _decode_picture(path) if decoded is None else decoded
    except PermissionError as error:
        raise ImageError(
            f"{path} may not be read (permission denied); allow reading it, or leave it out."
        ) from error
    except Exception as error:  # decoders raise errors of many types on damaged files
        raise ImageError(
            f"{path} cannot be read as an image ({error}); it may be damaged: get a new copy."
        ) from error

    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ImageError(
            f"{path} has pixels of type {pixels.dtype}, "
            "expected uint8, uint16 or floats in [0, 1]; convert it."
        )
    if 0 in pixels.shape:
        raise ImageError(f"{path} is empty: its shape is {pixels.shape}.")
    return pixels, has_alpha


def _decode_picture(path: Path) -> tuple[np.ndarray, bool]:
    if _is_deep_colour_png(path):  # Pillow would silently keep only the upper 8 bits
        content = torch.from_numpy(np.fromfile(path, np.uint8))
        image = decode_image(content, ImageReadMode.UNCHANGED)
        return image.permute(1, 2, 0).numpy(), image.shape[0] in (2, 4)

    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I;16") or picture.mode == "I":
            pixels = np.asarray(picture)
            if pixels.max(initial=0) < 2**16:
                pixels = pixels.astype(np.uint16)
            return pixels[..., None], False

        has_alpha = picture.has_transparency_data
        mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
        pixels = np.asarray(picture.convert(f"{mode}A" if has_alpha else mode))
        return pixels.reshape(*pixels.shape[:2], -1), has_alpha


def _is_deep_colour_png(path: Path) -> bool:
    """Return True if the header says PNG with 16 bits a sample and more than one channel."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(b"\x89PNG") and header[24:25] == b"\x10" and header[25:26] != b"\x00"


def check_same_size(images: Sequence[Tensor], paths: Sequence[Path]) -> None:
    """Raise UserError unless all images have the same height and width."""
    sizes = [f"{image.shape[-2]}x{image.shape[-1]}" for image in images]
    if len(set(sizes)) > 1:
        files = " and ".join(f"{path} is {size}" for path, size in zip(paths, sizes, strict=True))
        raise UserError(
            f"{files} pixels; images of one place must have one size: crop or resample one of them."
        )
