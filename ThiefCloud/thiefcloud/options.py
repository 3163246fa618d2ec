"""What images stage 2 works on, and how it is trained: the options of train.py and its presets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudkit.checks import require_decay, require_multiple, require_not_negative, require_positive, require_share
from cloudkit.cli import ROOT, RUNS, SAMPLE
from cloudkit.splits import Choice
from cloudkit.stores import Store
from cloudkit.training import Precision
from scpm import FACTOR, Backend, CloudOptions
from scpm.options import check_clouds
from thiefcloud.losses import PixelLoss

Dataset = Literal[
    "simulated",
    "rice1",
    "rice2",
    "tcloud",
    "satehaze1k-thin",
    "satehaze1k-moderate",
    "satehaze1k-thick",
    "cuhk-cr1",
    "cuhk-cr2",
    "folder",
    "clear",
    "mixture",
]
Architecture = Literal["thiefcloud", "unet"]
OUT = RUNS / "thiefcloud"
TRAINED_PRIOR = RUNS / "scpm" / "best.pt"
BROUGHT_ALONG = ("network", "prior", "untrained_prior", "no_prior", "residual")  # by weights to begin with
RELEASED_PRIOR = ROOT / "checkpoints" / "scpm.safetensors"


def default_prior() -> Path:
    """The weights of SCPM that are used where none are named: those of a run of one's own, else the released ones."""
    return TRAINED_PRIOR if TRAINED_PRIOR.exists() else RELEASED_PRIOR


@dataclass(frozen=True)
class DataOptions:
    """Which images."""

    dataset: Dataset = "simulated"
    """A set of the field as its archive unpacks; "folder": your own pairs in {train,val,test}/{cloudy,clear} or {cloudy,clear};
    "simulated": clouds drawn over clear images; "clear": those as input and as truth, to see what is done to them; "mixture":
    several sets, as the file --mixture says."""
    root: Path | None = None
    """The data set's folder or its parent; of a mixture, the folder that holds all of them. Default, for "simulated" only:
    data/sample."""
    mixture: Path | None = None
    """TOML file that names several sets and what each gives; see checkpoints/recipes."""
    backend: Backend = "physical"
    """Cloud simulation of "simulated": our own, or satellite-cloud-generator (needs the extra scg; slow)."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """What clouds our own simulation draws."""
    fields: Path | None = None
    """Folder of opacity maps of real clouds (SCPM/src/extract_clouds.py), from which some simulated clouds take their shape."""
    fields_fraction: float = 0.3
    """Fraction of the simulated clouds that do, where --fields is given."""
    split: Path | None = None
    """List of names, one a line, instead of the set's own split: train.py trains on these (and takes validation images from
    them), test.py scores these. data/splits/ holds some."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        if self.root is None and self.dataset != "simulated":
            raise ValueError(f"--dataset {self.dataset} needs --root DIR, the folder that holds it.")
        if (self.dataset == "mixture") != (self.mixture is not None):
            raise ValueError("--dataset mixture and --mixture FILE belong together; give both or neither.")
        if self.dataset == "mixture" and self.split is not None:
            raise ValueError("--split is for one data set; name the lists of a mixture in its file.")
        simulated = self.dataset in ("simulated", "mixture")
        check_clouds(self.backend, self.clouds, self.fields, self.fields_fraction, simulated=simulated)

    @property
    def folder(self) -> Path:
        """Where the images are."""
        return self.root or SAMPLE

    @property
    def choice(self) -> Choice:
        """The lists of names that stand in for the set's own split."""
        return Choice(split=self.split)


@dataclass(frozen=True)
class TrainOptions(DataOptions):
    """How ThiefCloud is trained."""

    prior: Path | None = None
    """Weights of SCPM: a best.pt of SCPM/src/train_cd.py, or a file of the official code. Default: runs/scpm/best.pt if it is
    there, else the released checkpoints/scpm.safetensors; with --pretrained, the prior of those weights."""
    untrained_prior: bool = False
    """Start from an SCPM that never learnt anything, to see what the prior is worth."""
    no_prior: bool = False
    """Build the network without a prior."""
    network: Architecture = "thiefcloud"
    """What is trained; unet: a plain U-Net of equal size, without a prior, to compare with."""
    residual: bool = False
    """Learn what to add to the cloudy image rather than the clear image itself. The paper's network does not; in short trainings
    it is much better."""
    opaque: float = 0.0
    """Share of the training images over both halves of which opaque clouds are laid, so that what no light passed is left as it
    is."""
    jitter: float = 0.0
    """Strength of random changes of brightness and colour of the training images, both halves alike: with 0.2 most become up to
    a fifth brighter or darker. 0: none."""
    pretrained: Path | None = None
    """Weights to begin with instead of random ones, a best.pt or released weights; network and --residual are theirs, and so is
    the prior unless --prior names another."""
    held_out: Path | None = None
    """List of names, one a line, that training and validation leave out: a test list, or the held_out.txt of an audit."""
    out: Path | None = None
    """Folder of the run. Default: runs/thiefcloud in the repository; an earlier run there is moved aside."""
    preset: Literal["paper", "inversion", "quick"] = "paper"
    """Defaults of the options: the paper's recipe; inversion: as long, with an inversion before the network, L1 alone and
    averaged weights; quick: for few images and two CPU cores, without an inversion. Default: quick for "simulated", else
    paper."""
    resume: bool = False
    """Go on with the run in --out, with its options."""
    epochs_inversion: int = 0
    """Passes over the training images in which the guided inversion is trained, before the network behind it; the network begins
    where it leaves off. Needs --residual. 0: no inversion."""
    even_steps: int = 4000
    """Steps in which the coarsest part of a new inversion, one gain and offset for the whole image, is fitted to statistics of
    the training images first: a minute or two. 0: not at all."""
    epochs_frozen: int = 200
    """Passes over the training images with SCPM frozen; 0 to tune it from the start."""
    epochs_tunable: int = 200
    """Passes with SCPM tunable, from the best weights of the frozen phase; 0 to stop before."""
    batch_inversion: int = 8
    """Images a step, over all processes, while the inversion is trained."""
    batch_frozen: int = 10
    """Images a step, over all processes, while SCPM is frozen."""
    batch_tunable: int = 5
    """The same while it is tunable."""
    lr_inversion: float = 5e-4
    """Adam's learning rate at the start of the inversion's phase; it falls to lr_end as a cosine, epoch by epoch."""
    lr_frozen: float = 5e-4
    """The same for the frozen phase."""
    lr_tunable: float = 3e-4
    """The same for the tunable phase."""
    lr_end: float = 5e-7
    """Learning rate at the end of each phase."""
    crop: int = 256
    """Side of the training crops in pixels, a multiple of 8."""
    pixel: PixelLoss = "mse"
    """Pixel loss; the paper's is mse."""
    perceptual: float = 0.04
    """Weight of the perceptual loss; 0 leaves it out."""
    vgg: Path | None = None
    """File with torchvision's VGG16 weights for the perceptual loss. Default: torchvision fetches them."""
    ema: float = 0.0
    """Decay of averaged weights, for example 0.999; they are validated and kept instead of the last ones. 0: none."""
    validate_every: int = 1
    """Epochs between validations; the run is saved at each."""
    precision: Precision = "auto"
    """Arithmetic; auto: bf16 on GPUs that have it, fp16 on others, fp32 on the CPU."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    store: Store = "auto"
    """Memory that training images lie in: device, where a GPU cuts the batches itself; host; auto: device where they take at most
    a quarter of a GPU's free memory. Batches are the same."""
    seed: int = 2023
    """Of initial weights, order, crops and clouds."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        require_positive(
            batch_inversion=self.batch_inversion,
            batch_frozen=self.batch_frozen,
            batch_tunable=self.batch_tunable,
            lr_inversion=self.lr_inversion,
            lr_frozen=self.lr_frozen,
            lr_tunable=self.lr_tunable,
            crop=self.crop,
            validate_every=self.validate_every,
        )
        require_multiple(self.crop, FACTOR)
        require_decay(self.ema)
        require_share(opaque=self.opaque)
        if self.no_prior and self.untrained_prior:
            raise ValueError("--no-prior and --untrained-prior contradict each other; give one.")
        if self.pretrained is not None and (self.no_prior or self.untrained_prior or self.network != "thiefcloud"):
            raise ValueError(
                "--pretrained brings its network and prior along; leave out --network, --no-prior and --untrained-prior."
            )
        check_inversion(self.epochs_inversion, residual=self.residual or self.pretrained is not None)
        if self.dataset == "mixture" and self.held_out is not None:
            raise ValueError("--held-out is for one data set; name the lists of a mixture in its file.")
        epochs = (self.epochs_inversion, self.epochs_frozen, self.epochs_tunable)
        if min(epochs) < 0 or sum(epochs) == 0:
            raise ValueError(
                "--epochs-inversion, --epochs-frozen and --epochs-tunable must not be negative, nor all 0: there would be "
                "nothing to train."
            )
        require_not_negative(
            perceptual=self.perceptual, lr_end=self.lr_end, seed=self.seed, jitter=self.jitter, even_steps=self.even_steps
        )

    @property
    def choice(self) -> Choice:
        """The lists of names that stand in for the set's own split."""
        return Choice(self.split, self.held_out)


def check_inversion(epochs: int, *, residual: bool) -> None:
    """Raise ValueError unless a network can have an inversion that is trained for so many epochs."""
    require_not_negative(epochs_inversion=epochs)
    if epochs and not residual:
        raise ValueError(
            "--epochs-inversion needs --residual: the network adds to what the inversion leaves; give both, or "
            "--epochs-inversion 0."
        )


PRESETS = {
    "paper": TrainOptions(),
    "inversion": TrainOptions(preset="inversion", residual=True, epochs_inversion=200, pixel="l1", perceptual=0.0, ema=0.999),
    "quick": TrainOptions(
        preset="quick",
        residual=True,
        epochs_frozen=40,
        epochs_tunable=16,
        batch_frozen=4,
        batch_tunable=4,
        lr_frozen=1e-3,
        crop=64,
        pixel="l1",
        perceptual=0.0,
        validate_every=8,
    ),
}
