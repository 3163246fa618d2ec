"""Scenes of any size, written by windows."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy.ndimage import zoom

_BLOCK = 1024  # pixels, side of a window, and of ground that belongs together
_COARSE = 32  # pixels between the values that ground and haze are made from


def write_scene(path: Path, side: int, bands: int = 4) -> None:
    """Write a hazy scene like Sentinel-2's, with a corner without data, in bounded memory.

    Args:
        path: the file, a tiled GeoTIFF with DEFLATE.
        side: rows and columns.
        bands: number of bands of 16 bits; red, green and blue are 3, 2, 1.
    """
    size = {"height": side, "width": side, "count": bands, "dtype": "uint16", "nodata": 0}
    form = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "DEFLATE"}
    place = rasterio.transform.from_origin(5e5, 5.4e6, 10, 10)
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32632", transform=place, predictor=2, **size, **form
    ) as file:
        file.update_tags(QUANTIFICATION_VALUE="10000")
        for top in range(0, side, _BLOCK):
            for left in range(0, side, _BLOCK):
                height, width = min(_BLOCK, side - top), min(_BLOCK, side - left)
                pixels = _ground(np.random.default_rng((top, left)), bands)[:, :height, :width]
                rows, columns = np.arange(top, top + height), np.arange(left, left + width)
                pixels[:, np.add.outer(rows, columns) < side // 5] = 0
                file.write(pixels, window=Window(left, top, width, height))


def _ground(random: np.random.Generator, bands: int) -> np.ndarray:
    """Return a block of ground under haze, (bands, rows, columns) uint16."""
    coarse = random.random((bands + 1, _BLOCK // _COARSE, _BLOCK // _COARSE), np.float32)
    smooth = np.stack([zoom(each, _COARSE, order=1) for each in coarse])
    ground, haze = 500 + 2500 * smooth[:bands], 0.5 * smooth[bands:]
    ground += 100 * random.integers(0, 8, (1, _BLOCK, _BLOCK))  # texture that compresses a little
    return (ground * (1 - haze) + 7000 * haze).astype(np.uint16)
