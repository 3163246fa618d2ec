"""Correction layers: gain and offset of each pixel in place of a copy of the scene."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rasterio.enums import ColorInterp
from torch import Tensor

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.properties import Band, Properties, Tags
from cloudkit.imaging.raster import Raster, RasterFile
from cloudkit.imaging.virtual import write_corrected
from thiefcloud.inference.blending import blend
from thiefcloud.inference.provenance import NAMESPACE
from thiefcloud.inference.rasters import RasterSource, RasterTarget
from thiefcloud.inference.tiles import Window

GAIN, OFFSET = "gain", "offset"  # ends of the names of files


class LayerTarget(RasterTarget):
    """Files of gain and offset, and a VRT that applies them to the scene.

    Restored = gain * source + offset, in stored values. The gain is that of the inversion. The
    offset holds all else: the colour of the cloud, what the network behind the inversion adds,
    limits and blending. Where nothing changes, the gain is 1 and the offset 0.

    The path is that of the VRT. The scene lies in an open TIFF or JPEG 2000.

    Raises:
        ImageError: GDAL does not read the file as it is read here.
    """

    takes_gain = True

    def __post_init__(self) -> None:
        """Require a file that a VRT can name."""
        super().__post_init__()
        self._file = _require_plain(self.source)
        self._gain = torch.empty(0)

    def write_gain(self, window: Window, gain: Tensor) -> None:
        """Take the gain of a window; see `GainTarget`."""
        self._gain = gain

    def _content(
        self, raster: Raster, given: Tensor, pixels: Tensor, thickness: Tensor
    ) -> np.ndarray:
        """Return gain and offset of a window, (h, w, 2 bands), float32."""
        selection, gain = self.source.selection, self._gain
        if self.blends:
            gain = blend(torch.ones_like(gain), gain, thickness)
        gains = gain.permute(1, 2, 0).numpy()
        if selection.is_gray:
            gains = gains.mean(-1, keepdims=True)

        before = selection.of(raster).pixels
        stored = super()._content(raster, given, pixels, thickness)
        changed = selection.valid(raster)[..., None] & (stored != before)
        gains = np.where(changed, gains, 1).astype(np.float32)
        # From the gain as it is stored, and in double precision: whole numbers come out exactly.
        offsets = np.where(changed, stored - gains.astype(np.float64) * before, 0)
        return np.concatenate((gains, offsets.astype(np.float32)), -1)

    def _write_result(
        self, tiles: Sequence[Window], properties: Properties, *, cog: bool = False
    ) -> None:
        """Write gain, offset and VRT, the last of which names the others."""
        selection = self.source.selection
        count = len(selection.places)
        own = {name: tags for name, tags in properties.tags.items() if name.startswith(NAMESPACE)}
        files = layer_files(self.path)
        for part, (name, path) in enumerate(files.items()):
            described = _described(properties, selection.properties, name, own)
            channels = slice(part * count, part * count + count)
            read = partial(self._read_part, tiles, described, channels)
            self._write(path, described, read, cog=cog)

        new = {name: tags for name, tags in own.items() if name not in self._file.properties.tags}
        bands = [properties.order[place] + 1 for place in selection.places]
        image_format = self._file.properties.image_format
        gain, offset = files.values()
        write_corrected(self.path, selection.path, image_format, gain, offset, bands, new)

    def _read_part(
        self, tiles: Sequence[Window], properties: Properties, channels: slice, window: Window
    ) -> Raster:
        return Raster(self._pixels.read(window, tiles)[..., channels], None, None, properties)


def layer_files(path: Path) -> dict[str, Path]:
    """Return the files of gain and offset that a VRT names."""
    return {name: path.with_name(f"{path.stem}_{name}.tif") for name in (GAIN, OFFSET)}


def _described(properties: Properties, selected: Properties, name: str, tags: Tags) -> Properties:
    """Return the properties of a file of gains or offsets: the place of the scene, and floats."""
    bands = []
    for number, band in enumerate(selected.bands):
        colour = ColorInterp.undefined if number else ColorInterp.gray
        bands.append(Band(colour, description=f"{name} of {band.description or band.colour.name}"))
    options = {"compress": "deflate", "interleave": "band"}
    all_tags = {**properties.place_tags, **tags}
    return Properties("TIFF", "float32", 1.0, tuple(bands), properties.place, all_tags, options)


def _require_plain(source: RasterSource) -> RasterFile:
    """Return the file of a source that GDAL reads as it is read here."""
    file, path = source.file, source.selection.path
    if not isinstance(file, RasterFile) or file.properties.image_format == "PNG":
        name = file.properties.image_format
        raise ImageError(
            f"{path} is {name}, which gets no layer; expected TIFF or JPEG 2000. Leave --layer out "
            "for it, or convert it."
        )
    if not file.is_plain:
        raise ImageError(
            f"{path} gets no layer, because its pixels are stored rotated, inverted, or as numbers "
            "of colours; expected plain ones. Leave --layer out for it, or convert it."
        )
    return file
