"""Options that name images, shared by training and scoring."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cloudkit.script.command_line import SAMPLE
from cloudkit.script.peak import PeakOptions
from scpm import CloudOptions
from scpm.options import FIELDS_FRACTION, Backend, check_clouds
from trainkit.data.datasets import DatasetName
from trainkit.data.splits import SplitLists

Dataset = Literal["simulated"] | DatasetName | Literal["folder", "clear", "mixture"]


@dataclass(frozen=True)
class DataOptions(PeakOptions):
    """Choice of images."""

    dataset: Dataset = "simulated"
    """Dataset: a published one, as its archive unpacks, or one of these. "folder": your own pairs
    in {train,val,test}/{cloudy,clear} or {cloudy,clear}. "simulated": clear images, under simulated
    clouds. "clear": clear images as input and as truth, to score how much they change. "mixture":
    several datasets, listed in the file --mixture."""
    root: Path | None = None
    """Folder of the dataset or its parent; for a mixture, the folder that holds all of its
    datasets. Default, for "simulated" only: data/sample."""
    mixture: Path | None = None
    """TOML file that lists several datasets and their samples in a pass; see
    checkpoints/recipes."""
    backend: Backend = "physical"
    """Cloud simulation of "simulated". physical: our own. scg: satellite-cloud-generator, which is
    slow and needs the extra scg."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """Clouds that our own simulation draws."""
    fields: Path | None = None
    """Folder of opacity maps of real clouds (SCPM/src/extract_clouds.py). Some simulated clouds
    take their shape from them. Default: none."""
    fields_fraction: float = FIELDS_FRACTION
    """Fraction of the simulated clouds with such shapes, if --fields is given."""
    split: Path | None = None
    """List of names, one a line, that replaces the dataset's own split. train.py trains on these
    and takes validation images from them; test.py scores these. data/splits/ holds some."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        if self.root is None and self.dataset != "simulated":
            raise ValueError(
                f"--dataset {self.dataset} needs --root DIR, the folder that holds it."
            )
        if (self.dataset == "mixture") != (self.mixture is not None):
            raise ValueError(
                "--dataset mixture and --mixture FILE belong together; give both or neither."
            )
        if self.dataset == "mixture" and self.split is not None:
            raise ValueError("--split is for one dataset; name the lists of a mixture in its file.")

        simulated = self.dataset in ("simulated", "mixture")
        check_clouds(
            self.backend, self.clouds, self.fields, self.fields_fraction, simulated=simulated
        )

    @property
    def folder(self) -> Path:
        """Folder of the images."""
        return self.root or SAMPLE

    @property
    def split_lists(self) -> SplitLists:
        """Lists of names that replace the dataset's own split."""
        return SplitLists(split=self.split)
