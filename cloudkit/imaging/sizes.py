"""Size of an image file, known before its pixels are unpacked."""

from pathlib import Path

from cloudkit.imaging.formats import format_of, read_header
from cloudkit.imaging.photos import is_photo, read_photo_size
from cloudkit.imaging.raster import open_image, reading


def read_size(path: Path) -> tuple[int, int]:
    """Read the height and width of an image from its header, whatever its orientation.

    Raises:
        ImageError: the file is damaged, empty or unreadable, or its pixel type does not fit.
    """
    with reading(path):
        image_format = format_of(read_header(path))
        if is_photo(image_format):
            return read_photo_size(path, image_format)
    with open_image(path) as file:  # of GDAL, which unpacks nothing, or of no known format
        return file.size
