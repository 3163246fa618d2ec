"""Options of train.py, and their presets."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cloudkit.script.checks import (
    require_decay,
    require_fraction,
    require_multiple,
    require_not_negative,
    require_positive,
    require_seed,
)
from scpm import FACTOR
from thiefcloud.data.options import DataOptions
from thiefcloud.inference.weights import BUILDERS
from thiefcloud.training.losses import PixelLoss
from trainkit.data.splits import SplitLists
from trainkit.data.stores import Store
from trainkit.training.precision import Precision

if TYPE_CHECKING:
    Architecture = str  # a type checker cannot read the names from the table
else:
    Architecture = Literal[tuple(BUILDERS)]

# Options that pretrained weights decide.
BROUGHT_ALONG = ("network", "prior", "untrained_prior", "no_prior", "residual")


@dataclass(frozen=True)
class TrainOptions(DataOptions):
    """Training of ThiefCloud."""

    prior: Path | None = None
    """Weights of SCPM: a best.pt of SCPM/src/train_cd.py, or a file of the official code. Default:
    with --pretrained, the prior of those weights; else runs/scpm/best.pt if it exists; else the
    released checkpoints/scpm.safetensors."""
    untrained_prior: bool = False
    """Start from an untrained SCPM, which shows what the prior is worth."""
    no_prior: bool = False
    """Build the network without a prior."""
    network: Architecture = "thiefcloud"
    """Network to train. unet: a plain U-Net of equal size, without a prior, to compare with."""
    residual: bool = False
    """Learn what to add to the cloudy image instead of the clear image itself. The paper's network
    does not; in short trainings it is much better."""
    opaque: float = 0.0
    """Fraction of the training pairs with opaque clouds in both images, so that the network learns
    to leave them as they are."""
    odd: float = 0.0
    """Fraction of the training pairs with a few odd pixels in both images, as dead pixels,
    lettering and thin frames are, so that they mislead nobody."""
    jitter: float = 0.0
    """Strength, from 0 to 1, of random changes of brightness and colour of training pairs, both
    images alike. With 0.2 most become up to a fifth brighter or darker. 0: none."""
    augment: float = 0.0
    """Fraction of the clear images that change scale and colour before clouds are laid, so that a
    few images stand for many."""
    hide_prior: float = 0.0
    """Fraction of the crops whose prior the inversion does not see while it learns alone. So it
    does not rely on a prior that knows the training images better than others."""
    tune_with_inversion: bool = False
    """Let SCPM learn while the inversion learns alone, too, from what the inversion leaves. Its
    thickness head learns with --thickness only."""
    keep_overlay: float = 0.0
    """Fraction of the crops whose overlay, if they have one, is left to the inversion while it
    learns alone. So it learns to restore those that the overlay of the weights misses, too."""
    pretrained: Path | None = None
    """Weights to begin with: a best.pt or released weights. They decide the network and --residual,
    and the prior unless --prior names another. Default: random weights."""
    held_out: Path | None = None
    """List of names, one a line, that training and validation leave out: a test list, or the
    held_out.txt of an audit."""
    out: Path | None = None
    """Folder of the run; an earlier run there is moved aside. Default: runs/thiefcloud in the
    repository."""
    preset: Literal["paper", "inversion", "quick"] = "paper"
    """Defaults of the options. paper: the paper's recipe. inversion: as long, with an inversion
    before the network, the PSNR as loss and averaged weights. quick: the same for few images
    and two CPU cores. Default: quick for "simulated", else paper."""
    resume: bool = False
    """Continue the run in --out, with its options."""
    epochs_inversion: int = 0
    """Passes over the training images for the guided inversion, before the network behind it
    learns. Needs --residual. 0: no inversion."""
    even_steps: int = 4000
    """Steps of the fit of a new inversion's coarsest part, one gain and offset for the whole image,
    before all phases: a minute or two. 0: no fit."""
    epochs_frozen: int = 200
    """Passes over the training images with SCPM frozen; 0 to tune it from the start."""
    epochs_tunable: int = 200
    """Passes with SCPM tunable, from the best weights of the frozen phase; 0 to stop before."""
    batch_inversion: int = 8
    """Images a step, over all processes, in the phase of the inversion."""
    batch_frozen: int = 10
    """Images a step, over all processes, in the frozen phase."""
    batch_tunable: int = 5
    """Images a step, over all processes, in the tunable phase."""
    lr_inversion: float = 5e-4
    """Adam's learning rate at the start of the phase of the inversion. It falls to --lr-end as a
    cosine, epoch by epoch."""
    lr_frozen: float = 5e-4
    """The same for the frozen phase."""
    lr_tunable: float = 3e-4
    """The same for the tunable phase."""
    lr_end: float = 5e-7
    """Learning rate at the end of each phase."""
    crop: int = 256
    """Side of the training crops in pixels, a multiple of 8."""
    pixel: PixelLoss = "mse"
    """Pixel loss; the paper's is mse. psnr: minus the PSNR of each image, so that images under
    thick cloud do not decide alone."""
    max_gradient: float | None = None
    """Norm to which larger gradients are scaled down in the frozen and the tunable phase. Default:
    none are. The phase of the inversion has its own bound."""
    thickness: float = 0.0
    """Weight of the error of the thickness map where the true one is known, under simulated clouds.
    It keeps the tunable prior a detector of cloud; the head that draws the map then learns in the
    phase of the inversion too. The paper has none."""
    perceptual: float = 0.04
    """Weight of the perceptual loss; 0 leaves it out."""
    vgg: Path | None = None
    """File with torchvision's VGG16 weights for the perceptual loss. Default: torchvision fetches
    them."""
    ema: float = 0.0
    """Decay of averaged weights, for example 0.999; they are validated and kept instead of the last
    ones. 0: none."""
    validate_every: int = 1
    """Epochs between validations; the run is saved at each."""
    precision: Precision = "auto"
    """Arithmetic. auto: bf16 on GPUs that have it, fp16 on others, fp32 on the CPU."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1, ..."""
    store: Store = "auto"
    """Memory of the training images; it does not change the batches. device: that of a GPU, which
    then cuts the crops itself. host: that of the CPU. auto: device if they take at most a quarter
    of a GPU's free memory."""
    seed: int = 2023
    """Seed of initial weights, order, crops and clouds."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        self._check_numbers()

        if self.no_prior and self.untrained_prior:
            raise ValueError("--no-prior and --untrained-prior contradict each other; give one.")
        if self.thickness and (self.no_prior or self.network != "thiefcloud"):
            raise ValueError(
                "--thickness scores the map of the prior, and this network has none; leave it out."
            )
        if self.hide_prior and self.no_prior:
            raise ValueError("--hide-prior hides a prior, and --no-prior has none; give one.")
        if self.hide_prior and self.epochs_inversion == 0:
            raise ValueError(
                f"--hide-prior is {self.hide_prior}, but it works in the phase of the inversion "
                "alone; give --epochs-inversion, or leave it out."
            )
        if self.tune_with_inversion and (self.no_prior or self.network != "thiefcloud"):
            raise ValueError(
                "--tune-with-inversion tunes a prior, and this network has none; leave it out."
            )
        if self.tune_with_inversion and self.epochs_inversion == 0:
            raise ValueError(
                "--tune-with-inversion works in the phase of the inversion alone; give "
                "--epochs-inversion, or leave it out."
            )
        if self.keep_overlay and self.pretrained is None:
            raise ValueError(
                f"--keep-overlay is {self.keep_overlay}, but a new network removes no overlays; "
                "give --pretrained with weights that do, or leave it out."
            )
        if self.keep_overlay and self.epochs_inversion == 0:
            raise ValueError(
                f"--keep-overlay is {self.keep_overlay}, but it works in the phase of the "
                "inversion alone; give --epochs-inversion, or leave it out."
            )
        builds_network = self.no_prior or self.untrained_prior or self.network != "thiefcloud"
        if self.pretrained is not None and builds_network:
            raise ValueError(
                "--pretrained brings its network and prior along; leave out --network, --no-prior "
                "and --untrained-prior."
            )
        if self.dataset == "mixture" and self.held_out is not None:
            raise ValueError(
                "--held-out is for one dataset; name the lists of a mixture in its file."
            )

        residual = self.residual or self.pretrained is not None
        check_inversion(self.epochs_inversion, residual=residual)
        epochs = (self.epochs_inversion, self.epochs_frozen, self.epochs_tunable)
        if min(epochs) < 0 or sum(epochs) == 0:
            raise ValueError(
                "--epochs-inversion, --epochs-frozen and --epochs-tunable must not be negative, "
                "nor all 0: there would be nothing to train."
            )

    def _check_numbers(self) -> None:
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
        if self.max_gradient is not None:
            require_positive(max_gradient=self.max_gradient)
        require_not_negative(
            perceptual=self.perceptual,
            thickness=self.thickness,
            lr_end=self.lr_end,
            even_steps=self.even_steps,
        )
        require_seed(seed=self.seed)
        require_multiple(self.crop, FACTOR)
        require_decay(self.ema)
        require_fraction(
            opaque=self.opaque,
            jitter=self.jitter,
            odd=self.odd,
            augment=self.augment,
            hide_prior=self.hide_prior,
            keep_overlay=self.keep_overlay,
        )

    @property
    def split_lists(self) -> SplitLists:
        """Lists of names that replace the dataset's own split."""
        return SplitLists(self.split, self.held_out)


def check_inversion(epochs: int, *, residual: bool) -> None:
    """Reject epochs of the inversion that a network cannot have.

    Args:
        epochs: the number of epochs.
        residual: the network adds to an image.

    Raises:
        ValueError: the number is negative, or the network is not residual.
    """
    require_not_negative(epochs_inversion=epochs)
    if epochs and not residual:
        raise ValueError(
            "--epochs-inversion needs --residual: the network adds to what the inversion leaves; "
            "give both, or --epochs-inversion 0."
        )


PRESETS = {
    "paper": TrainOptions(),
    "inversion": TrainOptions(
        preset="inversion",
        residual=True,
        epochs_inversion=200,
        pixel="psnr",
        max_gradient=1.0,
        perceptual=0.0,
        odd=0.1,
        ema=0.999,
    ),
    "quick": TrainOptions(
        preset="quick",
        residual=True,
        epochs_inversion=200,
        epochs_frozen=16,
        epochs_tunable=12,
        batch_frozen=2,
        batch_tunable=2,
        lr_inversion=1.5e-3,
        lr_frozen=1e-3,
        even_steps=1000,
        crop=128,
        pixel="psnr",
        max_gradient=1.0,
        perceptual=0.0,
        ema=0.99,
        validate_every=20,
    ),
}
