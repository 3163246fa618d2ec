"""Checks of the size that an image file claims, before anything is allocated for it."""

from pathlib import Path

from cloudkit.imaging.formats import ImageError

ALWAYS_ALLOWED = 2**29  # bytes; unpacking so much takes seconds, whatever the file holds
LARGEST_RATIO = 1000  # unpacked bytes to one byte of the file; deflate cannot reach 1033


def check_claim(path: Path, height: int, width: int, unpacked: int) -> None:
    """Compare the unpacked size that a header claims with the size of the file.

    Args:
        path: the file.
        height: claimed height in pixels.
        width: claimed width in pixels.
        unpacked: bytes of all pixels.

    Raises:
        ImageError: the claim is larger than a compression of real images explains.
    """
    size = path.stat().st_size
    if unpacked > max(ALWAYS_ALLOWED, LARGEST_RATIO * size):
        raise ImageError(
            f"{path} claims {width} x {height} pixels ({unpacked / 1e9:.1f} GB) in a file of "
            f"{size:,} bytes, expected at most {LARGEST_RATIO} times the file. It may be damaged: "
            "get a new copy. If it is sound, cut it into parts or write it without compression."
        )
