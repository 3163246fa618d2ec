"""Images as tensors. Integers become fractions here, and nowhere else.

Inside the project an image is a float32 tensor (bands, H, W) with values in [0, 1]; three bands are
RGB. Files hold integers, scaled by the largest value of their bits, or floats in [0, 1]. Pixels
without data are 0 in all bands.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.properties import MAXIMA, plain
from cloudkit.imaging.raster import Raster, read_raster
from cloudkit.imaging.writing import write_raster

_USED = 0.5  # fraction of the range of 16 bits below which --peak may be missing
_HINTED: set[Path] = set()  # folders that the hint was shown for
_USUAL_WHITES = (255, 4095, 10000, 65535)  # of floats that were integers
_FAR_ABOVE_UNIT = 100.0  # a peak that images with values up to 1 cannot have


def read_image(path: Path, *, bands: int = 3) -> Tensor:
    """Read an image in its stored type: uint8, uint16, int16 or floating, (bands, H, W).

    A gray image is repeated over the bands, and equal bands are reduced to one. An alpha channel is
    dropped, and pixels without data become 0. An image that is stored rotated or flipped, and says
    so, is made upright. Fewer bits than those of the type are scaled to its range.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, or its pixel type or number of bands does not fit.
    """
    raster = read_raster(Path(path))
    pixels = bands_of(raster, Path(path), bands)
    largest = MAXIMA[raster.properties.dtype]
    if raster.properties.maximum != largest:
        pixels = np.rint(pixels * (largest / raster.properties.maximum)).astype(pixels.dtype)
    return torch.from_numpy(pixels)


def bands_of(raster: Raster, path: Path, bands: int) -> np.ndarray:
    """Return the pixels (bands, H, W), as `read_image` describes them.

    Raises:
        ImageError: the number of bands does not fit.
    """
    pixels = raster.pixels
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, bands, axis=-1)
    elif bands == 1 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]

    if pixels.shape[-1] != bands:
        if bands == 1:
            raise ImageError(
                f"{path} has {pixels.shape[-1]} bands that differ, expected one. Name a file or "
                f"folder of maps, or write a copy with the band of the map alone: "
                f"`rio stack {path.name} --bidx 1 -o map.tif`."
            )
        raise ImageError(
            f"{path} has {pixels.shape[-1]} bands, expected {bands}. Write a copy with only the "
            "needed bands, in the order red, green, blue: "
            f"`rio stack {path.name} --bidx 3,2,1 -o rgb.tif` takes bands 3, 2 and 1."
        )
    pixels = np.where(raster.has_data[..., None], pixels, pixels.dtype.type(0))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def to_unit(pixels: Tensor, *, peak: float | None = None, part: bool = False) -> Tensor:
    """Convert stored pixels to float32 in [0, 1].

    Args:
        pixels: integers or floating, any shape.
        peak: stored value that becomes 1; larger values are clamped. Default: the largest value of
            an integer type, 1.0 for floats.
        part: the pixels are a part of an image, and may all be far below its peak.

    Raises:
        ValueError: floats are not a number, or are outside [0, 1] without a peak.
    """
    floating = pixels.dtype.is_floating_point
    if floating and not pixels.isfinite().all():
        raise ValueError(
            "some pixels are infinite or not a number (NaN), expected finite values; replace them "
            "first."
        )
    if peak is not None:
        _require_held(pixels, peak)
        if floating and not part and pixels.numel():
            require_reach(float(pixels.max()), pixels.dtype, peak)
        return (pixels.to(torch.float32) / peak).clamp_(0, 1)
    if not floating:
        return (pixels.to(torch.float32) / torch.iinfo(pixels.dtype).max).clamp_min_(0)

    pixels = pixels.to(torch.float32)
    low, high = (float(value) for value in torch.aminmax(pixels))
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"floating pixels range from {low:g} to {high:g}, expected [0, 1]; "
            f"{_advice_for(low, high)}."
        )
    return pixels.clamp(0, 1)


def _advice_for(low: float, high: float) -> str:
    """Say what to do with floats that leave [0, 1]."""
    if high <= 1:
        return "scale them to it, or give --peak 1 to make negative values black"
    for white in _USUAL_WHITES:
        if low >= 0 and _USED * white <= high <= white:
            return f"if white is {white}, give --peak {white}"
    return "name the value of white by --peak"


def _require_held(pixels: Tensor, peak: float) -> None:
    """Raise ValueError for integers that cannot reach a peak."""
    if not pixels.dtype.is_floating_point and torch.iinfo(pixels.dtype).max < peak:
        kind = str(pixels.dtype).removeprefix("torch.")
        raise ValueError(
            f"it holds {kind}, whose largest value is below the peak of {peak:g}; leave --peak out."
        )


def require_reach(
    highest: float, dtype: torch.dtype, peak: float, advice: str = "leave --peak out"
) -> None:
    """Raise ValueError for an image of floats that a peak would only make black.

    Args:
        highest: largest value of the whole image, or its mean.
        dtype: type of its pixels.
        peak: stored value that becomes 1.
        advice: what a user can do.
    """
    if dtype.is_floating_point and peak >= _FAR_ABOVE_UNIT and 0 < highest <= 1:
        raise ValueError(
            f"its floats reach only {highest:g}, as images in [0, 1] do, far below the peak of "
            f"{peak:g}; {advice}."
        )


def read_unit(path: Path, *, bands: int = 3, peak: float | None = None) -> Tensor:
    """Read an image as float32 in [0, 1], (bands, H, W). Pixels without data become 0.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: as for `read_image`, or for values that `to_unit` rejects.
    """
    return unit_of(read_raster(Path(path)), Path(path), bands=bands, peak=peak)


def unit_of(raster: Raster, path: Path, *, bands: int = 3, peak: float | None = None) -> Tensor:
    """Return an image that was read, as `read_unit` does."""
    pixels = torch.from_numpy(bands_of(raster, path, bands))
    maximum = raster.properties.maximum
    if peak is None and maximum not in MAXIMA.values():
        peak = maximum  # 12 bits in a type of 16
    if peak is None and pixels.dtype in (torch.uint16, torch.int16):
        hint_at_peak(path, pixels, maximum)

    try:
        return to_unit(pixels, peak=peak)
    except ValueError as error:
        raise ImageError(f"{path}: {error}") from error


def hint_at_peak(path: Path, pixels: Tensor, maximum: float) -> None:
    """Say once a folder if 16 bits are hardly used, because another white was probably meant."""
    hint = peak_hint(float(pixels.numpy().max(initial=0)), maximum)
    if hint and path.parent not in _HINTED:
        _HINTED.add(path.parent)
        print(f"note: {path} {hint}", file=sys.stderr)


def peak_hint(high: float, maximum: float) -> str:
    """Say how little of its range an image uses, after its name; nothing if it uses enough."""
    if high >= _USED * maximum:
        return ""
    return (
        f"uses values up to {high:.0f} of {maximum:.0f}. If white is another value, name it by "
        "--peak; 10000 is usual for reflectance."
    )


def write_image(path: Path, image: Tensor, *, bits: int = 8) -> None:
    """Write an image as PNG, JPEG, BMP or TIFF, as its suffix says. The file is never incomplete.

    Args:
        path: the file. Missing folders are created.
        image: floating, (bands, H, W). One band is gray, three are RGB; two and four have alpha.
        bits: 8 or 16 for the image clamped to [0, 1], 32 for floats as they are. PNG holds no
            floats and at most four bands. TIFF holds all of them with any number of bands.

    Raises:
        ValueError: the format cannot hold this image.
    """
    if image.ndim != 3:
        raise ValueError(f"expected an image (bands, H, W), got the shape {tuple(image.shape)}.")
    values = image.detach().to("cpu", torch.float32)
    if bits != 32:
        values = values.clamp(0, 1).mul(2**bits - 1).round()
    dtype = {8: "uint8", 16: "uint16", 32: "float32"}[bits]
    pixels = values.permute(1, 2, 0).numpy().astype(dtype)

    has_alpha = pixels.shape[-1] in (2, 4)
    colours = pixels.shape[-1] - has_alpha
    alpha = pixels[..., -1] if has_alpha else None
    properties = plain(dtype, colours, alpha=has_alpha)
    write_raster(Path(path), Raster(pixels[..., :colours], alpha, None, properties))


def decode(path: Path) -> tuple[np.ndarray, bool]:
    """Read the stored pixels (H, W, bands), and whether the last band is alpha.

    Raises:
        FileNotFoundError, ImageError: as for `read_raster`.
    """
    raster = read_raster(Path(path))
    if raster.alpha is None:
        return raster.pixels, False
    return np.concatenate((raster.pixels, raster.alpha[..., None]), axis=-1), True


def check_same_size(images: Sequence[Tensor], paths: Sequence[Path]) -> None:
    """Raise UserError unless all images have the same height and width."""
    sizes = [f"{image.shape[-2]}x{image.shape[-1]}" for image in images]
    if len(set(sizes)) > 1:
        files = " and ".join(f"{path} is {size}" for path, size in zip(paths, sizes, strict=True))
        raise UserError(
            f"{files} pixels; images of one place must have one size: crop or resample one of them."
        )
