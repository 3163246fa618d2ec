"""Table of the released weights. A new row is all that new weights need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cloudkit.checkpoints import read_file

CHECKPOINTS = Path(__file__).resolve().parents[3] / "checkpoints"

_LICENCE = (
    "PolyForm Noncommercial 1.0.0, for research only. Datasets of the training (RICE1, RICE2, "
    "T-CLOUD, SateHaze1k, RSSCN7) state no licence. Contains modified Copernicus Sentinel data."
)


class ReleasedWeights(NamedTuple):
    """One file of released weights."""

    file: str
    """Name of the file in checkpoints/."""
    purpose: str
    """Images that the weights are for."""
    data: str
    """Data of the training, as checkpoints/README.md says it."""
    licence: str = _LICENCE
    """Terms of use, and the data that they come from."""

    @property
    def path(self) -> Path:
        """The file."""
        return CHECKPOINTS / self.file

    def about(self) -> dict[str, Any]:
        """Read what the file says of itself.

        Returns:
            "about", a sentence on the training; "score", the validation PSNR in dB; "step", the
            number of optimizer steps; "options", the options of the training.

        Raises:
            FileNotFoundError, CheckpointError: the file is absent or damaged.
        """
        about: dict[str, Any] = read_file(self.path)["about"]
        return about


RELEASED: Mapping[str, ReleasedWeights] = {
    "general": ReleasedWeights(
        file="thiefcloud-general.safetensors",
        purpose="scenes of your own",
        data=(
            "[recipes/general.toml](recipes/general.toml): Sentinel-2, Landsat, aerial images "
            "under simulated clouds; RICE1, RICE2, T-CLOUD, SateHaze1k, thin cloud in TIFF"
        ),
    ),
    "rice1": ReleasedWeights(
        file="thiefcloud-rice1.safetensors",
        purpose="thin, even haze as in RICE1",
        data="`thiefcloud-general`, then 56 pairs of RICE1 alone",
    ),
    "rice2": ReleasedWeights(
        file="thiefcloud-rice2.safetensors",
        purpose="cloud and colours of RICE2; what opaque cloud hides is guessed",
        data="`thiefcloud-general`, then 487 pairs of RICE2 alone",
    ),
}


def path_of(weights: Path | str) -> Path:
    """Return the file of weights that are given by their path or by their name in `RELEASED`.

    A file that exists is preferred to released weights of the same name.
    """
    path = Path(weights)
    released = RELEASED.get(str(weights))
    return path if released is None or path.is_file() else released.path
