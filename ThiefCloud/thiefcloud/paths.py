"""Default files of the scripts."""

from pathlib import Path

from cloudkit.script.command_line import RUNS
from thiefcloud.inference.released import CHECKPOINTS

OUT = RUNS / "thiefcloud"
TRAINED_PRIOR = RUNS / "scpm" / "best.pt"
RELEASED_PRIOR = CHECKPOINTS / "scpm.safetensors"


def default_prior() -> Path:
    """Return the user's own trained weights of SCPM, or the released ones if there are none."""
    return TRAINED_PRIOR if TRAINED_PRIOR.exists() else RELEASED_PRIOR
