"""Bands of a file that a network sees, as tensors and back."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rasterio.enums import ColorInterp
from torch import Tensor

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import bands_of, hint_at_peak, require_reach, to_unit
from cloudkit.imaging.properties import NODATA_COLOUR, Properties
from cloudkit.imaging.raster import Raster
from cloudkit.imaging.scaling import Scaling, find_scaling

_NETWORK = 3  # bands that networks see
_NEARLY_WHITE = 0.999  # mean in [0, 1] of an image without anything to see
_FLOAT_STEP = 2.0**-12  # of the scale, from a float that means no data; 16 bits can hold it
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class Selection:
    """Bands of a file that a network sees. All others pass through."""

    path: Path
    """The file, for messages."""
    places: tuple[int, ...]
    """Places of the bands among the colours of `Raster.pixels`: red, green, blue, or gray."""
    properties: Properties
    """Properties of a file that has these bands alone."""
    scaling: Scaling
    """Range of their values."""

    @property
    def is_gray(self) -> bool:
        """Flag for one band, which the network sees three times."""
        return len(self.places) == 1

    def of(self, raster: Raster) -> Raster:
        """Return the bands of a raster."""
        pixels = raster.pixels[..., self.places]
        return Raster(pixels, None, raster.mask, self.properties)

    def valid(self, raster: Raster) -> np.ndarray:
        """Return the pixels (H, W) with data in these bands, that are not wholly transparent."""
        valid = self.of(raster).has_data
        return valid if raster.alpha is None else valid & (raster.alpha > 0)

    def to_unit(self, raster: Raster, *, whole: bool = False) -> Tensor:
        """Convert a raster to what a network sees: (3, H, W), float32 in [0, 1].

        Pixels without data become 0.

        Args:
            raster: what was read, the whole or a window.
            whole: this is the whole image. Check that its values are not so low that another scale
                must be meant, or say so if that is only probable.

        Raises:
            ImageError: values do not fit the scale.
        """
        chosen, scaling = self.of(raster), self.scaling
        if not scaling.starts_at_zero:
            if np.isinf(chosen.pixels[chosen.has_data]).any():
                raise ImageError(
                    f"{self.path}: some pixels are infinite, expected finite values; replace them "
                    "first."
                )
            scaled = scaling.to_unit(chosen.pixels)
            scaled[~chosen.has_data] = 0
            scaled = np.repeat(scaled, _NETWORK, axis=-1) if self.is_gray else scaled
            unit = torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))
            if whole:
                self.require_contrast(_ground_of(unit))
            return unit

        pixels = torch.from_numpy(bands_of(chosen, self.path, _NETWORK))
        if whole and not scaling.is_found and pixels.dtype in (torch.uint16, torch.int16):
            hint_at_peak(self.path, pixels, scaling.high[0])
        floating = pixels.dtype.is_floating_point
        peak = None if floating and not scaling.is_found else scaling.high[0]
        try:
            unit = to_unit(pixels, peak=peak, part=True)
        except ValueError as error:
            raise ImageError(f"{self.path}: {error}") from error
        if whole:
            self.require_reach(float(unit.max()))
            self.require_contrast(_ground_of(unit))
        return unit

    def require_reach(self, brightest: float) -> None:
        """Check that an image of floats is not far darker than its scale.

        Args:
            brightest: largest value of the whole image in [0, 1], or its mean.

        Raises:
            ImageError: another scale must be meant.
        """
        scaling = self.scaling
        dtype = getattr(torch, self.properties.dtype)
        advice = f"leave {scaling.reason} out"
        if not scaling.reason.startswith("--"):
            advice = f"that is {scaling.reason} in the file, so give --peak 1 for such floats"
        try:
            require_reach(brightest * scaling.high[0], dtype, scaling.high[0], advice)
        except ValueError as error:
            raise ImageError(f"{self.path}: {error}") from error

    def require_contrast(self, ground: Tensor) -> None:
        """Check that not all of an image is white, and say if all of it is black.

        Args:
            ground: mean of each band over the pixels with data of the whole image, in [0, 1].

        Raises:
            ImageError: it is white, so that all values would be replaced by that of white.
        """
        scaling = self.scaling
        can_exceed = min(scaling.high) < self.properties.maximum or self.properties.maximum == 1
        if scaling.is_found and can_exceed and float(ground.min()) > _NEARLY_WHITE:
            white = " ".join(f"{value:g}" for value in sorted(set(scaling.high)))
            raise ImageError(
                f"{self.path}: nearly all values reach {white}, which is white by "
                f"{scaling.reason}; name a larger value of white by --peak or --scale."
            )
        if scaling.reason.startswith("--") and min(scaling.low) > 0 and not ground.any():
            print(
                f"note: {self.path} has no data above {scaling.low[0]:g}, which is black by "
                f"{scaling.reason}, so nothing in it is restored.",
                file=sys.stderr,
            )

    def to_stored(self, raster: Raster, given: Tensor, restored: Tensor) -> np.ndarray:
        """Convert restored bands (3, H, W) to stored values (H, W, bands), as `of` has them.

        Pixels without data, and values that a network left as they were given, stay bit-equal. A
        restored value that would mean no data becomes the next one.
        """
        if self.is_gray:
            given, restored = given[:1], restored.mean(dim=0, keepdim=True)
        values = restored.clamp(0, 1).permute(1, 2, 0).numpy()
        before = raster.pixels[..., self.places]
        changed = self.valid(raster)[..., None] & (values != given.permute(1, 2, 0).numpy())
        stored = self.scaling.to_stored(values, before.dtype)
        return np.where(changed, self._with_data(raster, stored), before)

    def _with_data(self, raster: Raster, stored: np.ndarray) -> np.ndarray:
        """Move values (H, W, bands) off those that mean no data, by a step within the scale."""
        nodata = self._nodata(raster)
        is_nodata = stored == nodata
        if self.properties.has_nodata_colour:
            is_nodata &= is_nodata.all(-1, keepdims=True)
        if not is_nodata.any():
            return stored

        low, high = np.array(self.scaling.low), np.array(self.scaling.high)
        step = (high - low) * _FLOAT_STEP if stored.dtype.kind == "f" else np.ones_like(high)
        moved = stored + np.where(nodata + step <= high, step, -step)
        return np.where(is_nodata, moved, stored).astype(stored.dtype)

    def _nodata(self, raster: Raster) -> np.ndarray:
        """Return the stored value of each band that means no data, or NaN."""
        properties = self.properties
        if properties.has_nodata_colour:
            colour = properties.tags[""][NODATA_COLOUR].split()
            places = [raster.properties.order[place] for place in self.places]
            try:
                return np.array([float(colour[place]) for place in places])
            except (ValueError, IndexError):  # no colour; GDAL ignores such a tag
                return np.full(len(places), np.nan)
        values = []
        for band in properties.bands:
            values.append(np.nan if band.nodata is None else raster.as_stored(band.nodata))
        return np.array(values)

    def merge(self, raster: Raster, stored: np.ndarray) -> Raster:
        """Return a raster with other values (H, W, bands) of these bands."""
        pixels = raster.pixels.copy()
        pixels[..., self.places] = stored
        return replace(raster, pixels=pixels)


def _ground_of(unit: Tensor) -> Tensor:
    """Return the mean (bands,) of the pixels that are not 0 in all bands, or 0."""
    valid = unit.any(0)
    return unit.sum((1, 2), dtype=torch.float64) / valid.sum().clamp_min(1)


def select(
    properties: Properties,
    path: Path,
    *,
    bands: Sequence[int] = (),
    peak: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Selection:
    """Choose the bands of a file that a network sees, and find their scale.

    Args:
        properties: those of the file.
        path: the file.
        bands: numbers of the bands in the file, from 1: red, green and blue, or one of gray.
            Default: all colours, which must be three or one.
        peak: as for `find_scaling`.
        limits: as for `find_scaling`.

    Raises:
        ImageError: the bands are not there, or the scale does not fit.
    """
    order = properties.order
    if bands:
        _require_colours(properties, path, bands)
    elif len(order) not in (1, _NETWORK):
        raise ImageError(
            f"{path} has {len(order)} bands, expected {_NETWORK} or 1. Name those of red, green "
            "and blue by --bands, such as --bands 4 3 2; the others are kept as they are."
        )
    chosen = [band - 1 for band in bands] or order
    colours = _RGB if len(chosen) == _NETWORK else (ColorInterp.gray,)

    described = []
    for index, colour in zip(chosen, colours, strict=True):
        described.append(replace(properties.bands[index], colour=colour))
    selected = replace(properties, bands=tuple(described))
    places = tuple(order.index(index) for index in chosen)
    scaling = find_scaling(selected, path, peak=peak, limits=limits)
    return Selection(path, places, selected, scaling)


def _require_colours(properties: Properties, path: Path, bands: Sequence[int]) -> None:
    colours = [index + 1 for index in properties.order]
    missing = [band for band in bands if band not in colours]
    if missing:
        raise ImageError(
            f"{path} has no colour in band {missing[0]}, expected --bands among "
            f"{', '.join(map(str, colours))}; correct them, or restore this file by itself."
        )
