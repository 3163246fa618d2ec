"""Inspection of single image files: checksum, format and damage."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cloudkit.imaging.images import ImageError, decode
from cloudkit.progress import progress_bar

TRAITS = ("pixels", "mode", "format")


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


def inspect_all(paths: Sequence[Path]) -> list[InspectedImage]:
    """Inspect files in several threads, and return the results in the same order."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        results = threads.map(inspect, paths)
        return list(
            progress_bar(results, total=len(paths), desc="reading", unit="image", leave=False)
        )


def inspect(path: Path) -> InspectedImage:
    """Read and decode a file completely. An error becomes part of the result."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return InspectedImage(path, damage=f"cannot be read ({error.strerror})")

    checksum, byte_count = hashlib.sha256(content).hexdigest(), len(content)
    if not content:
        return InspectedImage(path, checksum, damage="is empty: 0 bytes")
    try:
        pixels, _ = decode(path)
        image_format = _verify_format(path)
    except Exception as error:  # Pillow raises errors of many types
        cause = error.__cause__ if isinstance(error, ImageError) else error
        reason = " ".join(str(cause or error).split())
        damage = f"is damaged or no image ({reason})"
        return InspectedImage(path, checksum, byte_count, damage=damage)

    height, width, bands = pixels.shape
    kind = "bits floating" if pixels.dtype.kind == "f" else "bits"
    mode = f"{8 * pixels.itemsize} {kind} x {bands}"
    traits = dict(zip(TRAITS, (f"{width} x {height}", mode, image_format), strict=True))
    return InspectedImage(path, checksum, byte_count, traits)


def _verify_format(path: Path) -> str:
    """Return the format of a file that can be decoded, after comparing the checksums of a PNG.

    The decoder alone overlooks a wrong checksum and a missing end.
    """
    try:
        with Image.open(path) as image:
            image.verify()
            return image.format or "other"
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return "TIFF"  # with bands or pixels that only tifffile reads
