"""Tell whether an image shows the tiles in which it was computed.

    python benchmarks/seams.py cleared/scene.tif --tile 512
    python benchmarks/seams.py cleared/scene.tif --original scene.tif --tile 512    # much finer

Rows and columns at the edges of tiles are compared with all others: by steps, dips and changes
along each (benchmarks/seamkit/lines.py). A score counts deviations above the usual. With
--original, the difference of both images is judged, in which texture hides less.

The exit status is 0 without seams, 1 with seams, 2 if the image cannot be judged. A clean verdict
is no proof: benchmarks/README.md says how small a seam is found.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks.seamkit.verdict import LEAST, LIMITS, find_seams
from cloudkit.errors import UserError
from cloudkit.imaging.images import decode
from cloudkit.script.checks import require_pixels
from cloudkit.script.command_line import format_table, parser, run_script


@dataclass(frozen=True)
class SeamsOptions:
    """The image to judge."""

    restored: tyro.conf.Positional[Path]
    """Image that was computed in tiles."""
    tile: int = 512
    """Distance of the edges of tiles in pixels, counted from the upper left corner."""
    original: Path | None = None
    """Image from which it was computed. Finds smaller seams."""

    def __post_init__(self) -> None:
        """Reject tiles that are too small to learn the usual from."""
        require_pixels(LEAST, tile=self.tile)


def main(options: SeamsOptions) -> None:
    """Print the scores and the verdict."""
    image = bands_of(options.restored)
    original = None if options.original is None else bands_of(options.original)
    if original is not None and (original.shape, original.dtype) != (image.shape, image.dtype):
        raise UserError(
            f"{options.original} has {described(original)} and {options.restored} has "
            f"{described(image)}, expected equal ones; name the image from which it was computed."
        )

    findings = find_seams(image, options.tile, original)
    if not findings:
        raise UserError(
            f"{options.restored} has {described(image)}, too few for edges of tiles of "
            f"{options.tile} pixels; name a smaller --tile."
        )

    rows = []
    for each in findings:
        rows.append(
            {
                "measure": f"{each.lines}s, {each.measure}",
                "all edges": f"{each.together:.1f}",
                "worst edge": f"{each.highest:.1f} at {each.lines} {each.at}",
                "other lines": f"{each.other:.1f}",
                "limit": f"{LIMITS[each.measure]:g}",
                "step": f"{each.height:.3g}",
                "": "SEAM" if each.is_seam else "",
            }
        )
    print(format_table(rows))
    seams = [each for each in findings if each.is_seam]
    if seams:
        lines = " and ".join(dict.fromkeys(f"{each.lines}s" for each in seams))
        print(f"seams: {lines} at edges of tiles of {options.tile} pixels differ from the others")
        sys.exit(1)
    print(f"no seam at edges of tiles of {options.tile} pixels")


def bands_of(path: Path) -> np.ndarray:
    """Read the stored values (H, W, bands) without alpha. Raises as `decode`."""
    pixels, has_alpha = decode(path)
    return pixels[..., :-1] if has_alpha else pixels


def described(image: np.ndarray) -> str:
    """Return size, bands and type as text."""
    height, width, bands = image.shape
    return f"{height}x{width} pixels in {bands} bands of {image.dtype}"


if __name__ == "__main__":
    run_script(main, parser(SeamsOptions, __doc__))
