"""Remove thin cloud from images of your own: PNG, JPEG or TIFF files, and folders of them.

    python ThiefCloud/predict.py scene.png --out cleared
    python ThiefCloud/predict.py photos/ more/a.tif --out cleared --checkpoint runs/rice1/best.pt --thickness
    torchrun --nproc-per-node 2 ThiefCloud/predict.py photos/ --out cleared                  # two GPUs

Images keep their size, their bit depth, gray or alpha, black rims, and their place on Earth (GeoTIFF); folders keep
their structure. Files already there are replaced.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

import thiefcloud
from cloudkit.cli import parser, run
from cloudkit.distributed import join_world
from cloudkit.errors import UserError
from cloudkit.images import find_images, write_image
from cloudkit.pictures import read_picture, write_picture
from cloudkit.tiff import TIFF_SUFFIXES
from scpm import SCPM
from thiefcloud import ThiefCloud, UNet
from thiefcloud.options_trained import PredictOptions


def main(options: PredictOptions) -> None:
    """Restore every image; those that cannot be read are named at the end."""
    with join_world(options.device) as world:
        jobs = plan(options.inputs, options.out, thickness=options.thickness)
        model = thiefcloud.load(options.checkpoint).to(world.device)
        if options.thickness and not isinstance(model.prior, SCPM):
            raise UserError(f"{options.checkpoint} is a network without prior, which sees no thickness; leave out --thickness.")
        world.barrier()  # all have looked before any writes
        mine = tqdm(world.share(jobs), desc="restoring", unit="image", disable=not world.is_main)
        errors = world.gather([restore_file(model, source, target, options) for source, target in mine])
    if world.is_main:
        failures = [error for error in errors if error is not None]
        print(f"{len(jobs) - len(failures)} of {len(jobs)} images restored to {options.out}")
        if failures:
            raise UserError("these were left out:\n  " + "\n  ".join(failures))


def restore_file(model: ThiefCloud | UNet, source: Path, target: Path, options: PredictOptions) -> str | None:
    """Restore one image; returns what is wrong with it if it cannot be read."""
    try:
        picture = read_picture(source, peak=options.peak)
    except UserError as error:
        return str(error)
    image = picture.image.to(next(model.parameters()).device)
    restored, thickness = thiefcloud.restore_and_detect(model, image, flips=options.flips)
    restored = torch.where(image.any(0), restored, image)  # what is 0 in all bands is no ground, but the rim of a scene
    write_picture(target, picture, restored.cpu())
    if options.thickness:
        write_image(target.with_name(f"{target.stem}_thickness.png"), thickness.cpu(), bits=16)
    return None


def plan(inputs: Sequence[Path], out: Path, *, thickness: bool) -> list[tuple[Path, Path]]:
    """Each image with the file to write; raises before any work is done if an input is missing or two would share a file."""
    jobs: list[tuple[Path, Path]] = []
    out = out.resolve()
    for given in inputs:
        if given.is_dir():
            found = [path for path in find_images(given) if not path.resolve().is_relative_to(out)]
            jobs += [(path, out / path.relative_to(given)) for path in found]
        elif given.is_file():
            jobs.append((given, out / given.name))
        else:
            raise UserError(f"there is no image or folder {given}.")
    jobs = [(source, target.with_suffix(".tif" if target.suffix.lower() in TIFF_SUFFIXES else ".png")) for source, target in jobs]
    writers: dict[Path, Path] = {}
    sources = {source.resolve().with_suffix("") for source, _ in jobs}
    for source, target in jobs:
        restored = target.with_suffix("")
        for name in (restored, restored.with_name(f"{restored.name}_thickness"))[: 1 + thickness]:
            if name in writers:
                raise UserError(
                    f"{writers[name]} and {source} would both be written as {name}; restore them into different folders."
                )
            if name in sources:
                raise UserError(f"{name} is one of the images to restore and would be replaced; choose another --out.")
            writers[name] = source
    if not jobs:
        raise UserError(f"there is no image to restore but those in {out}, which is where results go.")
    return jobs


if __name__ == "__main__":
    run(main, parser(PredictOptions, __doc__))
