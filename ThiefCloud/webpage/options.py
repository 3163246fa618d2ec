"""Options of the web page, and of the work on one image there."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.script.checks import require_pixels, require_positive
from thiefcloud.inference.options import GENERAL, PredictOptions, Weights
from thiefcloud.inference.scenes import SMALLEST

_PORTS = range(1, 2**16)


@dataclass(frozen=True)
class PageOptions:
    """Weights and limits of a web page that only this machine can open."""

    checkpoint: Weights = GENERAL
    """Weights: the name of released ones, a best.pt of ThiefCloud/train.py, or a file of the
    official code. Default: general."""
    port: int = 7860
    """Port on 127.0.0.1."""
    megapixels: float = 50
    """Largest image that may be uploaded, in millions of pixels. Larger ones are for predict.py."""
    tile: int | None = None
    """Side in pixels of the tiles that larger images are restored in. Default: as predict.py."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject values that cannot be used."""
        require_positive(megapixels=self.megapixels)
        require_pixels(SMALLEST, tile=self.tile)
        if self.port not in _PORTS:
            raise ValueError(
                f"--port is {self.port}, expected a number from {_PORTS[0]} to {_PORTS[-1]}."
            )


@dataclass(frozen=True)
class Work:
    """An uploaded image."""

    folder: Path
    """Folder of its files alone."""
    source: Path
    """The image."""

    @property
    def out(self) -> Path:
        """Folder for the results."""
        return self.folder / "restored"

    def discard(self) -> None:
        """Remove all files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def predict_options(
    page: PageOptions, work: Work, *, bands: str, peak: str, thickness: bool
) -> PredictOptions:
    """Return the options of predict.py for an image.

    Args:
        page: those of the page.
        work: the image.
        bands: numbers of bands, as the user wrote them.
        peak: stored value that means white, as the user wrote it.
        thickness: write the thickness map, too.

    Raises:
        ValueError: what the user wrote is no number, or cannot be used.
    """
    numbers = re.split(r"[\s,;]+", bands.strip())
    try:
        chosen = tuple(int(number) for number in numbers if number)
    except ValueError:
        raise UserError(
            f"--bands is {bands.strip()!r}, expected the numbers of three bands, such as 4 3 2, or "
            "of one."
        ) from None
    try:
        white = float(peak) if peak.strip() else None
    except ValueError:
        raise UserError(
            f"--peak is {peak.strip()!r}, expected a number, such as 10000; leave it empty for the "
            "default."
        ) from None

    return PredictOptions(
        inputs=(work.source,),
        checkpoint=page.checkpoint,
        out=work.out,
        thickness=thickness,
        bands=chosen,
        peak=white,
        tile=page.tile,
        device=page.device,
    )
