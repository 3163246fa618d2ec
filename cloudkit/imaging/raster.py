"""Pixels of an image file with all that the file says of them: the one reader of images."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from cloudkit.imaging import exif, tiff
from cloudkit.imaging.colours import colours_of
from cloudkit.imaging.formats import ImageError, NotKeptError, format_of, is_deep_png, read_header
from cloudkit.imaging.gdal import DRIVERS, open_dataset
from cloudkit.imaging.limits import check_claim
from cloudkit.imaging.metadata import read_properties
from cloudkit.imaging.orientation import (
    UPRIGHT,
    stored_window,
    upright,
    upright_place,
    upright_size,
)
from cloudkit.imaging.photos import read_attachments, read_photo
from cloudkit.imaging.properties import MAXIMA, Attachments, Properties, plain


@dataclass(frozen=True)
class Raster:
    """Pixels, and all that must come out again with them."""

    pixels: np.ndarray
    """Stored values (H, W, colour bands), upright; red, green, blue if the file names them."""
    alpha: np.ndarray | None
    """Alpha channel (H, W)."""
    mask: np.ndarray | None
    """Mask (H, W) of a file that has one: 0 is no data."""
    properties: Properties
    """All else."""

    @property
    def has_data(self) -> np.ndarray:
        """Pixels (H, W) that hold no no-data value, no NaN in any band, and are not masked."""
        found = np.ones(self.pixels.shape[:2], bool) if self.mask is None else self.mask > 0
        if self.pixels.dtype.kind == "f":
            found &= ~np.isnan(self.pixels).any(-1)
        for band, index in enumerate(self.properties.order):
            nodata = self.properties.bands[index].nodata
            if nodata is not None and not self.properties.has_nodata_colour:
                found &= self.pixels[..., band] != self.as_stored(nodata)
        return found

    def as_stored(self, nodata: float) -> float:
        """Return a no-data value as the pixels hold it: files round that of floats."""
        dtype = self.pixels.dtype
        if dtype.kind == "f":
            limits = np.finfo(dtype)
            finite = np.clip(nodata, limits.min, limits.max) if np.isfinite(nodata) else nodata
            return float(np.asarray(finite).astype(dtype))
        return self.properties.maximum - nodata if self.properties.white_is_zero else nodata


class RasterFile:
    """An open TIFF, PNG of 16 bits or JPEG 2000. Each process must open its own.

    Args:
        path: the file.
        dataset: the file, opened by GDAL.
        image_format: its format.
        pages: directories of a TIFF.
    """

    def __init__(
        self, path: Path, dataset: DatasetReader, image_format: str, pages: list[tiff.Page]
    ) -> None:
        self._dataset = dataset
        page = pages[0] if pages else tiff.Page({})
        stored = read_properties(dataset, image_format, page)
        if set(dataset.dtypes) - MAXIMA.keys():
            raise ImageError(
                f"{path} has pixels of type {dataset.dtypes[0]}, expected one of "
                f"{', '.join(MAXIMA)}; convert it."
            )

        height, width = dataset.shape
        unpacked = height * width * sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
        check_claim(path, height, width, unpacked)
        self._colours = colours_of(dataset, stored, page)

        if image_format == "PNG":
            attachments, self.orientation = read_attachments(path)
        else:
            self.orientation = page.first(tiff.ORIENTATION, UPRIGHT)
            attachments = Attachments(exif.read_exif(path) if exif.is_in(page) else b"")
        # Pixels that are read as GDAL has them.
        self.is_plain = self._colours.keep(dataset.count) and self.orientation == UPRIGHT
        self.properties = replace(
            self._colours.properties,
            place=upright_place(stored.place, self.orientation, height, width),
            overviews=tiff.overviews(pages),
            attachments=attachments,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        height, width = self._dataset.shape
        return upright_size(height, width, self.orientation)

    def read(self, window: Window | None = None) -> Raster:
        """Read the image, upright, or a window of it."""
        if window is not None:
            window = stored_window(window, self.orientation, *self.size)
        stored = self._dataset.read(window=window).transpose(1, 2, 0)
        pixels, mask = self._colours.convert(stored)
        flags = self._dataset.mask_flag_enums[0]
        if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            marks = self._dataset.read_masks(1, window=window)
            mask = marks if mask is None else np.minimum(marks, mask)

        pixels = upright(pixels, self.orientation)
        mask = None if mask is None else upright(mask, self.orientation)
        place = self.properties.alpha
        alpha = None if place is None else pixels[..., place]
        return Raster(pixels[..., self.properties.order], alpha, mask, self.properties)


class LoadedFile:
    """Image of a format that is read whole, with windows as those of `RasterFile`.

    Args:
        raster: its content.
    """

    def __init__(self, raster: Raster) -> None:
        self._raster = raster
        self.properties = raster.properties
        height, width = raster.pixels.shape[:2]
        self.size = height, width

    def read(self, window: Window | None = None) -> Raster:
        """Return the image or a window of it."""
        if window is None:
            return self._raster
        rows, columns = window.toslices()

        def part(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows, columns]

        pixels = self._raster.pixels[rows, columns]
        return Raster(pixels, part(self._raster.alpha), part(self._raster.mask), self.properties)


@contextmanager
def open_raster(path: Path) -> Iterator[RasterFile]:
    """Open a TIFF, PNG of 16 bits or JPEG 2000, to read it whole or by windows.

    Raises:
        ImageError: the file is damaged, claims more pixels than it can hold, or cannot be kept.
        Exception: of any type, if the file is damaged.
    """
    header = read_header(path)
    image_format = format_of(header)
    pages = tiff.read_pages(path) if image_format == "TIFF" else []
    with open_dataset(path, image_format) as dataset:
        yield RasterFile(path, dataset, image_format, pages)


@contextmanager
def open_image(path: Path) -> Iterator[RasterFile | LoadedFile]:
    """Open an image of any format, to read it whole or by windows.

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: the file is damaged, empty or unreadable, or its pixel type does not fit.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no image file {path}.")
    with ExitStack() as stack:
        with reading(path):
            header = read_header(path)
            if _has_windows(header):
                file: RasterFile | LoadedFile = stack.enter_context(open_raster(path))
            else:
                file = LoadedFile(_read_photo(path, header))
        yield file


def read_raster(path: Path) -> Raster:
    """Read an image of any format, once. Raises as `open_image`."""
    with open_image(path) as file, reading(path):
        return file.read()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of decoders into `ImageError`, which names the file and says what to do."""
    try:
        yield
    except ImageError:
        raise
    except NotKeptError as error:
        raise ImageError(
            f"{path} would not be kept as it is: {error}; save it as RGB or gray, upright, one "
            "image a file."
        ) from error
    except PermissionError as error:
        raise ImageError(
            f"{path} may not be read (permission denied); allow reading it, or leave it out."
        ) from error
    except MemoryError as error:
        raise ImageError(
            f"{path} is too large for the memory of this machine; cut it into parts."
        ) from error
    except Exception as error:  # decoders raise errors of many types on damaged files
        reason = " ".join(str(error.__cause__ or error).split())
        raise ImageError(
            f"{path} cannot be read as an image ({reason}); it may be damaged: get a new copy."
        ) from error


def _has_windows(header: bytes) -> bool:
    """Return True for a file that GDAL reads."""
    image_format = format_of(header)
    return image_format in DRIVERS and (image_format != "PNG" or is_deep_png(header))


def _read_photo(path: Path, header: bytes) -> Raster:
    image_format = format_of(header)
    if not header:
        raise ImageError(f"{path} is empty, expected an image: get a new copy, or remove it.")
    if not image_format:
        raise ImageError(
            f"{path} cannot be read as an image: it begins with {header[:12]!r}, unlike PNG, JPEG, "
            "TIFF, BMP, GIF, JPEG 2000 and WebP. It may be damaged: get a new copy, or convert it."
        )
    pixels, has_alpha, attachments = read_photo(path, image_format)
    colours = pixels.shape[-1] - has_alpha
    properties = replace(
        plain("uint8", colours, alpha=has_alpha, image_format=image_format),
        attachments=attachments,
    )
    alpha = pixels[..., -1] if has_alpha else None
    return Raster(pixels[..., :colours], alpha, None, properties)
