"""Simulate thin clouds over clear images: pairs of a cloudy image and its exact cloud thickness.

    python SCPM/src/simulate.py                                        # the sample chips, into runs/simulated
    python SCPM/src/simulate.py --clear DIR --out DIR --copies 5       # five clouds over each of your images
    python SCPM/src/simulate.py --clouds.opacity 0.2 0.6 --overwrite   # clouds of your own; replaces what is there
    python SCPM/src/simulate.py --backend scg                          # the simulator that the paper used

Every image gives three files of one name: cloudy/NAME.png and clear/NAME.png (8 bit) and thickness/NAME.png (16-bit
gray, 65535 is opaque). train_cd.py takes the folder as --pairs; it is also a data set of (cloudy, clear) pairs.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from cloudkit.batches import Draw
from cloudkit.checks import require_not_negative, require_positive
from cloudkit.cli import RUNS, SAMPLE, parser, plain, run
from cloudkit.datasets import named_images
from cloudkit.distributed import choose_device
from cloudkit.errors import UserError
from cloudkit.files import write_json
from cloudkit.images import read_unit, write_image
from scpm import Backend, CloudOptions, simulator
from scpm.options import check_clouds

WRITTEN = ("cloudy", "thickness", "clear", "options.json")


@dataclass(frozen=True)
class SimulateOptions:
    """What to simulate, and where to."""

    clear: Path = SAMPLE / "train"
    """Folder of clear images, RGB or gray, 8 or 16 bits; its subfolders are searched too."""
    out: Path = RUNS / "simulated"
    """Folder to write, new or empty."""
    copies: int = 1
    """Clouds over each image; with more than one, names end in _1, _2 and so on."""
    seed: int = 0
    """Equal seeds draw equal clouds."""
    backend: Backend = "physical"
    """physical: the clouds described below; scg: the package satellite-cloud-generator, with settings of its own."""
    device: str = "cpu"
    """auto, cpu or cuda. The CPU draws the same clouds on every machine, and most time goes into writing the files."""
    overwrite: bool = False
    """Replace what an earlier run of this script left in the folder."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """Ranges of the physical clouds."""
    fields: Path | None = None
    """Folder of opacity maps of real clouds (SCPM/src/extract_clouds.py), from which some physical clouds take their shape."""
    fields_fraction: float = 0.3
    """Fraction of the physical clouds that do, where --fields is given."""

    def __post_init__(self) -> None:
        require_positive(copies=self.copies)
        require_not_negative(seed=self.seed)
        check_clouds(self.backend, self.clouds, self.fields, self.fields_fraction, simulated=True)
        clear, out = self.clear.resolve(), self.out.resolve()
        if clear == out or clear in out.parents or out in clear.parents:
            raise ValueError(f"out ({self.out}) and clear ({self.clear}) lie in each other; choose separate folders.")


def main(options: SimulateOptions) -> None:
    """Simulate, and put the finished folders in place only when all went well."""
    device = choose_device(options.device)
    simulate = simulator(options.backend, options.clouds, options.fields, options.fields_fraction)
    files = named_images(options.clear)
    _check_free(options.out, overwrite=options.overwrite)
    with _all_or_nothing(options.out) as folder:
        for index, (name, path) in enumerate(tqdm(files.items(), desc="simulating", unit="image")):
            clear = read_unit(path).to(device)
            for copy in range(options.copies):
                clouds = simulate(clear[None], [Draw(index, (options.seed, copy, index)).seed()])
                file = f"{name}_{copy + 1}.png" if options.copies > 1 else f"{name}.png"
                write_image(folder / "cloudy" / file, clouds.cloudy[0])
                write_image(folder / "thickness" / file, clouds.thickness[0], bits=16)
                write_image(folder / "clear" / file, clear)
        write_json(folder / "options.json", plain(options))
    print(f"{len(files) * options.copies} cloudy images, their thickness and the clear images are in {options.out}")


def _check_free(out: Path, *, overwrite: bool) -> None:
    """Raise UserError where writing to `out` would delete or mix with files that are not ours."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(f"{out} is not empty; choose another --out, or add --overwrite to replace what is there.")
    if not all((out / name).exists() for name in WRITTEN):
        raise UserError(f"{out} holds no earlier simulation ({', '.join(WRITTEN)}) to replace; choose another --out.")


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[Path]:
    """A folder beside `out` whose content moves there at the end; after an error it is deleted and `out` as it was."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield staging
        out.mkdir(exist_ok=True)
        for name in WRITTEN:
            old = out / name
            if old.is_dir():
                shutil.rmtree(old)
            (staging / name).replace(old)
    finally:
        shutil.rmtree(staging)


if __name__ == "__main__":
    run(main, parser(SimulateOptions, __doc__))
