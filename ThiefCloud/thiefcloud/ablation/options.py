"""The options of ThiefCloud/ablation.py."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from cloudkit.checks import require_apart, require_multiple, require_not_negative, require_positive
from cloudkit.cli import RUNS, peek
from cloudkit.datasets import NamedSet
from scpm import FACTOR
from thiefcloud.losses import PixelLoss
from thiefcloud.options import PRESETS as TRAIN_PRESETS
from thiefcloud.options import TrainOptions, check_inversion, default_prior

Kind = Literal["no-prior", "untrained-frozen", "trained-frozen", "trained-tunable", "trained-then-tunable", "unet"]
KINDS: tuple[Kind, ...] = (
    "no-prior",
    "untrained-frozen",
    "trained-frozen",
    "trained-tunable",
    "trained-then-tunable",
    "unet",
)
_DEFAULTS = TrainOptions()


@dataclass(frozen=True)
class AblationOptions:
    """Which trainings are compared, on which folds, and how long each lasts."""

    dataset: NamedSet | Literal["folder"] = "rice1"
    """A set of the field as its archive unpacks, all parts of it together, or "folder": your own pairs."""
    root: Path | None = None
    """The data set's folder or its parent; needed but for --report-only."""
    priors: tuple[Path, ...] = field(default_factory=lambda: (default_prior(),))
    """Weights of SCPM. Arm trained-frozen is run with each of them (as figure 5 of the paper, which compares lengths of its
    training); the arms that tune it begin with the last. Default: that of train.py."""
    arms: tuple[Kind, ...] = KINDS
    """Which arms: no-prior, a network without SCPM; untrained-frozen, SCPM at random weights; trained-frozen; trained-tunable,
    tuned from the first step; trained-then-tunable, frozen for the first half of the epochs, the paper's way; unet, another
    network."""
    folds: int = 3
    """Into how many runs of neighbouring images the set is cut; each is the test set once, the others train."""
    seeds: tuple[int, ...] = (_DEFAULTS.seed,)
    """Seeds of the trainings; everything is repeated with each. More can be added later."""
    out: Path = RUNS / "ablation"
    """Folder for the runs, the lists of the folds, ablation.json and ablation.md. What is finished there is kept, what is
    not goes on."""
    reference: str = "untrained-frozen"
    """The arm that all others are compared with."""
    report_only: bool = False
    """Train nothing: report what is finished in --out."""
    preset: str = _DEFAULTS.preset
    """Defaults of the options below: a preset of train.py. Batch and learning rate are those of its frozen phase."""
    epochs: int = _DEFAULTS.epochs_frozen + _DEFAULTS.epochs_tunable
    """Passes over the training images, the same for every arm."""
    batch: int = _DEFAULTS.batch_frozen
    """Images a step, in every phase."""
    lr: float = _DEFAULTS.lr_frozen
    """Adam's learning rate at the start of every phase."""
    crop: int = _DEFAULTS.crop
    """Side of the training crops in pixels, a multiple of 8."""
    pixel: PixelLoss = _DEFAULTS.pixel
    """Pixel loss."""
    perceptual: float = _DEFAULTS.perceptual
    """Weight of the perceptual loss; 0 leaves it out."""
    vgg: Path | None = None
    """File with torchvision's VGG16 weights for the perceptual loss. Default: torchvision fetches them."""
    residual: bool = _DEFAULTS.residual
    """Add the cloudy image to what the networks write."""
    epochs_inversion: int = _DEFAULTS.epochs_inversion
    """Passes in which each arm's prior guides the training of an inversion before its network; 0: no inversion."""
    even_steps: int = _DEFAULTS.even_steps
    """Steps in which the coarsest part of each inversion is fitted first."""
    validate_every: int = _DEFAULTS.validate_every
    """Epochs between validations; a run is saved at each."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        if self.preset not in TRAIN_PRESETS:
            raise ValueError(f"--preset is {self.preset}, expected one of {', '.join(TRAIN_PRESETS)}.")
        for name, values in (("arms", self.arms), ("seeds", self.seeds), ("priors", self.priors)):
            if not values or len(set(values)) < len(values):
                shown = " ".join(str(value) for value in values) or "empty"
                raise ValueError(f"--{name} is {shown}, expected at least one, each once.")
        for name, least in (("folds", 2), ("epochs", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} is {getattr(self, name)}, expected at least {least}.")
        require_positive(batch=self.batch, lr=self.lr, crop=self.crop, validate_every=self.validate_every)
        check_inversion(self.epochs_inversion, residual=self.residual)
        require_not_negative(even_steps=self.even_steps, perceptual=self.perceptual, seeds=min(self.seeds))
        require_multiple(self.crop, FACTOR)
        require_apart(self.out, self.root)


def _with_defaults_of(preset: TrainOptions) -> AblationOptions:
    return AblationOptions(
        preset=preset.preset,
        epochs=preset.epochs_frozen + preset.epochs_tunable,
        batch=preset.batch_frozen,
        lr=preset.lr_frozen,
        crop=preset.crop,
        pixel=preset.pixel,
        perceptual=preset.perceptual,
        residual=preset.residual,
        epochs_inversion=preset.epochs_inversion,
        even_steps=preset.even_steps,
        validate_every=preset.validate_every,
    )


PRESETS = {name: _with_defaults_of(preset) for name, preset in TRAIN_PRESETS.items()}


def parse(arguments: Sequence[str], description: str | None = None) -> AblationOptions:
    """The options of a command line; --preset decides the defaults."""
    default = PRESETS.get(peek(arguments, "preset").get("preset", _DEFAULTS.preset), AblationOptions())
    return tyro.cli(AblationOptions, args=arguments, default=default, description=description)
