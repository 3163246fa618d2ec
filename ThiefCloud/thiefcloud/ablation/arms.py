"""The arms of the ablation: what each gives to train.py, all with equal steps."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import scpm
from cloudkit.checkpoints import read_file
from cloudkit.errors import UserError
from cloudkit.images import natural_key
from thiefcloud.ablation.options import KINDS, AblationOptions, Kind


class Arm(NamedTuple):
    """One way to train."""

    name: str
    """The kind; of trained-frozen with the label of its prior: trained-frozen-20000."""
    kind: Kind
    prior: Path | None
    """Weights of SCPM, where it has learnt before."""
    digest: str | None
    """SHA-256 of that file: another one of equal name would make another arm."""

    def choices(self, epochs: int) -> list[str]:
        """What train.py is told of this arm: the network, its prior, and which epochs tune it."""
        tunable = {"trained-tunable": epochs, "trained-then-tunable": epochs // 2}.get(self.kind, 0)
        phases = ["--epochs-frozen", str(epochs - tunable), "--epochs-tunable", str(tunable)]
        if self.prior is not None:
            return [*phases, "--prior", str(self.prior.resolve())]
        return [*phases, *{"no-prior": ["--no-prior"], "unet": ["--network", "unet"]}.get(self.kind, ["--untrained-prior"])]


def arms_of(options: AblationOptions) -> list[Arm]:
    """The arms of a command line, in a fixed order.

    Raises:
        UserError: a prior cannot be read, or two of them cannot be told apart.
    """
    trained = any(kind.startswith("trained") for kind in options.arms)
    labels = labels_of(options.priors) if trained else []
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in options.priors] if trained else []
    arms = []
    for kind in (kind for kind in KINDS if kind in options.arms):
        if kind == "trained-frozen":
            for label, path, digest in zip(labels, options.priors, digests, strict=True):
                arms.append(Arm(f"{kind}-{label}", kind, path, digest))
        elif kind.startswith("trained"):
            arms.append(Arm(kind, kind, options.priors[-1], digests[-1]))
        else:
            arms.append(Arm(kind, kind, None, None))
    return arms


def labels_of(priors: Sequence[Path]) -> list[str]:
    """A short name for each file of weights: the steps it was trained for; its own name where these are unknown or equal.

    Raises:
        UserError: a file is no SCPM, or two have equal names too.
    """
    for path in priors:
        scpm.load(path)
    ways: tuple[Callable[[Path], str], ...] = (
        lambda path: _steps(path) or path.stem,
        lambda path: path.stem,
        lambda path: f"{path.resolve().parent.name}-{path.stem}",
    )
    for way in ways:
        labels = [way(path) for path in priors]
        if len(set(labels)) == len(labels):
            return labels
    raise UserError(f"--priors names files that cannot be told apart by name ({priors[0]}, ...); give each a name of its own.")


def in_order(names: Sequence[str]) -> list[str]:
    """Names of arms as tables have them: by kind, then the shorter training of the prior first."""
    return sorted(names, key=lambda name: (_rank(name), natural_key(name)))


def _rank(name: str) -> int:
    fitting = [rank for rank, kind in enumerate(KINDS) if name.startswith(kind)]
    return fitting[0] if fitting else len(KINDS)


def _steps(path: Path) -> str:
    """Steps of the training that a file of ours comes from; "" where it does not say."""
    content = read_file(path)
    step = content.get("step", content.get("about", {}).get("step"))
    return "" if step is None else str(step)
