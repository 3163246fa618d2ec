"""One image file, read whole: its SHA-256, what it holds, and what is wrong with it."""

import hashlib
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cloudkit.errors import UserError
from cloudkit.images import decode

_KINDS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"BM": "BMP",
}
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


@dataclass(frozen=True)
class Inspected:
    """What reading an image file found."""

    path: Path
    """The file."""
    digest: str = ""
    """SHA-256 of the file, in hexadecimal; empty where it could not be read."""
    count: int = 0
    """Bytes in the file."""
    size: tuple[int, int] | None = None
    """Height and width in pixels; None where it is damaged."""
    mode: str = ""
    """Bits a sample, and bands with alpha among them: "8 bits x 3"; empty where it is damaged."""
    damage: str = ""
    """Why it cannot be used."""
    format: str = ""
    """PNG, JPEG, TIFF, BMP or "other", by its content; empty where it is damaged."""

    @property
    def misnamed(self) -> bool:
        """Whether its name ends as those of another format; every reader here goes by the content, so it can be used."""
        return not self.damage and self.format != _SUFFIXES[self.path.suffix.lower()]


def inspect_all(paths: Sequence[Path]) -> list[Inspected]:
    """Inspect files in several threads, with a bar; in the order given."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(tqdm(threads.map(inspect, paths), total=len(paths), desc="reading", unit="image", leave=False))


def inspect(path: Path) -> Inspected:
    """Read and decode a file to its last byte; whatever is wrong is in the result, nothing is raised."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Inspected(path, damage=f"cannot be read ({error.strerror})")
    digest, count = hashlib.sha256(content).hexdigest(), len(content)
    kind = next((name for magic, name in _KINDS.items() if content.startswith(magic)), None)
    if not content:
        return Inspected(path, digest, count, damage="is empty: 0 bytes")
    try:
        pixels, _ = decode(path)
    except (UserError, OSError) as error:
        reason = " ".join(str(error.__cause__ or error).split()) if kind else f"it begins with {content[:12]!r}"
        return Inspected(path, digest, count, damage=f"{'is broken' if kind else 'is no image'} ({reason})")
    if kind == "PNG" and (flaw := _png_flaw(content)):
        return Inspected(path, digest, count, damage=flaw)
    height, width, bands = pixels.shape
    mode = f"{8 * pixels.itemsize} bits{' floating' if pixels.dtype.kind == 'f' else ''} x {bands}"
    return Inspected(path, digest, count, (height, width), mode, format=kind or "other")


def _png_flaw(content: bytes) -> str:
    """What the chunks' check sums and the missing end tell of damage that the decoder passes over; empty if nothing."""
    start = 8
    while start + 12 <= len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        kind, end = content[start + 4 : start + 8], start + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(content[start + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return f"has a wrong check sum (PNG chunk {kind.decode('latin-1')} at byte {start})"
        if kind == b"IEND":
            return ""
        start = end + 4
    return "has lost its end (the PNG chunk IEND is missing)"
