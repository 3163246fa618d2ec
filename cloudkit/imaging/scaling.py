"""Range of stored values that is black to white, found in what a file says of its values."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.properties import MAXIMA, Properties

_QUANTIFICATION = re.compile(r"(BOA_|TOA_)?QUANTIFICATION_VALUE")  # not that of water vapour
_OFFSET = re.compile(r"(RADIO|BOA)_ADD_OFFSET(_\w+)?")
_FEWEST_LEVELS = 100  # stored values from black to white of an image
_NO_UNITS = ("", "1", "none", "unitless", "dimensionless", "reflectance")


@dataclass(frozen=True)
class Scaling:
    """Stored values that become 0 and 1, for each band."""

    low: tuple[float, ...]
    """Stored values that become 0."""
    high: tuple[float, ...]
    """Stored values that become 1."""
    reason: str
    """Place where they were found, for messages."""
    is_found: bool = True
    """False for the range of the type, which nobody named."""

    @property
    def starts_at_zero(self) -> bool:
        """Flag for one factor for all bands."""
        return not any(self.low) and len(set(self.high)) == 1

    def to_unit(self, pixels: np.ndarray) -> np.ndarray:
        """Convert stored values (H, W, bands) to [0, 1], float32. Others are clamped."""
        low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
        values = (pixels.astype(np.float32) - low) / (high - low)
        return np.clip(values, np.float32(0), np.float32(1))

    def to_stored(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Convert values (H, W, bands) in [0, 1] to stored ones."""
        low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
        stored = values * (high - low) + low
        if dtype.kind == "f":
            return stored.astype(dtype)
        limits = np.iinfo(dtype)
        return np.clip(np.rint(stored), limits.min, limits.max).astype(dtype)

    def __str__(self) -> str:
        """Return the range for messages."""
        low, high = sorted(set(self.low)), sorted(set(self.high))
        lows = " ".join(f"{value:g}" for value in low)
        return f"{lows} to {' '.join(f'{value:g}' for value in high)} ({self.reason})"


def find_scaling(
    properties: Properties,
    path: Path,
    *,
    peak: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Scaling:
    """Find the range of the stored values of an image.

    Args:
        properties: those of the bands that are restored.
        path: the file, for messages.
        peak: stored value that becomes 1, if the user names it.
        limits: stored values that become 0 and 1, if the user names them.

    Raises:
        ImageError: the type of the pixels cannot hold what the user names.
    """
    bands = len(properties.order)
    if peak is not None or limits is not None:
        low, high = (0.0, peak) if peak is not None else limits or (0.0, 1.0)
        name = "--scale" if peak is None else "--peak"
        _require_held(properties, path, low, high, name)
        return Scaling((low,) * bands, (high,) * bands, name)

    found = _of_sentinel2(properties) or _of_gdal(properties)
    if found is not None and _is_plausible(found, properties):
        return found
    reason = f"the range of {properties.dtype}"
    if properties.maximum != MAXIMA[properties.dtype]:
        reason = "the bits that the file names"
    return Scaling((0.0,) * bands, (properties.maximum,) * bands, reason, is_found=False)


def _require_held(properties: Properties, path: Path, low: float, high: float, name: str) -> None:
    if properties.dtype.startswith("float"):
        return
    smallest = float(np.iinfo(properties.dtype).min)
    if high > properties.maximum and name == "--peak":
        raise ImageError(
            f"{path}: it holds {properties.dtype}, whose largest value is below the peak of "
            f"{high:g}; leave --peak out."
        )
    if not smallest <= low < high <= properties.maximum:
        raise ImageError(
            f"{path} holds {properties.dtype}, which cannot hold --scale {low:g} {high:g}; name "
            f"two values from {smallest:g} to {properties.maximum:g}."
        )


def _of_sentinel2(properties: Properties) -> Scaling | None:
    """Read the scale of a product of Sentinel-2: reflectance = (stored + offset) / quantification.

    Offsets exist from processing baseline 04.00 on.
    """
    of_file = list(_texts(properties.tags))
    low, high = [], []
    for index in properties.order:
        of_band = list(_texts(properties.bands[index].tags))
        divisors = _values(_QUANTIFICATION, of_band) or _values(_QUANTIFICATION, of_file)
        offsets = _values(_OFFSET, of_band) or _values(_OFFSET, of_file) or {0.0}
        if len(divisors) != 1 or len(offsets) != 1:
            return None
        low.append(0.0 - offsets.pop())  # not -0
        high.append(divisors.pop() + low[-1])

    reason = "Sentinel-2's quantification"
    return Scaling(tuple(low), tuple(high), f"{reason} and offset" if any(low) else reason)


def _of_gdal(properties: Properties) -> Scaling | None:
    """Read the scale and the offset of each band: value = stored * scale + offset."""
    low, high = [], []
    for index in properties.order:
        band = properties.bands[index]
        is_plain = (band.scale, band.offset) == (1.0, 0.0)
        if is_plain or not band.scale > 0 or (band.unit or "").lower() not in _NO_UNITS:
            return None
        low.append((0.0 - band.offset) / band.scale)
        high.append((1 - band.offset) / band.scale)
    return Scaling(tuple(low), tuple(high), "GDAL's scale and offset")


def _is_plausible(scaling: Scaling, properties: Properties) -> bool:
    """Return True unless the values are no reflectance, but temperatures or heights."""
    if not np.isfinite([*scaling.low, *scaling.high]).all():
        return False
    if properties.dtype.startswith("float"):
        return all(low < high for low, high in zip(scaling.low, scaling.high, strict=True))
    for low, high in zip(scaling.low, scaling.high, strict=True):
        if high - low < _FEWEST_LEVELS or high > properties.maximum + 0.5:
            return False
    return True


def _texts(tags: object) -> Iterator[tuple[str, str]]:
    for values in dict(tags).values():  # type: ignore[call-overload]
        yield from values.items()


def _values(pattern: re.Pattern[str], texts: Sequence[tuple[str, str]]) -> set[float]:
    """Return the numbers of all tags that a pattern names."""
    found = set()
    for name, text in texts:
        if pattern.fullmatch(name.strip().upper()):
            try:
                found.add(float(text))
            except ValueError:
                continue
    return found
