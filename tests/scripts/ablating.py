"""A small ablation for tests."""

from pathlib import Path

from tests.helpers import write_pairs

ARMS = ("untrained-frozen", "trained-then-tunable")
RECIPE = ["--folds", 2, "--preset", "quick", "--crop", 8, "--batch", 2, "--epochs", 2]
RECIPE += ["--epochs-inversion", 1, "--even-steps", 2, "--validate-every", 1, "--device", "cpu"]
RECIPE += ["--lr", 1e-4]  # small, so that tuning gains
Arguments = list[object]


def six_pairs(root: Path, prior: Path) -> Arguments:
    """Return a command line over six new pairs, each in a block of its own."""
    pairs = write_pairs(root, 6)
    return ["--dataset", "folder", "--root", pairs, "--priors", prior, "--arms", *ARMS, *RECIPE]
