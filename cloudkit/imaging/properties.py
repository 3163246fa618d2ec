"""All that a file says of its pixels, and that must come out again with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine

NODATA_COLOUR = "NODATA_VALUES"  # name of GDAL's tag
NOWHERE = Affine.identity()
Tags = Mapping[str, Mapping[str, str]]
"""Tags by their namespace; "" is the usual one."""

# Types of pixels that are read, and their largest values; floats hold 1 for white.
MAXIMA = {"uint8": 255.0, "uint16": 65535.0, "int16": 32767.0, "float32": 1.0, "float64": 1.0}
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True)
class Place:
    """Position of an image on Earth."""

    crs: CRS | None = None
    """Coordinate system."""
    transform: Affine = NOWHERE
    """Map from columns and rows to coordinates."""
    gcps: tuple[Sequence[GroundControlPoint], CRS | None] = ((), None)
    """Ground control points with their coordinate system."""
    rpcs: Mapping[str, str] = field(default_factory=dict)
    """Rational polynomial coefficients, as GDAL names them."""

    @property
    def is_known(self) -> bool:
        """Flag for an image that has a position."""
        return bool(self.crs or self.gcps[0] or self.rpcs or self.transform != NOWHERE)


@dataclass(frozen=True)
class Band:
    """Properties of one band, colour or alpha."""

    colour: ColorInterp
    """Meaning of the band."""
    description: str | None = None
    """Name of the band."""
    unit: str | None = None
    """Unit of the values after scale and offset."""
    scale: float = 1.0
    """Factor of the stored values."""
    offset: float = 0.0
    """Summand after the scale."""
    nodata: float | None = None
    """Stored value that means no data."""
    tags: Tags = field(default_factory=dict)
    """Further tags."""


@dataclass(frozen=True)
class Attachments:
    """Blocks of a photo's file that describe it as a whole."""

    exif: bytes = b""
    """EXIF data, without an orientation, because pixels are read upright."""
    icc_profile: bytes = b""
    """Colour profile."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of a PNG."""


@dataclass(frozen=True)
class Properties:
    """Properties of an image file except its pixels."""

    image_format: str
    """Format of the content: "TIFF", "PNG", ..."""
    dtype: str
    """Type of the stored values."""
    maximum: float
    """Largest value that the stored bits can hold; 1 for floats."""
    bands: tuple[Band, ...]
    """Bands in the order of the file, alpha among them."""
    place: Place = field(default_factory=Place)
    """Position on Earth."""
    tags: Tags = field(default_factory=dict)
    """Tags of the file."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Compression, tiling and other options of GDAL that write the file alike."""
    overviews: tuple[int, ...] = ()
    """Factors of the smaller copies within the file."""
    white_is_zero: bool = False
    """Flag for gray values that are stored inverted."""
    attachments: Attachments = field(default_factory=Attachments)
    """Blocks of a photo's file."""

    @property
    def has_nodata_colour(self) -> bool:
        """Flag for one colour, not one value of each band, that means no data."""
        return NODATA_COLOUR in self.tags.get("", {})

    @property
    def alpha(self) -> int | None:
        """Index of the alpha band."""
        colours = [band.colour for band in self.bands]
        return colours.index(ColorInterp.alpha) if ColorInterp.alpha in colours else None

    @property
    def order(self) -> list[int]:
        """Indices of the colour bands: red, green, blue if they are named so, else as stored."""
        indices = [index for index in range(len(self.bands)) if index != self.alpha]
        colours = [self.bands[index].colour for index in indices]
        if sorted(colours) == sorted(_RGB):
            return [indices[colours.index(colour)] for colour in _RGB]
        return indices

    @property
    def place_tags(self) -> Tags:
        """Tags that belong to the place: whether pixels are areas or points."""
        plain = self.tags.get("", {})
        return {"": {name: plain[name] for name in ("AREA_OR_POINT",) if name in plain}}

    @property
    def resampling(self) -> Resampling:
        """Method by which the overviews were made."""
        name = self.tags.get("", {}).get("OVR_RESAMPLING_ALG", "NEAREST").lower()
        return Resampling[name] if name in Resampling.__members__ else Resampling.nearest


def plain(dtype: str, colours: int, *, alpha: bool, image_format: str = "") -> Properties:
    """Return the properties of an image without any but its bands: RGB for three, else gray."""
    first = list(_RGB) if colours == 3 else [ColorInterp.gray]
    meanings = first + [ColorInterp.undefined] * (colours - len(first))
    meanings += [ColorInterp.alpha] * alpha
    bands = tuple(Band(colour) for colour in meanings)
    return Properties(image_format, dtype, MAXIMA[dtype], bands, options={"compress": "deflate"})
