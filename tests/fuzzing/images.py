"""Cases of damaged images of every kind that is read."""

import contextlib
import io
import random
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from cloudkit.errors import UserError
from cloudkit.imaging.pictures import read_picture, write_picture
from tests.cloudkit.imaging import geotiffs
from tests.fuzzing.mutations import BYTES
from tests.helpers import random_pixels

_COMPRESSIONS = ("lzw", "deflate", "zstd", "packbits", "lzma", "webp", "lerc", "jpeg", "none")
_UNTOUCHED = 0.02  # fraction of the cases with a sound file


def check(seed: int, number: int) -> str:
    """Damage an image, read it, write it again, and return "refused" or "sound"."""
    dice = random.Random(f"{seed}-{number}")
    suffix, content = dice.choice(_sources())
    if dice.random() > _UNTOUCHED:
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            if content:
                content = dice.choice(BYTES)(content, dice)

    # A hint at --peak is no fault.
    quiet = contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), quiet:
        warnings.simplefilter("ignore")
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        try:
            picture = read_picture(path)
            write_picture(Path(folder) / "again.png", picture, picture.image)
        except UserError as error:
            message = str(error)
        else:
            assert picture.image.isfinite().all(), "values that are not finite"
            return "sound"

    assert len(message) < 2000, f"a long message: {message[:2000]}"
    assert path.name in message, f"a message without the file: {message}"
    return "refused"


@cache
def _sources() -> list[tuple[str, bytes]]:
    """Return the suffix and the content of a sound file of each kind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for bands in (1, 2, 3, 4):
            pixels = random_pixels(np.uint16, 20, 30, bands)
            geotiffs.write(folder / f"deep{bands}.png", pixels, driver="PNG")
        for compression in _COMPRESSIONS:
            path = folder / f"{compression}.tif"
            pixels = random_pixels(np.uint8, 20, 30, 3)
            geotiffs.write(path, pixels, compress=compression, crs=geotiffs.CRS, nodata=3)
        ramp = geotiffs.ramp("float32", 3, 0, 1)
        geotiffs.write(folder / "float.tif", ramp, compress="lzw", predictor=3)
        pixels = random_pixels(np.uint16, 20, 30, 3)
        geotiffs.write(folder / "deep.jp2", pixels, driver="JP2OpenJPEG")

        image = Image.fromarray(random_pixels(np.uint8, 20, 30, 3))
        for suffix in ("png", "jpg", "bmp", "webp"):
            image.save(folder / f"flat.{suffix}")
        image.quantize(16).save(folder / "palette.png")
        return [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]
