"""Options of training and testing SCPM, and their presets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudkit.script.checks import (
    require_apart,
    require_decay,
    require_fraction,
    require_multiple,
    require_positive,
    require_seed,
)
from cloudkit.script.command_line import RUNS
from cloudkit.script.peak import PeakOptions
from scpm.network.model import FACTOR
from scpm.paths import default_prior
from scpm.simulation.options import CloudOptions
from trainkit.data.stores import Store
from trainkit.training.precision import Precision

Backend = Literal["physical", "scg"]
FIELDS_FRACTION = 0.3  # the default


def check_clouds(
    backend: Backend,
    clouds: CloudOptions,
    fields: Path | None,
    fields_fraction: float,
    *,
    simulated: bool,
) -> None:
    """Raise ValueError unless the options of simulated clouds fit RGB images and have an effect.

    Args:
        backend: value of --backend.
        clouds: values of --clouds.
        fields: value of --fields.
        fields_fraction: value of --fields-fraction.
        simulated: whether clouds are simulated at all.
    """
    require_fraction(fields_fraction=fields_fraction)
    if fields is None and fields_fraction != FIELDS_FRACTION:
        raise ValueError(
            f"--fields-fraction {fields_fraction} has no effect without --fields; name the folder "
            "of opacity maps, or leave it out."
        )
    if len(clouds.wavelengths) != 3:
        raise ValueError(
            f"--clouds.wavelengths are {clouds.wavelengths}, expected three: of red, green and "
            "blue."
        )

    physical = clouds != CloudOptions() or fields is not None
    if not simulated and (backend != "physical" or physical):
        raise ValueError(
            "--backend, --clouds and --fields have no effect here: no clouds are simulated; leave "
            "them out."
        )
    if backend == "scg" and physical:
        raise ValueError("--clouds and --fields have no effect on --backend scg; leave them out.")


@dataclass(frozen=True)
class PriorTrainOptions(PeakOptions):
    """Options of SCPM's training."""

    clear: Path | None = None
    """Train on the clear images of this folder; every batch has new simulated clouds. Default,
    without --pairs and --mixture: data/sample."""
    mixture: Path | None = None
    """Train on the clear images of several datasets, which this TOML file names; see
    checkpoints/recipes."""
    root: Path | None = None
    """Folder that holds the datasets of --mixture."""
    pairs: Path | None = None
    """Train on the pairs of this folder instead: cloudy/ and thickness/, or T_Simulated/ and
    T_Cmask/."""
    out: Path | None = None
    """Write the run to this folder. Default: runs/scpm in the repository; an earlier run there is
    moved aside."""
    pretrained: Path | None = None
    """Begin with these weights of SCPM instead of random ones, for example to train the released
    prior further on your own images."""
    preset: Literal["paper", "quick"] = "paper"
    """Choose the defaults of the options below: the paper's recipe, or one for two CPU cores.
    Default: quick for data/sample, else paper."""
    resume: bool = False
    """Continue the run in --out, with its options."""
    steps: int = 20_000
    """Train for this number of optimizer steps."""
    batch: int = 8
    """Images in a step, over all processes."""
    crop: int = 256
    """Side of the training crops in pixels, a multiple of 8."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Optimizer; SGD has momentum 0.9 and weight decay 1e-6."""
    lr: float = 1e-4
    """Learning rate at the start. It falls to 0 as (1 - step / steps) ** 0.9."""
    save_every: int = 500
    """Validate and save the run after this number of steps."""
    ema: float = 0.0
    """Decay of averaged weights, for example 0.999. They are validated and kept instead of the last
    weights. 0 averages nothing."""
    backend: Backend = "physical"
    """Simulate clouds with our own simulation (physical), or with satellite-cloud-generator as in
    the paper (scg; needs the extra scg; slow)."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """Ranges of the clouds of our own simulation."""
    fields: Path | None = None
    """Take the shape of some simulated clouds from the opacity maps of this folder, which
    SCPM/src/extract_clouds.py writes."""
    fields_fraction: float = FIELDS_FRACTION
    """Fraction of the simulated clouds that take their shape from --fields."""
    opaque: float = 0.0
    """Fraction of the crops under opaque clouds too, so that the prior knows the thickness 1."""
    augment: float = 0.0
    """Fraction of the clear crops that change scale and colour before clouds are laid, so that a
    few images stand for many."""
    precision: Precision = "auto"
    """Precision of the training. auto is bf16 on GPUs that have it, fp16 on other GPUs, fp32 on the
    CPU."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""
    store: Store = "auto"
    """Keep training images in the memory of the GPU (device), which then cuts the batches itself,
    or in that of the host. auto is device if they take at most a quarter of a GPU's free memory.
    The batches are the same."""
    seed: int = 2023
    """Seed of initial weights, order, crops and clouds."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if sum(source is not None for source in (self.clear, self.mixture, self.pairs)) > 1:
            raise ValueError("--clear, --mixture and --pairs exclude each other; give one of them.")
        if (self.mixture is None) != (self.root is None):
            raise ValueError("--mixture FILE and --root DIR belong together; give both or neither.")

        require_positive(
            steps=self.steps,
            batch=self.batch,
            crop=self.crop,
            lr=self.lr,
            save_every=self.save_every,
        )
        require_multiple(self.crop, FACTOR)
        require_decay(self.ema)
        require_seed(seed=self.seed)
        require_fraction(opaque=self.opaque, augment=self.augment)
        if self.augment and self.pairs is not None:
            raise ValueError(
                "--augment changes clear images, and --pairs has none; leave one of them out."
            )

        check_clouds(
            self.backend,
            self.clouds,
            self.fields,
            self.fields_fraction,
            simulated=self.pairs is None,
        )


PRESETS = {
    "paper": PriorTrainOptions(),
    "quick": PriorTrainOptions(
        preset="quick", steps=300, batch=8, crop=64, optimizer="adam", lr=2e-3, save_every=100
    ),
}


@dataclass(frozen=True)
class PriorTestOptions(PeakOptions):
    """Options of writing and scoring thickness maps."""

    images: Path | None = None
    """Write the maps of the cloudy images of this folder, subfolders included."""
    pairs: Path | None = None
    """Write and score the maps of the pairs of this folder: cloudy/ and thickness/, or T_Simulated/
    and T_Cmask/."""
    clear: Path | None = None
    """Write and score the maps of the clear images of this folder (of its test/, if it has one),
    each under a fixed simulated cloud. Default, without --images and --pairs: data/sample."""
    checkpoint: Path = field(default_factory=default_prior)
    """Weights: a best.pt of SCPM/src/train_cd.py, or a file of the official code. Default:
    runs/scpm/best.pt if it exists; else the released checkpoints/scpm.safetensors."""
    out: Path = RUNS / "test-scpm"
    """Write thickness maps, panels and metrics.json to this folder. Files of equal name are
    overwritten."""
    backend: Backend = "physical"
    """Simulate clouds with our own simulation (physical), or with satellite-cloud-generator (scg;
    needs the extra scg; slow)."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """Ranges of the clouds of our own simulation."""
    fields: Path | None = None
    """Take the shape of some simulated clouds from the opacity maps of this folder, which
    SCPM/src/extract_clouds.py writes."""
    fields_fraction: float = FIELDS_FRACTION
    """Fraction of the simulated clouds that take their shape from --fields."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if sum(folder is not None for folder in (self.images, self.pairs, self.clear)) > 1:
            raise ValueError("--images, --pairs and --clear exclude each other; give one of them.")

        check_clouds(
            self.backend,
            self.clouds,
            self.fields,
            self.fields_fraction,
            simulated=self.images is None and self.pairs is None,
        )
        for folder in (self.images, self.pairs, self.clear):
            require_apart(self.out, folder)
