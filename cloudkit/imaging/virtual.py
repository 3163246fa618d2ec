"""Virtual rasters: small files by which GDAL computes an image from others when it is read."""

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from cloudkit.files import write_text
from cloudkit.imaging.gdal import describe_virtual, open_dataset
from cloudkit.imaging.properties import Tags

_STATISTICS = "STATISTICS_"  # begins the tags of values that change


def write_corrected(
    path: Path,
    source: Path,
    image_format: str,
    gain: Path,
    offset: Path,
    bands: Sequence[int],
    tags: Tags,
) -> None:
    """Write a VRT that shows gain * stored value + offset, in the type of the file.

    Paths in it are relative, so it may be moved together with what it names.

    Args:
        path: the VRT.
        source: the file that it corrects.
        image_format: its format.
        gain: file of the gains, a band for each of `bands`.
        offset: file of the offsets, the same.
        bands: numbers of the bands that are corrected, from 1. The others are shown as they are.
        tags: tags to add.
    """
    with open_dataset(source, image_format) as dataset:
        root = ET.fromstring(describe_virtual(dataset))  # place, types, tags, mask
    folder = path.parent
    for name in root.iter("SourceFilename"):
        _refer(name, source, folder)

    # Bands within a band, because the product has to be read by the sum. GDAL's functions may treat
    # no-data in their own way, so only the outermost band, a plain one, has a no-data value.
    size = {name: root.attrib[name] for name in ("rasterXSize", "rasterYSize")}
    for place, number in enumerate(bands, 1):
        band = root.find(f"VRTRasterBand[@band='{number}']")
        assert band is not None
        product = _computed("mul", size, [_source(source, number, folder)])
        product[0].append(_source(gain, place, folder))
        total = _computed("sum", size, [_inline(product), _source(offset, place, folder)])
        shown = next(one for one in band if one.tag in ("SimpleSource", "ComplexSource"))
        for part in list(shown):
            if part.tag in ("SourceFilename", "SourceBand", "SourceProperties"):
                shown.remove(part)
        shown[:0] = list(_inline(total))
        _remove_statistics(band)

    for domain, values in tags.items():
        metadata = ET.SubElement(root, "Metadata", domain=domain)
        for key, value in values.items():
            ET.SubElement(metadata, "MDI", key=key).text = value
    write_text(path, ET.tostring(root, encoding="unicode"))


def _refer(name: ET.Element, target: Path, folder: Path) -> None:
    """Let an element name a file, relative to the folder of the VRT where that is possible."""
    try:
        relative = os.path.relpath(os.path.realpath(target), os.path.realpath(folder))
        name.text = Path(relative).as_posix()
        name.set("relativeToVRT", "1")
    except ValueError:  # another drive of Windows
        name.text = os.path.realpath(target)
        name.set("relativeToVRT", "0")


def _source(target: Path, band: int, folder: Path) -> ET.Element:
    """Describe a band of a file."""
    source = ET.Element("SimpleSource")
    _refer(ET.SubElement(source, "SourceFilename"), target, folder)
    ET.SubElement(source, "SourceBand").text = str(band)
    return source


def _inline(dataset: ET.Element) -> ET.Element:
    """Describe the band of a dataset that lies in the VRT itself."""
    source = ET.Element("SimpleSource")
    name = ET.SubElement(source, "SourceFilename", relativeToVRT="0")
    name.text = ET.tostring(dataset, encoding="unicode")
    ET.SubElement(source, "SourceBand").text = "1"
    return source


def _computed(function: str, size: dict[str, str], sources: Sequence[ET.Element]) -> ET.Element:
    """Describe a dataset with one band, a function of others."""
    dataset = ET.Element("VRTDataset", size)
    band = ET.SubElement(
        dataset, "VRTRasterBand", dataType="Float64", band="1", subClass="VRTDerivedRasterBand"
    )
    ET.SubElement(band, "PixelFunctionType").text = function
    ET.SubElement(band, "SourceTransferType").text = "Float64"
    band.extend(sources)
    return dataset


def _remove_statistics(band: ET.Element) -> None:
    for metadata in band.findall("Metadata"):
        for item in list(metadata):
            if item.get("key", "").startswith(_STATISTICS):
                metadata.remove(item)
