"""Table of the released weights. A new row is all that new weights need."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from cloudkit.checkpoints import read_file

CHECKPOINTS = Path(__file__).resolve().parents[3] / "checkpoints"

# Terms of the general weights, and of all that were trained from them.
_GENERAL_LICENCE = (
    "PolyForm Noncommercial 1.0.0, for research only. Datasets of the training (RICE1, RICE2, "
    "T-CLOUD, SateHaze1k, RSSCN7) state no licence. Contains modified Copernicus Sentinel data."
)


class ReleasedWeights(NamedTuple):
    """One file of released weights."""

    file: str
    """Name of the file in checkpoints/."""
    sha256: str
    """Checksum of the file. A test compares it; loading does not, and checks the content."""
    purpose: str
    """Images that the weights are for."""
    data: str
    """Data of the training, as checkpoints/README.md says it."""
    licence: str
    """Terms of use, and the data that they come from."""
    bands: tuple[str, ...] = ("red", "green", "blue")
    """Bands of an image, in their order."""
    input_range: tuple[float, float] = (0.0, 1.0)
    """Least and largest value of an image."""

    @property
    def path(self) -> Path:
        """The file."""
        return CHECKPOINTS / self.file

    @property
    def description(self) -> str:
        """Sentence on the network and the images that the weights are for."""
        return f"ThiefCloud, removal of thin cloud from satellite images. For {self.purpose}."

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


class Weights(ReleasedWeights, Enum):
    """Released weights of ThiefCloud. `thiefcloud.load` takes a member, or its name in RELEASED."""

    GENERAL = ReleasedWeights(
        file="thiefcloud-general.safetensors",
        sha256="8be0019ca4859da517fc258a8a932a52e2283469a9796c18cd30e3e70ad3cd8d",
        purpose="scenes of your own",
        data=(
            "[recipes/general.toml](recipes/general.toml): Sentinel-2, Landsat, aerial images "
            "under simulated clouds; RICE1, RICE2, T-CLOUD, SateHaze1k, thin cloud in TIFF"
        ),
        licence=_GENERAL_LICENCE,
    )
    RICE1 = ReleasedWeights(
        file="thiefcloud-rice1.safetensors",
        sha256="7f56badb7990e61ce0026abb97434c1ab92b2c3050aec4d530599c5269d0e3b2",
        purpose="thin, even haze as in RICE1",
        data="an earlier `thiefcloud-general`, its overlay fitted to 56 pairs of RICE1 alone",
        licence=_GENERAL_LICENCE,
    )
    RICE2 = ReleasedWeights(
        file="thiefcloud-rice2.safetensors",
        sha256="7f6c8fe37246a1a40bfee8c9041f8e570aca41ffd81f9fd257d95961f762fce6",
        purpose="cloud and colours of RICE2; what opaque cloud hides is guessed",
        data="an earlier `thiefcloud-general`, then 487 pairs of RICE2 alone",
        licence=_GENERAL_LICENCE,
    )


# The same table by the names that --checkpoint takes.
RELEASED: Mapping[str, Weights] = {
    member.name.lower().replace("_", "-"): member for member in Weights
}


def path_of(weights: Weights | Path | str) -> Path:
    """Return the file of weights: of a member of `Weights`, of a name in `RELEASED`, or a path.

    A file that exists is preferred to released weights of the same name.
    """
    if isinstance(weights, Weights):
        return weights.path
    path = Path(weights)
    released = RELEASED.get(str(weights))
    return path if released is None or path.is_file() else released.path
