"""Arms of the ablation: the variants of the training, all with equally many steps."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import scpm
from cloudkit.checkpoints import read_file, require_rgb
from cloudkit.errors import UserError
from cloudkit.files import digest
from cloudkit.imaging.finding import natural_key
from cloudkit.script.command_line import expand
from prior_ablation.options import KINDS, AblationOptions, Kind

_WITHOUT_WEIGHTS = {
    "no-prior": ["--no-prior"],
    "untrained-frozen": ["--untrained-prior"],
    "unet": ["--network", "unet"],
}


class Arm(NamedTuple):
    """Variant of the training."""

    name: str
    """Kind; for trained-frozen also the label of its prior, as in trained-frozen-20000."""
    kind: Kind
    prior: Path | None
    """Pretrained weights of SCPM, if the arm starts from some."""
    digest: str | None
    """SHA-256 of that file, because another file may have the same name."""

    def train_arguments(self, epochs: int) -> list[str]:
        """Return the arguments of train.py for the network, its prior and the phases."""
        tunable = {"trained-tunable": epochs, "trained-then-tunable": epochs // 2}.get(self.kind, 0)
        phases = ["--epochs-frozen", str(epochs - tunable), "--epochs-tunable", str(tunable)]
        if self.prior is None:
            return [*phases, *_WITHOUT_WEIGHTS[self.kind]]
        return [*phases, "--prior", str(self.prior.resolve())]


def make_arms(options: AblationOptions) -> list[Arm]:
    """Return the arms of a command line, in a fixed order.

    Raises:
        UserError: A prior cannot be read, or two of them cannot be distinguished.
    """
    trained: list[Arm] = []
    if any(kind.startswith("trained") for kind in options.arms):
        priors = expand(options.priors)
        for label, path in zip(label_priors(priors), priors, strict=True):
            trained.append(Arm(f"trained-frozen-{label}", "trained-frozen", path, digest(path)))

    arms: list[Arm] = []
    for kind in KINDS:
        if kind not in options.arms:
            continue
        if kind == "trained-frozen":
            arms += trained
        elif kind.startswith("trained"):
            arms.append(trained[-1]._replace(name=kind, kind=kind))
        else:
            arms.append(Arm(kind, kind, None, None))
    return arms


def label_priors(priors: Sequence[Path]) -> list[str]:
    """Return a short, unique name for each file of weights.

    This is the number of training steps. If steps are unknown or equal, it is the name of the
    file, then the name with its folder.

    Raises:
        UserError: A file holds no SCPM, or two files have equal names.
    """
    by_steps, by_name, by_folder = [], [], []
    for path in priors:
        require_rgb(scpm.load(path), path)  # only to raise if the file holds another network
        by_steps.append(_training_steps(path) or path.stem)
        by_name.append(path.stem)
        by_folder.append(f"{path.resolve().parent.name}-{path.stem}")

    for labels in (by_steps, by_name, by_folder):
        if len(set(labels)) == len(labels):
            return labels
    raise UserError(
        f"--priors has files that cannot be told apart by name ({priors[0]}, ...); "
        "give each a name of its own."
    )


def sort_arms(names: Iterable[str]) -> list[str]:
    """Sort names of arms by kind, then by the length of the prior's training."""
    return sorted(names, key=lambda name: (_rank(name), natural_key(name)))


def _rank(name: str) -> int:
    for rank, kind in enumerate(KINDS):
        if name.startswith(kind):
            return rank
    return len(KINDS)


def _training_steps(path: Path) -> str:
    """Return the number of steps that a checkpoint records, or "" if it records none."""
    content = read_file(path)
    step = content.get("step", content.get("about", {}).get("step"))
    return "" if step is None else str(step)
