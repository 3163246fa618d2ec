"""Remove thin cloud from images in the browser, on a web page that only this machine can open.

    python ThiefCloud/app.py
    python ThiefCloud/app.py --port 8000 --checkpoint runs/rice1/best.pt --megapixels 200

It needs pip install -e ".[demo]". Then open the address that it prints. The page takes PNG, JPEG
and TIFF files, shows the image before and after, the thickness of the cloud, and windows at full
resolution. The files that it offers equal those of predict.py with the same options. Nothing is
fetched from other machines, or sent to them. Images are restored one after the other. All files are
temporary: they are removed when the script ends, and at most six hours after a tab is closed.
"""

import importlib
import os
import signal
import tempfile
import threading
from pathlib import Path

import thiefcloud
from cloudkit.checkpoints import require_rgb
from cloudkit.errors import UserError
from cloudkit.imaging.finding import find_images
from cloudkit.imaging.images import read_unit, write_image
from cloudkit.processes import choose_device
from cloudkit.script.command_line import SAMPLE, parser, run_script
from scpm import simulate_clouds
from thiefcloud.inference.provenance import run_of
from thiefcloud.inference.released import path_of
from webpage.options import PageOptions


def main(options: PageOptions) -> None:
    """Load the network, write the examples, and serve the page until the user ends it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # files are removed then, too
    model = require_rgb(thiefcloud.load(options.checkpoint), options.checkpoint)
    model.to(choose_device(options.device))
    run = run_of(model, path_of(options.checkpoint))
    with tempfile.TemporaryDirectory(prefix="thiefcloud-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads; read when gradio is imported
        try:
            actions = importlib.import_module("webpage.actions")
            layout = importlib.import_module("webpage.layout")
        except ImportError as error:
            raise UserError(
                f'gradio is needed and cannot be imported ({error}); run pip install -e ".[demo]".'
            ) from error

        examples = write_examples(Path(folder))
        page = layout.build(actions.Actions(model, run, options, Path(folder), examples))
        try:
            address = layout.serve(page, options)
        except OSError as error:
            raise UserError(
                f"port {options.port} cannot be used, maybe another program uses it; choose "
                "another --port."
            ) from error

        print(f"open {address} in a browser; Ctrl+C ends the page", flush=True)
        try:
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def write_examples(folder: Path) -> tuple[Path, ...]:
    """Write the test chips of data/sample under simulated clouds."""
    paths = []
    for seed, chip in enumerate(find_images(SAMPLE / "test")):
        paths.append(folder / chip.name)
        write_image(paths[-1], simulate_clouds(read_unit(chip)[None], [seed]).cloudy[0])
    return tuple(paths)


if __name__ == "__main__":
    run_script(main, parser(PageOptions, __doc__))
