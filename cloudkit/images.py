"""Image files, read and written. Integer formats live here and nowhere else.

Inside the project an image is a float32 tensor (bands, H, W) with values in [0, 1], RGB where it has three bands. Files hold
uint8 or uint16 pixels, which are divided by the largest value of their type, or floats already in [0, 1].
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from cloudkit.errors import UserError
from cloudkit.files import write_atomically
from cloudkit.tiff import TIFF_SUFFIXES, Tag, decode_tiff, write_tiff

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class ImageError(UserError):
    """An image file cannot be used; the message names the file, what is wrong and what to do."""


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which "2.png" comes before "10.png"."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


def find_images(folder: Path, *, recursive: bool = True) -> list[Path]:
    """All image files in a folder, in natural order of their paths; hidden files and folders are passed over.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no image.
        PermissionError: a folder may not be looked into.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{folder} {what}; expected a folder of images ({', '.join(SUFFIXES)}).")
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        files = (Path(place, name) for name in names if not name.startswith("."))
        found += [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise FileNotFoundError(f"{folder} holds no image; expected files ending in {', '.join(SUFFIXES)}.")
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def _raise(error: OSError) -> None:
    raise error


def read_image(path: Path, *, bands: int = 3) -> Tensor:
    """Read an image as it is stored: uint8, uint16 or float32, (bands, H, W).

    A gray image is repeated over the bands, or taken from equal ones; an alpha channel is dropped; an image that the file holds
    turned or mirrored, and says so, is set upright.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, or its pixel type or number of bands does not fit.
    """
    pixels, has_alpha = decode(Path(path))
    if has_alpha:
        pixels = pixels[..., :-1]
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, bands, axis=-1)
    elif bands == 1 and (pixels == pixels[..., :1]).all():  # gray, saved as colour
        pixels = pixels[..., :1]
    if pixels.shape[-1] != bands:
        raise ImageError(
            f"{path} has {pixels.shape[-1]} bands, expected {bands}. Write a copy with only the bands that are "
            "wanted (red, green, blue, in this order), or use a network made for that number of bands."
        )
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())  # a copy of its own: Pillow's pixels are read-only


def to_unit(pixels: Tensor, *, peak: float | None = None) -> Tensor:
    """Stored pixels as float32 in [0, 1].

    Args:
        pixels: uint8, uint16 or floating, any shape.
        peak: the stored value that becomes 1, larger ones are clamped; default: the largest of an integer type, 1.0 of floats.

    Raises:
        ValueError: floats that are not a number, or that leave [0, 1] and no peak is given.
    """
    if peak is not None:
        if pixels.dtype.is_floating_point and pixels.isnan().any():
            raise ValueError("some pixels are not a number (NaN), expected finite ones; fill or cut them out.")
        return (pixels.to(torch.float32) / peak).clamp_(0, 1)
    if not pixels.dtype.is_floating_point:
        return pixels.to(torch.float32) / torch.iinfo(pixels.dtype).max
    pixels = pixels.to(torch.float32)
    low, high = (float(value) for value in torch.aminmax(pixels))
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(f"floating pixels range from {low:g} to {high:g}, expected [0, 1]; name the value of white (peak).")
    return pixels.clamp(0, 1)


def read_unit(path: Path, *, bands: int = 3, peak: float | None = None) -> Tensor:
    """Read an image as float32 in [0, 1], (bands, H, W). Raises as `read_image`; unusable values raise ImageError."""
    pixels = read_image(path, bands=bands)
    try:
        return to_unit(pixels, peak=peak)
    except ValueError as error:
        raise ImageError(f"{path}: {error}") from error


def write_image(path: Path, image: Tensor, *, bits: int = 8, tags: Sequence[Tag] = ()) -> None:
    """Write an image (bands, H, W) as PNG, JPEG or TIFF by the name's ending; never leaves half a file.

    Args:
        path: one band gives a gray file, three RGB, two and four the same with alpha. Missing folders are made.
        image: floating, (bands, H, W).
        bits: 8 or 16, of the image clamped to [0, 1]; 32: floats as they are. PNG takes 16 only for gray, and no floats;
            TIFF takes all, for any number of bands.
        tags: to write into a TIFF beside its own.

    Raises:
        ValueError: the format cannot hold this image.
    """
    path, bands = Path(path), image.shape[0]
    if image.ndim != 3:
        raise ValueError(f"expected an image (bands, H, W), got the shape {tuple(image.shape)}.")
    kind = {8: np.uint8, 16: np.uint16, 32: np.float32}[bits]
    values = image.detach().to("cpu", torch.float32)
    scaled = values if bits == 32 else values.clamp(0, 1).mul(2**bits - 1).round()
    pixels = scaled.permute(1, 2, 0).numpy().astype(kind)
    if path.suffix.lower() in TIFF_SUFFIXES:

        def write(temporary: Path) -> None:
            write_tiff(temporary, pixels, tags)
    elif (bits == 8 and bands <= 4) or (bits == 16 and bands == 1):
        picture = Image.fromarray(pixels[..., 0] if bands == 1 else pixels)

        def write(temporary: Path) -> None:
            picture.save(temporary, quality=95) if path.suffix.lower() in (".jpg", ".jpeg") else picture.save(temporary)
    else:
        raise ValueError(f"{path.name}: {bits} bits and {bands} bands need TIFF; end the name in .tif.")
    write_atomically(path, write)


def decode(path: Path) -> tuple[np.ndarray, bool]:
    """Pixels (H, W, bands) as stored, and whether the last band is alpha. Raises as `read_image`."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no image file {path}.")
    try:
        found = decode_tiff(path) if path.suffix.lower() in TIFF_SUFFIXES else None
        pixels, has_alpha = _decode_picture(path) if found is None else found
    except PermissionError as error:
        raise ImageError(f"{path} may not be read (permission denied); get leave to read it, or leave it out.") from error
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise ImageError(f"{path} cannot be read as an image ({error}); it may be damaged: fetch or write it anew.") from error
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise ImageError(f"{path} has pixels of type {pixels.dtype}, expected uint8, uint16 or floats in [0, 1]; convert it.")
    if 0 in pixels.shape:
        raise ImageError(f"{path} is empty: its shape is {pixels.shape}.")
    return pixels, has_alpha


def _decode_picture(path: Path) -> tuple[np.ndarray, bool]:
    if _is_deep_colour_png(path):  # Pillow would silently keep only the upper 8 bits
        pixels = decode_image(torch.from_numpy(np.fromfile(path, np.uint8)), ImageReadMode.UNCHANGED)
        return pixels.permute(1, 2, 0).numpy(), pixels.shape[0] in (2, 4)
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I;16") or picture.mode == "I":
            pixels = np.asarray(picture)
            return (pixels.astype(np.uint16) if pixels.max(initial=0) < 2**16 else pixels)[..., None], False
        has_alpha = picture.has_transparency_data
        gray = picture.mode in ("1", "L", "LA")
        mode = ("L" if gray else "RGB") + ("A" if has_alpha else "")
        pixels = np.asarray(picture.convert(mode))
        return pixels.reshape(*pixels.shape[:2], -1), has_alpha


def _is_deep_colour_png(path: Path) -> bool:
    """Whether the header says PNG with 16 bits a sample and more than one channel."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(b"\x89PNG") and header[24:25] == b"\x10" and header[25:26] != b"\x00"
