"""Scenes in image files, read and written a window at a time."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import rasterio.windows
import torch
from torch import Tensor

from cloudkit.files import read_json, write_json
from cloudkit.imaging.pictures import (
    Picture,
    stored_thickness,
    thickness_properties,
    write_picture,
    write_thickness,
)
from cloudkit.imaging.properties import Properties
from cloudkit.imaging.raster import LoadedFile, Raster, RasterFile, reading
from cloudkit.imaging.selection import Selection
from cloudkit.imaging.streaming import write_scene
from cloudkit.imaging.writing import write_raster
from thiefcloud.inference.blending import blend
from thiefcloud.inference.provenance import Run, with_provenance
from thiefcloud.inference.tile_files import TileFiles
from thiefcloud.inference.tiles import Window, whole

_IDENTITY = "scene.json"
_LONGEST_NAME = 200  # bytes; systems allow 255, and a prefix and a suffix are added


class RasterSource:
    """Scene in an open image file.

    Args:
        file: the file.
        selection: the bands that the network sees.
    """

    bands = 3

    def __init__(self, file: RasterFile | LoadedFile, selection: Selection) -> None:
        self.file, self.selection = file, selection
        size: tuple[int, int] = file.size
        self.height, self.width = size

    def read(self, window: Window) -> tuple[Tensor, Tensor]:
        """Read a window; see `Source`.

        Raises:
            ImageError: a block of the file is damaged, or values do not fit the scale.
        """
        return self.convert(self.read_stored(window))

    def read_stored(self, window: Window) -> Raster:
        """Read a window with all bands, as they are stored."""
        with reading(self.selection.path):
            return self.file.read(
                rasterio.windows.Window(window.left, window.top, window.width, window.height)
            )

    def convert(self, raster: Raster) -> tuple[Tensor, Tensor]:
        """Convert a window that was read; see `Source`."""
        valid = torch.from_numpy(self.selection.valid(raster))
        return torch.where(valid, self.selection.to_unit(raster), 0), valid

    @cached_property
    def first(self) -> Raster:
        """First pixel of the scene, which shows if there are a mask and alpha."""
        return self.read_stored(Window(0, 0, 1, 1))

    @property
    def may_have_gaps(self) -> bool:
        """Flag for a file in which some pixels may have no data."""
        properties = self.selection.properties
        gaps = [band.nodata is not None for band in properties.bands]
        marked = self.first.mask is not None or self.first.alpha is not None
        return any(gaps) or marked or properties.dtype.startswith("float")


@dataclass(eq=False)
class RasterTarget:
    """Files of a restored scene and its thickness map.

    Finished tiles lie in a hidden folder beside the result, each in a file that is complete or
    absent. A run that was killed goes on with the rest, and joins them to equal bytes: GDAL would
    place the blocks of a file in the order of its runs.
    """

    path: Path
    """File of the restored scene."""
    source: RasterSource
    """The scene."""
    thickness: Path | None = None
    """File of the thickness map, if it is wanted."""
    run: Run | None = None
    """Run that restores it, noted in tags of TIFF files."""
    takes_gain: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Name the tiles."""
        self.folder = unfinished(self.path)
        self._pixels = TileFiles(self.folder, "pixels")
        self._thickness = TileFiles(self.folder, "thickness")

    def earlier(self) -> dict[str, Any]:
        """Return what an unfinished run was begun with, or nothing."""
        try:
            found = read_json(self.folder / _IDENTITY)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def begin(self, identity: dict[str, Any]) -> None:
        """Go on with the tiles of an earlier run that was begun with the same, or begin anew.

        Args:
            identity: all that a result depends on, for JSON.
        """
        if self.earlier() != identity:
            self.discard()
            self.folder.mkdir(parents=True)
            write_json(self.folder / _IDENTITY, identity)

    @property
    def blends(self) -> bool:
        """Flag for what is clear to stay as it was."""
        return self.run is not None and "blend" in self.run.options

    def discard(self) -> None:
        """Remove all finished tiles."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def is_finished(self, tile: Window) -> bool:
        """Return True for a tile that is already there."""
        return self._pixels.has(tile) and self._thickness.has(tile)

    def write(self, window: Window, pixels: Tensor, thickness: Tensor) -> None:
        """Keep a window until its tile is complete; see `Target`."""
        raster = self.source.read_stored(window)
        given, _ = self.source.convert(raster)
        self._pixels.add(window, self._content(raster, given, pixels, thickness))
        self._thickness.add(window, stored_thickness(thickness))

    def write_whole(
        self, picture: Picture, restored: Tensor, thickness: Tensor, *, cog: bool = False
    ) -> None:
        """Write the files of an image that was restored in one pass."""
        if self.thickness is not None:
            write_thickness(self.thickness, picture, thickness, cog=cog)
        if self.blends:
            restored = blend(picture.image, restored, thickness)
        limits = float(thickness.min()), float(thickness.max())
        described = self._with_provenance(picture.raster.properties, limits)
        raster = replace(picture.raster, properties=described)
        write_picture(self.path, replace(picture, raster=raster), restored, cog=cog)
        self.discard()  # tiles of an interrupted run

    def finish(self, tile: Window) -> None:
        """Write a tile all of whose windows were written.

        Raises:
            OSError: the disk is full.
        """
        self._thickness.finish(tile)
        self._pixels.finish(tile)  # the last, because it stands for both

    def join(self, tiles: Sequence[Window], *, cog: bool = False) -> None:
        """Write the files from their finished tiles, which are removed then.

        Args:
            tiles: all tiles of the scene.
            cog: write a TIFF as a Cloud Optimized GeoTIFF.

        Raises:
            OSError: the disk is full.
        """
        properties = self.source.file.properties
        if self.thickness is not None:
            described = thickness_properties(properties)
            read = partial(self._read_thickness, tiles, described)
            self._write(self.thickness, described, read, cog=cog)
        low, high = self._thickness.limits(tiles)
        described = self._with_provenance(properties, (low / 65535, high / 65535))
        self._write_result(tiles, described, cog=cog)
        self.discard()

    def _content(
        self, raster: Raster, given: Tensor, pixels: Tensor, thickness: Tensor
    ) -> np.ndarray:
        """Return what is kept of a restored window, (h, w, bands)."""
        if self.blends:
            pixels = blend(given, pixels, thickness)
        return self.source.selection.to_stored(raster, given, pixels)

    def _write_result(
        self, tiles: Sequence[Window], properties: Properties, *, cog: bool = False
    ) -> None:
        self._write(self.path, properties, partial(self._read_restored, tiles), cog=cog)

    def _with_provenance(self, properties: Properties, limits: tuple[float, float]) -> Properties:
        if self.run is None:
            return properties
        return with_provenance(properties, self.run, self.source.selection, limits)

    def _read_thickness(
        self, tiles: Sequence[Window], properties: Properties, window: Window
    ) -> Raster:
        pixels, mask = self._thickness.read(window, tiles), None
        if self.source.may_have_gaps and properties.place.is_known:
            valid = self.source.selection.valid(self.source.read_stored(window))
            mask = valid.astype(np.uint8) * 255
        return Raster(pixels, None, mask, properties)

    def _read_restored(self, tiles: Sequence[Window], window: Window) -> Raster:
        stored = self._pixels.read(window, tiles)
        return self.source.selection.merge(self.source.read_stored(window), stored)

    def _write(
        self, path: Path, properties: Properties, read: Callable[[Window], Raster], *, cog: bool
    ) -> None:
        """Write a file by windows, or whole if its format knows no windows."""
        size = self.source.height, self.source.width
        if path.suffix == ".png":
            write_raster(path, read(whole(self.source)))
        else:
            write_scene(path, properties, size, lambda window: read(_own(window)), cog=cog)


def unfinished(path: Path) -> Path:
    """Return the folder of the finished tiles of a scene that is not finished."""
    name = path.name
    if len(name.encode()) > _LONGEST_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return path.with_name(f".{name}.unfinished")


def _own(window: rasterio.windows.Window) -> Window:
    """Return a window of rasterio as one of ours."""
    return Window(window.row_off, window.col_off, window.height, window.width)
