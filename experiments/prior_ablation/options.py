"""Options of experiments/ablation.py."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import tyro

from cloudkit.script.checks import (
    require_apart,
    require_multiple,
    require_not_negative,
    require_positive,
    require_seed,
)
from cloudkit.script.command_line import CHOICES, RUNS, peek
from cloudkit.script.peak import PeakOptions
from scpm import FACTOR
from scpm.paths import default_prior
from thiefcloud.training.losses import PixelLoss
from thiefcloud.training.options import PRESETS, TrainOptions, check_inversion
from trainkit.data.datasets import DatasetName
from trainkit.training.precision import Precision

Kind = Literal[
    "no-prior",
    "untrained-frozen",
    "trained-frozen",
    "trained-tunable",
    "trained-then-tunable",
    "unet",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
_PAPER = TrainOptions()


@dataclass(frozen=True)
class AblationOptions(PeakOptions):
    """Options of the ablation: the arms, the folds, and the training that they have in common."""

    dataset: DatasetName | Literal["folder"] = "rice1"
    """Dataset as its archive unpacks, all parts together, or "folder" for your own pairs."""
    root: Path | None = None
    """Folder of the dataset or its parent. Required unless --report-only."""
    priors: tuple[Path, ...] = field(default_factory=lambda: (default_prior(),))
    """Weights of SCPM. Arm trained-frozen is run with each, to compare lengths of its training as
    in figure 5 of the paper. The arms that tune it start from the last. Default: that of
    train.py."""
    arms: tuple[Kind, ...] = KINDS
    """Arms to run. no-prior: a network without SCPM. untrained-frozen: SCPM with random weights.
    trained-frozen: pretrained SCPM, never tuned. trained-tunable: tuned from the first step.
    trained-then-tunable: frozen for the first half of the epochs, as in the paper. unet: another
    network."""
    folds: int = 3
    """Number of folds, each of neighbouring images. Each is the test set once; the others train.
    1: keep the dataset's own test part."""
    seeds: tuple[int, ...] = (_PAPER.seed,)
    """Random seeds of the trainings. All runs are repeated with each; more can be added later."""
    out: Path = RUNS / "ablation"
    """Folder for the runs, the lists of the folds, ablation.json and ablation.md. Finished runs in
    it are kept, and the others are resumed."""
    reference: str = "untrained-frozen"
    """Arm that all others are compared with."""
    report_only: bool = False
    """Report the finished runs in --out without training."""
    preset: str = _PAPER.preset
    """Preset of train.py that gives the defaults of the options below. Batch and learning rate are
    those of its frozen phase."""
    epochs: int = _PAPER.epochs_frozen + _PAPER.epochs_tunable
    """Passes over the training images, equal for all arms."""
    batch: int = _PAPER.batch_frozen
    """Images per step, in all phases."""
    lr: float = _PAPER.lr_frozen
    """Learning rate of Adam at the start of each phase."""
    crop: int = _PAPER.crop
    """Side of the training crops in pixels, a multiple of 8."""
    pixel: PixelLoss = _PAPER.pixel
    """Pixel loss."""
    perceptual: float = _PAPER.perceptual
    """Weight of the perceptual loss; 0 disables it."""
    vgg: Path | None = None
    """File with torchvision's VGG16 weights for the perceptual loss. Default: download them."""
    residual: bool = _PAPER.residual
    """Add the cloudy image to the output of the networks."""
    epochs_inversion: int = _PAPER.epochs_inversion
    """Passes that train an inversion, guided by the arm's prior, before the network. The default is
    0 in every preset, because the paper's network has no inversion."""
    even_steps: int = _PAPER.even_steps
    """Steps that fit the coarsest part of each inversion before its other parts."""
    validate_every: int = _PAPER.validate_every
    """Epochs between validations; each validation saves the run."""
    precision: Precision = _PAPER.precision
    """Arithmetic. auto: bf16 on GPUs that have it, fp16 on others, fp32 on the CPU."""
    device: str = "auto"
    """Device to use: auto, cpu, cuda, cuda:1, ..."""
    jobs: int = 1
    """Number of runs at a time. Each has a process of its own and an equal part of PyTorch's
    threads, and prints to the file RUN.log beside its folder."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if self.preset not in PRESETS:
            raise ValueError(f"--preset is {self.preset}, expected one of {', '.join(PRESETS)}.")

        for name, values in (("arms", self.arms), ("seeds", self.seeds), ("priors", self.priors)):
            if not values or len(set(values)) < len(values):
                shown = " ".join(map(str, values)) or "empty"
                raise ValueError(f"--{name} is {shown}, expected at least one, each once.")

        if self.epochs < 2:
            raise ValueError(f"--epochs is {self.epochs}, expected at least 2.")
        require_positive(
            folds=self.folds,
            batch=self.batch,
            lr=self.lr,
            crop=self.crop,
            validate_every=self.validate_every,
            jobs=self.jobs,
        )
        check_inversion(self.epochs_inversion, residual=self.residual)
        require_not_negative(even_steps=self.even_steps, perceptual=self.perceptual)
        for seed in self.seeds:
            require_seed(seeds=seed)
        require_multiple(self.crop, FACTOR)
        require_apart(self.out, self.root)


def parse(arguments: Sequence[str], description: str | None = None) -> AblationOptions:
    """Parse a command line; its --preset determines the defaults."""
    name = peek(arguments, "preset").get("preset", _PAPER.preset)
    preset = PRESETS.get(name, _PAPER)  # the full parser rejects an unknown name

    default = AblationOptions(
        preset=preset.preset,
        epochs=preset.epochs_frozen + preset.epochs_tunable,
        batch=preset.batch_frozen,
        lr=preset.lr_frozen,
        crop=preset.crop,
        pixel=preset.pixel,
        perceptual=preset.perceptual,
        residual=preset.residual,
        even_steps=preset.even_steps,
        validate_every=preset.validate_every,
    )
    return tyro.cli(
        AblationOptions,
        args=arguments,
        default=default,
        description=description,
        registry=CHOICES,
    )
