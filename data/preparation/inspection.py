"""Inspection of single image files: checksum, format and damage."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cloudkit.errors import UserError
from cloudkit.imaging.formats import format_of
from cloudkit.imaging.images import decode
from cloudkit.progress import progress_bar
from cloudkit.script.each_image import LeftOut, attempt

TRAITS = ("pixels", "mode", "format")
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk, which Pillow does not ask for
_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}


@dataclass(frozen=True)
class InspectedImage:
    """Result of reading one image file."""

    path: Path
    """Path of the file."""
    checksum: str = ""
    """SHA-256 of the file in hexadecimal; empty if it cannot be read."""
    byte_count: int = 0
    """Size of the file in bytes."""
    traits: dict[str, str] = field(default_factory=dict)
    """Values of `TRAITS`, such as "512 x 384", "8 bits x 3", "PNG"; empty if it is damaged."""
    damage: str = ""
    """Reason why the image cannot be used; empty if it is sound."""

    @property
    def misnamed(self) -> bool:
        """Flag for a sound file whose name says another format than its content.

        All readers of this project go by the content, so the image can be used.
        """
        return not self.damage and self.traits["format"] != _FORMATS[self.path.suffix.lower()]


def inspect_all(paths: Sequence[Path]) -> list[InspectedImage]:
    """Inspect files in several threads, and return the results in the same order."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        results = threads.map(inspect, paths)
        return list(
            progress_bar(results, total=len(paths), desc="reading", unit="image", leave=False)
        )


def inspect(path: Path) -> InspectedImage:
    """Read and decode a file to its last byte. An error becomes part of the result."""
    found = attempt(lambda: _inspect(path), path)
    return InspectedImage(path, damage=found.reason) if isinstance(found, LeftOut) else found


def _inspect(path: Path) -> InspectedImage:
    try:
        content = path.read_bytes()
    except OSError as error:
        return InspectedImage(path, damage=f"cannot be read ({error.strerror})")

    checksum, byte_count = hashlib.sha256(content).hexdigest(), len(content)
    image_format = format_of(content)
    if not content:
        return InspectedImage(path, checksum, damage="is empty: 0 bytes")
    try:
        pixels, _ = decode(path)
    except (UserError, OSError) as error:
        damage = f"is no image (it begins with {content[:12]!r})"
        if image_format:
            reason = " ".join(str(error.__cause__ or error).split())
            damage = f"is broken ({reason})"
        return InspectedImage(path, checksum, byte_count, damage=damage)

    damage = _png_damage(path, content) if image_format == "PNG" else ""
    if damage:
        return InspectedImage(path, checksum, byte_count, damage=damage)
    height, width, bands = pixels.shape
    kind = "bits floating" if pixels.dtype.kind == "f" else "bits"
    mode = f"{8 * pixels.itemsize} {kind} x {bands}"
    values = (f"{width} x {height}", mode, image_format or "other")
    return InspectedImage(path, checksum, byte_count, dict(zip(TRAITS, values, strict=True)))


def _png_damage(path: Path, content: bytes) -> str:
    """Return damage of a PNG that its decoder passes over: a wrong checksum or a missing end."""
    if _PNG_END not in content:
        return "has lost its end (the PNG chunk IEND is missing)"
    try:
        with Image.open(path) as image:
            image.verify()
    except SyntaxError as error:
        return f"has a wrong checksum ({error})"
    return ""
