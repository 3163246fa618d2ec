"""GeoTIFF files with all that they can carry, and a list of what two of them differ in."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.transform import Affine

from tests.helpers import random_pixels

TRANSFORM = Affine(10.0, 0.0, 500000.0, 0.0, -10.0, 4000000.0)
CRS = "EPSG:32633"
GCPS = [GroundControlPoint(row, 3 * row, 14.0 + row, 45.0 - row, 7.0) for row in range(4)]
RPC = {
    **{f"{name}_COEFF": " ".join(["0.5"] * 20) for name in ("LINE_NUM", "LINE_DEN")},
    **{f"{name}_COEFF": " ".join(["0.25"] * 20) for name in ("SAMP_NUM", "SAMP_DEN")},
    **{f"{name}_OFF": "1.5" for name in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")},
    **{f"{name}_SCALE": "2.5" for name in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")},
}
_STATE: tuple[str, ...] = (
    "shape",
    "count",
    "dtypes",
    "nodatavals",
    "crs",
    "transform",
    "scales",
    "offsets",
)
_STATE += ("units", "descriptions", "colorinterp", "mask_flag_enums", "block_shapes")


def write(path: Path, pixels: np.ndarray, **options: Any) -> np.ndarray:
    """Write pixels (H, W, bands) by GDAL, with any properties of a dataset and creation options.

    `mask`, `tags`, `overviews`, `descriptions`, `rpcs` and what a dataset has by name may be given.
    """
    height, width, count = pixels.shape
    after = {
        name: options.pop(name) for name in (*_STATE, "gcps", "mask", "tags") if name in options
    }
    extra = {name: options.pop(name) for name in ("overviews", "rpcs") if name in options}
    nodata = {"nodata": options.pop("nodata")} if "nodata" in options else {}
    shape = {"height": height, "width": width, "count": count, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **{"driver": "GTiff"} | shape | options) as dataset:
        for namespace, tags in after.pop("tags", {}).items():
            dataset.update_tags(ns=namespace or None, **tags)
        dataset.update_tags(ns="RPC", **extra.get("rpcs", {}))
        mask, descriptions = after.pop("mask", None), after.pop("descriptions", ())
        for index, description in enumerate(descriptions, start=1):
            dataset.set_band_description(index, description)
        for name, value in (after | nodata).items():
            setattr(dataset, name, value)
        dataset.write(pixels.transpose(2, 0, 1))
        if mask is not None:
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                dataset.write_mask(mask)

    if "overviews" in extra:
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews(extra["overviews"], Resampling.nearest)
    return pixels


def stored(path: Path) -> np.ndarray:
    """Read the stored pixels (H, W, bands) by GDAL."""
    with rasterio.open(path) as dataset:
        return dataset.read().transpose(1, 2, 0)


def mask_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read_masks(1)


def properties(path: Path) -> dict[str, Any]:
    """Return all that GDAL says of a file, but for its pixels and name."""
    with rasterio.open(path) as dataset:
        found = {name: getattr(dataset, name) for name in _STATE}
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        found["structure"] = {
            name: structure.get(name)
            for name in ("COMPRESSION", "PREDICTOR", "INTERLEAVE", "MINISWHITE")
        }
        found["bits"] = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        found["overviews"] = dataset.overviews(1)
        points, crs = dataset.gcps
        found["gcps"] = [point.asdict() | {"id": None} for point in points], crs
        for index in (0, *dataset.indexes):
            for namespace in (None, *dataset.tag_namespaces(index)):
                if namespace not in ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS"):
                    found[f"tags {index} {namespace}"] = dataset.tags(index, ns=namespace)
        return {name: str(value) for name, value in found.items()}


def differences(first: Path, second: Path) -> list[str]:
    """List the properties that two files differ in."""
    before, after = properties(first), properties(second)
    names = sorted(before.keys() | after.keys())
    pairs = [(name, before.get(name), after.get(name)) for name in names]
    return [f"{name}: {old} -> {new}" for name, old, new in pairs if old != new]


def ramp(dtype: str, bands: int, low: float, high: float, *, height: int = 20) -> np.ndarray:
    """Return random pixels (height, 30, bands) between two values."""
    fractions = random_pixels(np.uint16, height, 30, bands) / 65535
    return (low + fractions * (high - low)).astype(dtype)
