"""Default files of SCPM."""

from pathlib import Path

from cloudkit.script.command_line import ROOT, RUNS

OUT = RUNS / "scpm"
TRAINED_PRIOR = OUT / "best.pt"
RELEASED_PRIOR = ROOT / "checkpoints" / "scpm.safetensors"


def default_prior() -> Path:
    """Return the user's own trained weights of SCPM, or the released ones if there are none."""
    return TRAINED_PRIOR if TRAINED_PRIOR.exists() else RELEASED_PRIOR
