"""Formats of image files, told by their content and not by their names."""

from pathlib import Path

from cloudkit.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff")
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",  # without a container
}
_HEADER = 33  # bytes: a PNG's signature and its first chunk


class ImageError(UserError):
    """An image file that cannot be used. The message names it."""


class NotKeptError(ValueError):
    """A sound file with content that would be lost or changed. The message begins with "it"."""


def format_of(content: bytes) -> str:
    """Return the format of a file from its first bytes: "PNG", "TIFF", ..., or "" if unknown."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    for signature, name in _SIGNATURES.items():
        if content.startswith(signature):
            return name
    return ""


def read_header(path: Path) -> bytes:
    """Read the first bytes of a file, which tell its format."""
    with path.open("rb") as file:
        return file.read(_HEADER)


def is_deep_png(header: bytes) -> bool:
    """Return True for the header of a PNG with 16 bits a sample."""
    return format_of(header) == "PNG" and header[24:25] == b"\x10"
