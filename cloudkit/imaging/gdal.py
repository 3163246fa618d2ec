"""GDAL, kept quiet and kept to the one file that is named.

GDAL would follow references: to virtual files, to other hosts, to files beside an image. Only the
driver of the format that the content shows may open a file, and nothing beside it is looked for.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

DRIVERS = {"TIFF": "GTiff", "PNG": "PNG", "JPEG 2000": "JP2OpenJPEG"}
_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no file beside the image is looked for
    "GDAL_PAM_ENABLED": "NO",  # nor written
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",  # damage would else be filled with gray
    "GDAL_TIFF_INTERNAL_MASK": "YES",
    "GDAL_NUM_THREADS": 1,  # messages of other threads go to the terminal, or to this file
    "CPL_LOG": os.devnull,
    "GDAL_CACHEMAX": 2**28,  # a row of tiles of a wide scene, so that strips are unpacked once
    "PROJ_NETWORK": "OFF",
}
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # most images have no place


def _pass_over_garbled_messages() -> None:
    """Hide errors of rasterio when it decodes messages of GDAL that quote a damaged file."""
    show, show_ignored = sys.excepthook, sys.unraisablehook

    def show_others(kind: Any, error: BaseException, traceback: Any) -> None:
        if traceback is not None or not isinstance(error, UnicodeDecodeError):
            show(kind, error, traceback)

    def show_other_ignored(ignored: Any) -> None:
        garbled = isinstance(ignored.exc_value, UnicodeDecodeError)
        if not (garbled and "rasterio" in str(ignored.object)):
            show_ignored(ignored)

    sys.excepthook, sys.unraisablehook = show_others, show_other_ignored


_pass_over_garbled_messages()


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """Keep GDAL's messages from the terminal, and GDAL from all files but the one it is given."""
    with rasterio.Env(**_OPTIONS):
        yield


@contextmanager
def open_dataset(path: Path, image_format: str) -> Iterator[DatasetReader]:
    """Open a local file by the driver of its format alone."""
    with quiet_gdal(), rasterio.open(_local(path), driver=DRIVERS[image_format]) as dataset:
        yield dataset


@contextmanager
def create_dataset(
    path: Path,
    driver: str,
    overviews: Sequence[int],
    resampling: Resampling = Resampling.nearest,
    **profile: Any,
) -> Iterator[Any]:
    """Create a file in memory and then on the disk, because GDAL does not report a full disk.

    Args:
        path: the file.
        driver: GDAL's name of the format.
        overviews: factors of smaller copies to add.
        resampling: method by which they are made.
        profile: shape, type and creation options.

    Raises:
        OSError: the file cannot be written.
    """
    with writing(path), quiet_gdal(), MemoryFile(ext=path.suffix) as memory:
        with memory.open(driver=driver, **profile) as dataset:
            yield dataset
        if overviews:
            with rasterio.open(memory.name, "r+") as dataset:
                dataset.build_overviews(list(overviews), resampling)
        path.write_bytes(memory.getbuffer())


@contextmanager
def create_on_disk(path: Path, **profile: Any) -> Iterator[Any]:
    """Create a TIFF that does not fit in memory. GDAL may not report a full disk; read it again.

    Args:
        path: the file.
        profile: shape, type and creation options.

    Raises:
        OSError: the file cannot be written.
    """
    with writing(path), quiet_gdal(), rasterio.open(path, "w", driver="GTiff", **profile) as file:
        yield file


def add_overviews(path: Path, factors: Sequence[int], resampling: Resampling) -> None:
    """Add smaller copies to a TIFF.

    Raises:
        OSError: the file cannot be written.
    """
    with writing(path), quiet_gdal(), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(list(factors), resampling)


def copy_as_cog(path: Path, copy: Path, **options: Any) -> None:
    """Copy a TIFF as a Cloud Optimized GeoTIFF.

    Raises:
        OSError: the copy cannot be written.
    """
    with writing(copy), quiet_gdal():
        rasterio.shutil.copy(path, copy, driver="COG", **options)


def describe_virtual(dataset: DatasetReader) -> bytes:
    """Return a VRT that shows an open file."""
    with quiet_gdal(), MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(dataset, memory.name, driver="VRT")
        return bytes(memory.getbuffer())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of GDAL into an `OSError`."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        raise OSError(f"{path.parent} gets no {path.suffix} of this image ({error}).") from error


def _local(path: Path) -> Path:
    """Return an absolute path, which GDAL does not take for another kind of name.

    Raises:
        ValueError: GDAL takes the path for one of its virtual file systems.
    """
    absolute = path.resolve()
    if absolute.parts[1:2] and absolute.parts[1].startswith("vsi"):
        raise ValueError(f"a folder named {absolute.parts[1]} has another meaning for GDAL")
    return absolute
