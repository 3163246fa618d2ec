"""Simulate thin clouds over clear images: pairs of a cloudy image and its exact thickness.

    # The sample chips, into runs/simulated:
    python SCPM/src/simulate.py
    # Five clouds over each of your images:
    python SCPM/src/simulate.py --clear DIR --out DIR --copies 5
    # Clouds of your own choice; overwrites an earlier result:
    python SCPM/src/simulate.py --clouds.opacity 0.2 0.6 --overwrite
    # The simulator that the paper used:
    python SCPM/src/simulate.py --backend scg

Every image gives three files of one name: cloudy/NAME.png and clear/NAME.png (8 bit), and
thickness/NAME.png (16-bit gray, 65535 is opaque). train_cd.py takes the folder as --pairs. It is
also a dataset of (cloudy, clear) pairs. Images that cannot be used are named at the end; the exit
status is then 2. They change nothing about the clouds of the others.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloudkit.errors import UserError
from cloudkit.files import UNFINISHED, write_json
from cloudkit.folders import is_empty, require_folder, writing_to
from cloudkit.imaging.images import read_unit, write_image
from cloudkit.processes import Processes, choose_device
from cloudkit.script.checks import require_positive, require_seed
from cloudkit.script.command_line import RUNS, SAMPLE, parser, plain, run_script
from cloudkit.script.each_image import for_each_image, refuse_left_out
from cloudkit.script.peak import PeakOptions
from scpm import CloudOptions
from scpm.data import simulator
from scpm.options import FIELDS_FRACTION, Backend, check_clouds
from trainkit.data.datasets import require_clear
from trainkit.data.pairs import named_images
from trainkit.data.sampling import SampleIndex

WRITTEN = ("cloudy", "thickness", "clear", "options.json")


@dataclass(frozen=True)
class SimulateOptions(PeakOptions):
    """Options of the simulation."""

    clear: Path = SAMPLE / "train"
    """Lay clouds over the clear images of this folder, subfolders included: RGB or gray, 8 or 16
    bits. Folders of pairs are refused."""
    out: Path = RUNS / "simulated"
    """Write the pairs to this folder, new or empty."""
    copies: int = 1
    """Number of clouds over each image. With more than one, file names end in _1, _2 and so on."""
    seed: int = 0
    """Seed of the clouds. Equal seeds draw equal clouds."""
    backend: Backend = "physical"
    """Simulate clouds with our own simulation (physical), or with satellite-cloud-generator and its
    own settings (scg)."""
    device: str = "cpu"
    """Device: auto, cpu or cuda. The CPU draws the same clouds on every machine, and most time is
    spent on writing files."""
    overwrite: bool = False
    """Overwrite what an earlier run of this script left in the folder."""
    clouds: CloudOptions = field(default_factory=CloudOptions)
    """Ranges of the physical clouds."""
    fields: Path | None = None
    """Take the shape of some physical clouds from the opacity maps of this folder, which
    SCPM/src/extract_clouds.py writes."""
    fields_fraction: float = FIELDS_FRACTION
    """Fraction of the physical clouds that take their shape from --fields."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        require_positive(copies=self.copies)
        require_seed(seed=self.seed)
        check_clouds(self.backend, self.clouds, self.fields, self.fields_fraction, simulated=True)

        clear, out = self.clear.resolve(), self.out.resolve()
        if clear.is_relative_to(out) or out.is_relative_to(clear):
            raise ValueError(
                f"--out ({self.out}) and --clear ({self.clear}) lie in each other; choose separate "
                "folders."
            )


def main(options: SimulateOptions) -> None:
    """Simulate, and write to the folder only when all images are done."""
    device = choose_device(options.device)
    simulate = simulator(options.backend, options.clouds, options.fields, options.fields_fraction)
    require_clear(options.clear)
    files = list(named_images(options.clear).items())
    require_folder(options.out)
    _check_free(options.out, overwrite=options.overwrite)

    def write_copies(number: int, folder: Path) -> None:
        name, path = files[number]
        clear = read_unit(path, peak=options.peak).to(device)
        for copy in range(options.copies):
            seed = SampleIndex(number, (options.seed, copy, number)).seed()
            clouds = simulate(clear[None], [seed])

            file = f"{name}_{copy + 1}.png" if options.copies > 1 else f"{name}.png"
            write_image(folder / "cloudy" / file, clouds.cloudy[0])
            write_image(folder / "thickness" / file, clouds.thickness[0], bits=16)
            write_image(folder / "clear" / file, clear)

    with writing_to(options.out):
        _check_free(options.out, overwrite=options.overwrite)  # another process may have ended
        with _all_or_nothing(options.out) as folder:
            outcomes = for_each_image(
                range(len(files)),
                lambda number: write_copies(number, folder),
                Processes(0, 1, device),
                title="simulating",
                name=lambda number: files[number][1],
            )
            done = outcomes.count(None)
            if not done:
                refuse_left_out(outcomes, title="nothing is written, because all were left out")
            write_json(folder / "options.json", plain(options))

    count = done * options.copies
    print(f"{count} cloudy images, their thickness and the clear images are in {options.out}")
    refuse_left_out(outcomes)


def _check_free(out: Path, *, overwrite: bool) -> None:
    """Raise UserError if writing to `out` would delete other files or mix with them."""
    if is_empty(out):
        return
    if not overwrite:
        raise UserError(
            f"{out} is not empty; choose another --out, or add --overwrite to replace what is "
            "there."
        )
    if not all((out / name).exists() for name in WRITTEN):
        raise UserError(
            f"{out} holds no earlier simulation ({', '.join(WRITTEN)}) to replace; choose another "
            "--out."
        )


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[Path]:
    """Make a hidden folder in `out`, and move its content to `out` at the end.

    After an error the folder is deleted, and the rest of `out` is unchanged.
    """
    staging = Path(tempfile.mkdtemp(prefix=f".simulated{UNFINISHED}", dir=out))
    try:
        yield staging

        for name in WRITTEN:
            old = out / name
            if old.is_dir():
                shutil.rmtree(old)
            (staging / name).replace(old)
    finally:
        shutil.rmtree(staging)


if __name__ == "__main__":
    run_script(main, parser(SimulateOptions, __doc__))
