"""Properties of image files, read from GDAL and written by it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import Affine

from cloudkit.imaging.properties import MAXIMA, Band, Place, Properties, Tags, plain
from cloudkit.imaging.tiff import EXTRA_SAMPLES, Page

# Namespaces that GDAL fills itself, from the pixels or from what is copied by other names.
_DERIVED = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "COLOR_PROFILE", "EXIF")
_STATISTICS = "STATISTICS_"  # begins the tags of values that are going to change
_PREMULTIPLIED = 1  # value of the tag ExtraSamples
# Others lose values, or hold pixels of 1 bit alone; DEFLATE replaces them.
_LOSSLESS = ("LZW", "DEFLATE", "ZSTD", "PACKBITS", "LZMA", "WEBP", "LERC")


def read_properties(dataset: DatasetReader, image_format: str, page: Page) -> Properties:
    """Read all properties that GDAL knows of an open file.

    Args:
        dataset: the file, opened by GDAL.
        image_format: its format.
        page: directory of a TIFF, without tags for others.
    """
    dtype = dataset.dtypes[0]
    bits = int(dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 0))
    whole = not dtype.startswith("float")

    tags = dict(_read_tags(dataset, 0))
    rpcs = tags.pop("RPC", {})
    return Properties(
        image_format,
        dtype,
        maximum=2.0**bits - 1 if bits and whole else MAXIMA.get(dtype, 1.0),
        bands=tuple(_read_band(dataset, index, page) for index in dataset.indexes),
        place=Place(dataset.crs, dataset.transform, dataset.gcps, rpcs),
        tags=tags,
        options=_options(dataset, bits, page),
        white_is_zero=dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        and dtype.startswith("uint"),
    )


def write_properties(dataset: Any, properties: Properties) -> None:
    """Write properties into a file that is being created, before its pixels."""
    place = properties.place
    tags = dict(properties.tags) | {"RPC": place.rpcs}
    for namespace, values in tags.items():
        if namespace.startswith("xml:"):  # one text, which is written as a name and a value
            name, _, value = values[namespace].partition("=")
            values = {name: value}
        dataset.update_tags(ns=namespace or None, **values)  # says whether a pixel is a point

    if place.gcps[0]:
        points, crs = place.gcps
        dataset.gcps = (points, crs or CRS())
    elif place.crs:
        dataset.crs = place.crs
    if place.transform != Affine.identity():
        dataset.transform = place.transform

    bands = properties.bands
    dataset.colorinterp = [band.colour for band in bands]
    dataset.scales = [band.scale for band in bands]
    dataset.offsets = [band.offset for band in bands]
    dataset.units = [band.unit or "" for band in bands]
    for index, band in enumerate(bands, start=1):
        if band.description:
            dataset.set_band_description(index, band.description)
        for namespace, values in band.tags.items():
            dataset.update_tags(index, ns=namespace or None, **values)
    if bands[0].nodata is not None:
        dataset.nodata = bands[0].nodata  # GeoTIFF has one for all bands


def _read_band(dataset: DatasetReader, index: int, page: Page) -> Band:
    place = index - 1
    nodata = dataset.nodatavals[place]
    return Band(
        dataset.colorinterp[place],
        dataset.descriptions[place],
        dataset.units[place],
        dataset.scales[place],
        dataset.offsets[place],
        page.nodata if nodata is None else nodata,
        _read_tags(dataset, index),
    )


def _read_tags(dataset: DatasetReader, index: int) -> Tags:
    """Read all tags of a band, or of the file if the index is 0."""
    namespaces = [name for name in dataset.tag_namespaces(index) if name not in _DERIVED]
    tags: dict[str, Mapping[str, str]] = {}
    for namespace in ("", *namespaces):
        found = dataset.tags(index, ns=namespace or None)
        kept = {name: value for name, value in found.items() if not name.startswith(_STATISTICS)}
        if kept:
            tags[namespace] = kept
    return tags


def _options(dataset: DatasetReader, bits: int, page: Page) -> dict[str, Any]:
    """Return options of GDAL that write a TIFF which stores pixels as this file does."""
    profile = dataset.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE")
    options: dict[str, Any] = {"source_icc_profile": profile} if profile else {}
    if bits and dataset.dtypes[0] != "uint8":
        options["nbits"] = bits
    if dataset.driver != "GTiff":
        return options | {"compress": "DEFLATE"}

    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    options["interleave"] = structure.get("INTERLEAVE", "PIXEL").lower()
    name = structure.get("COMPRESSION", "")
    if name:
        options["compress"] = name if name.startswith(_LOSSLESS) else "DEFLATE"
    if structure.get("PREDICTOR", "1") != "1":
        options["predictor"] = structure["PREDICTOR"]
    if name == "WEBP":
        options["webp_lossless"] = True

    block_height, block_width = dataset.block_shapes[0]
    options["blockysize"] = block_height
    if dataset.profile.get("tiled"):
        options |= {"tiled": True, "blockxsize": block_width}
    if page.first(EXTRA_SAMPLES, 0) == _PREMULTIPLIED:
        options["alpha"] = "premultiplied"
    return options


def without_colour_of(properties: Properties, bands: int, *, alpha: bool) -> Properties:
    """Return properties of pixels that became RGB or gray, and keep what still is true.

    Names, units, scales and no-data values of the old bands do not fit the new ones.
    """
    kept = {
        name: value
        for name, value in properties.options.items()
        if name not in ("nbits", "predictor", "source_icc_profile")
    }
    return replace(
        properties,
        maximum=255.0,
        dtype="uint8",
        bands=plain("uint8", bands, alpha=alpha).bands,
        options=kept,
        white_is_zero=False,
    )
