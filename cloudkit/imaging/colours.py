"""Colours as files store them, turned into RGB or gray: palettes, few bits, CMYK, YCbCr."""

from dataclasses import dataclass

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from cloudkit.imaging import tiff
from cloudkit.imaging.formats import NotKeptError
from cloudkit.imaging.metadata import without_colour_of
from cloudkit.imaging.properties import Properties
from cloudkit.imaging.tiff import Page

_CMYK, _LAB = 5, (8, 9, 10)  # values of the tag PhotometricInterpretation


@dataclass(frozen=True)
class Colours:
    """Conversion of stored values to colours.

    Shape: stored values (H, W, bands) to colours and alpha (H, W, bands').
    """

    properties: Properties
    """Properties of the colours."""
    table: np.ndarray | None = None
    """Colours (values, bands') by the stored value, for a palette or few bits."""
    nodata: float | None = None
    """Stored value without colour that means no data."""

    def keep(self, bands: int) -> bool:
        """Return True if stored values with a number of bands are the colours."""
        converts = self.table is not None or self.properties.white_is_zero
        return not converts and len(self.properties.bands) == bands

    def convert(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return colours, and a mask (H, W) of stored values that are no data, if there are any."""
        if self.table is None:
            pixels = stored[..., : len(self.properties.bands)]
            if self.properties.white_is_zero:
                pixels = inverted(pixels, self.properties)
            return pixels, None

        mask = None
        if self.nodata is not None:
            mask = (stored != self.nodata).all(-1).astype(np.uint8) * 255
        if self.table.shape[-1] == 1:
            return self.table[stored, 0], mask
        return self.table[stored[..., 0]], mask


def inverted(pixels: np.ndarray, properties: Properties) -> np.ndarray:
    """Exchange black and white; the last band is alpha if there are two."""
    gray = pixels.copy()
    gray[..., 0] = properties.maximum - gray[..., 0]
    return gray


def colours_of(dataset: DatasetReader, properties: Properties, page: Page) -> Colours:
    """Return the conversion that an open file needs.

    Raises:
        NotKeptError: the colours cannot be kept.
    """
    bits, photometric = page.first(tiff.BITS, 1), page.first(tiff.PHOTOMETRIC, 1)
    if (bits > 8) != (properties.dtype != "uint8") and bits > 1:
        raise NotKeptError(f"it has colours of {bits} bits, which are read as {properties.dtype}")
    if photometric in _LAB or (photometric == _CMYK and properties.dtype != "uint8"):
        raise NotKeptError(f"its colours are of kind {photometric}, neither RGB nor gray")

    colour = properties.bands[0].colour
    if colour == ColorInterp.palette and len(properties.bands) == 1:
        return _palette(dataset, properties)
    if properties.dtype == "uint8" and properties.maximum < 255:
        return _few_bits(properties)

    # GDAL adds an alpha channel of its own when it turns other colours into RGB.
    samples = page.first(tiff.SAMPLES, len(properties.bands))
    if (photometric == _CMYK and samples == 4) or samples < len(properties.bands) == 4:
        return Colours(without_colour_of(properties, 3, alpha=False))
    return Colours(properties)


def _palette(dataset: DatasetReader, properties: Properties) -> Colours:
    entries = dataset.colormap(1)
    table = np.zeros((np.iinfo(properties.dtype).max + 1, 4), np.uint8)
    for value, entry in entries.items():
        table[value] = entry

    nodata = properties.bands[0].nodata
    used = table[[value for value in entries if value != nodata]]
    has_alpha = bool((used[:, 3] < 255).any())
    is_gray = bool((used[:, :1] == used[:, :3]).all())
    kept = ([0] if is_gray else [0, 1, 2]) + [3] * has_alpha
    bands = 1 if is_gray else 3
    return Colours(without_colour_of(properties, bands, alpha=has_alpha), table[:, kept], nodata)


def _few_bits(properties: Properties) -> Colours:
    levels = np.arange(256).clip(0, properties.maximum) * (255 / properties.maximum)
    if properties.white_is_zero:
        levels = 255 - levels
    bands = len(properties.order)
    colours = without_colour_of(properties, bands, alpha=properties.alpha is not None)
    table = levels.round().astype(np.uint8)[:, None]
    return Colours(colours, table, properties.bands[0].nodata)
