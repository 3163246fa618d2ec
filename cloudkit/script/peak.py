"""The option --peak of every script that reads images, and notes about values that differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudkit.checkpoints import is_ours, read_file
from cloudkit.script.checks import require_positive


@dataclass(frozen=True, kw_only=True)
class PeakOptions:
    """Range of the images."""

    peak: float | None = None
    """Stored value that means 1 (white) in all images, but not in thickness maps; 10000 is usual
    for reflectance of 16 bits. Larger values are clamped. Default: 255 for 8 bits, 65535 for 16, 1
    for floats."""

    def __post_init__(self) -> None:
        """Reject a value that no image can have."""
        if self.peak is not None:
            require_positive(peak=self.peak)


def peak_note(weights: Path, peak: float | None) -> str:
    """Return a note if weights were trained at another peak, else "".

    Released weights and files of the official code do not say their peak. A mixture has several.

    Args:
        weights: a file of weights.
        peak: value of --peak.
    """
    content = read_file(weights)
    options = content.get("options")
    if not is_ours(content) or not isinstance(options, Mapping) or "peak" not in options:
        return ""

    trained: Any = options["peak"]
    if trained == peak or options.get("mixture") is not None:
        return ""
    return (
        f"warning: {weights} was trained with {describe(trained)} and is used with "
        f"{describe(peak)}; give the same, unless the images differ in their range."
    )


def describe(peak: float | None) -> str:
    """Return a peak as it is given on the command line."""
    return "no --peak" if peak is None else f"--peak {peak:g}"
