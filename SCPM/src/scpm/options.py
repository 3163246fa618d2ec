"""The options of stage 1 and their presets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudkit.checks import require_apart, require_decay, require_multiple, require_not_negative, require_positive, require_share
from cloudkit.cli import RUNS
from cloudkit.stores import Store
from cloudkit.training import Precision
from scpm.clouds import CloudOptions
from scpm.model import FACTOR

Backend = Literal["physical", "scg"]
OUT = RUNS / "scpm"


def check_clouds(backend: Backend, clouds: CloudOptions, fields: Path | None, fields_fraction: float, *, simulated: bool) -> None:
    """Raise ValueError unless the options of simulated clouds fit RGB images and have an effect."""
    require_share(fields_fraction=fields_fraction)
    if len(clouds.wavelengths) != 3:
        raise ValueError(f"--clouds.wavelengths are {clouds.wavelengths}, expected three: of red, green and blue.")
    if not simulated and (backend != "physical" or clouds != CloudOptions() or fields is not None):
        raise ValueError("--backend, --clouds and --fields have no effect here: no clouds are simulated; leave them out.")
    if backend == "scg" and (clouds != CloudOptions() or fields is not None):
        raise ValueError("--clouds and --fields have no effect on --backend scg; leave them out.")


@dataclass(frozen=True)
class PriorTrainOptions:
    """How SCPM is trained."""

    clear: Path | None = None
    """Folder of clear images; clouds are simulated over them afresh for every batch. Default, without --pairs and --mixture:
    data/sample."""
    mixture: Path | None = None
    """TOML file that names several data sets, whose clear images serve as it says under "simulated" and "clear"; see
    checkpoints/recipes."""
    root: Path | None = None
    """Folder that holds the data sets of --mixture."""
    pairs: Path | None = None
    """Folder with cloudy/ and thickness/ (or T_Simulated/ and T_Cmask/) to train on instead."""
    out: Path | None = None
    """Folder of the run. Default: runs/scpm in the repository; an earlier run there is moved aside."""
    preset: Literal["paper", "quick"] = "paper"
    """Defaults of the options below: the paper's recipe, or one for two CPU cores. Default: quick for data/sample, else paper."""
    resume: bool = False
    """Go on with the run in --out, with its options."""
    steps: int = 20_000
    """Optimizer steps."""
    batch: int = 8
    """Images a step, over all processes."""
    crop: int = 256
    """Side of the training crops in pixels, a multiple of 8."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """SGD has momentum 0.9 and weight decay 1e-6."""
    lr: float = 1e-4
    """Learning rate at the start; it falls to 0 as (1 - step / steps) ** 0.9."""
    save_every: int = 500
    """Steps between validations; the run is saved at each."""
    ema: float = 0.0
    """Decay of averaged weights, for example 0.999; they are validated and kept instead of the last ones. 0: none."""
    backend: Backend = "physical"
    """Cloud simulation: our own, or satellite-cloud-generator as in the paper (needs the extra scg; slow)."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """What clouds our own simulation draws."""
    fields: Path | None = None
    """Folder of opacity maps of real clouds (SCPM/src/extract_clouds.py), from which some simulated clouds take their shape."""
    fields_fraction: float = 0.3
    """Fraction of the simulated clouds that do, where --fields is given."""
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
        if sum(source is not None for source in (self.clear, self.mixture, self.pairs)) > 1:
            raise ValueError("--clear, --mixture and --pairs exclude each other; give one of them.")
        if (self.mixture is None) != (self.root is None):
            raise ValueError("--mixture FILE and --root DIR belong together; give both or neither.")
        require_positive(steps=self.steps, batch=self.batch, crop=self.crop, lr=self.lr, save_every=self.save_every)
        require_multiple(self.crop, FACTOR)
        require_decay(self.ema)
        require_not_negative(seed=self.seed)
        check_clouds(self.backend, self.clouds, self.fields, self.fields_fraction, simulated=self.pairs is None)


PRESETS = {
    "paper": PriorTrainOptions(),
    "quick": PriorTrainOptions(preset="quick", steps=300, batch=8, crop=64, optimizer="adam", lr=2e-3, save_every=100),
}


@dataclass(frozen=True)
class PriorTestOptions:
    """How thickness maps are written and scored."""

    images: Path | None = None
    """Folder of cloudy images, subfolders included."""
    pairs: Path | None = None
    """Folder with cloudy/ and thickness/ (or T_Simulated/ and T_Cmask/): the maps are scored."""
    clear: Path | None = None
    """Folder of clear images (of its test/, if it has one), each under a fixed simulated cloud: the maps are scored.
    Default, without --images and --pairs: data/sample."""
    checkpoint: Path = OUT / "best.pt"
    """Weights: a best.pt of SCPM/src/train_cd.py, or a file of the official code."""
    out: Path = RUNS / "test-scpm"
    """Folder for thickness maps, panels and metrics.json; files of equal name are replaced."""
    backend: Backend = "physical"
    """Cloud simulation: our own, or satellite-cloud-generator (needs the extra scg; slow)."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """What clouds our own simulation draws."""
    fields: Path | None = None
    """Folder of opacity maps of real clouds (SCPM/src/extract_clouds.py), from which some simulated clouds take their shape."""
    fields_fraction: float = 0.3
    """Fraction of the simulated clouds that do, where --fields is given."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
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
