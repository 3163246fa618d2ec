"""Remove thin cloud from images of your own: PNG, JPEG or TIFF files, and folders of them.

    python ThiefCloud/predict.py scene.png --out cleared
    python ThiefCloud/predict.py photos/ more/a.tif --out cleared --thickness
    python ThiefCloud/predict.py photos/ --out cleared --checkpoint runs/rice1/best.pt
    torchrun --nproc-per-node 2 ThiefCloud/predict.py photos/ --out cleared        # two GPUs

Images keep their size, their bit depth, gray or alpha, black rims, and their place on Earth
(GeoTIFF). Folders keep their structure. Files already there are replaced.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

import thiefcloud
from cloudkit.errors import UserError
from cloudkit.imaging.finding import find_images
from cloudkit.imaging.images import write_image
from cloudkit.imaging.pictures import read_picture, write_picture
from cloudkit.imaging.tiff import TIFF_SUFFIXES
from cloudkit.processes import join_processes
from cloudkit.progress import progress_bar
from cloudkit.script.command_line import parser, run_script
from scpm import SCPM
from thiefcloud import RemovalNetwork
from thiefcloud.inference.options import PredictOptions


def main(options: PredictOptions) -> None:
    """Restore every image; name those that cannot be read at the end."""
    with join_processes(options.device) as processes:
        # Plan the files and load the network.
        jobs = plan(options.inputs, options.out, thickness=options.thickness)
        model = thiefcloud.load(options.checkpoint).to(processes.device)
        if options.thickness and not isinstance(model.prior, SCPM):
            raise UserError(
                f"{options.checkpoint} is a network without prior, which sees no thickness; "
                "leave out --thickness."
            )

        # Restore. No process may write before all have planned, because plans depend on files.
        processes.barrier()
        errors = []
        for source, target in progress_bar(
            processes.split(jobs), desc="restoring", unit="image", show=processes.is_main
        ):
            errors.append(restore_file(model, source, target, options))
        errors = processes.gather(errors)

    # Report.
    if processes.is_main:
        failures = [error for error in errors if error is not None]
        print(f"{len(jobs) - len(failures)} of {len(jobs)} images restored to {options.out}")
        if failures:
            raise UserError("these were left out:\n  " + "\n  ".join(failures))


def restore_file(
    model: RemovalNetwork, source: Path, target: Path, options: PredictOptions
) -> str | None:
    """Restore one image.

    Returns:
        The error if the image cannot be read, else None.
    """
    try:
        picture = read_picture(source, peak=options.peak)
    except UserError as error:
        return str(error)
    image = picture.image.to(next(model.parameters()).device)
    restored, thickness = thiefcloud.restore_and_detect(model, image, flips=options.flips)

    # 0 in all bands is no ground, but no-data at the rim of a scene
    restored = torch.where(image.any(0), restored, image)
    write_picture(target, picture, restored.cpu())
    if options.thickness:
        write_image(target.with_name(f"{target.stem}_thickness.png"), thickness.cpu(), bits=16)
    return None


def plan(inputs: Sequence[Path], out: Path, *, thickness: bool) -> list[tuple[Path, Path]]:
    """Return each image with the file to write.

    Raises:
        UserError: an input is missing, two images would share a file, or a file would replace an
            input.
    """
    jobs: list[tuple[Path, Path]] = []
    out = out.resolve()
    for given in inputs:
        if given.is_dir():
            for path in find_images(given):
                if not path.resolve().is_relative_to(out):
                    jobs.append((path, _output(out / path.relative_to(given))))
        elif given.is_file():
            jobs.append((given, _output(out / given.name)))
        else:
            raise UserError(f"there is no image or folder {given}.")
    if not jobs:
        raise UserError(f"there is no image to restore but those in {out}, where results go.")

    # Names are compared without suffix, because formats may change.
    sources = {source.resolve().with_suffix("") for source, _ in jobs}
    writers: dict[Path, Path] = {}
    for source, target in jobs:
        names = [target.with_suffix("")]
        if thickness:
            names.append(target.with_name(f"{target.stem}_thickness"))
        for name in names:
            if name in writers:
                raise UserError(
                    f"{writers[name]} and {source} would both be written as {name}; "
                    "restore them into different folders."
                )
            if name in sources:
                raise UserError(
                    f"{name} is one of the images to restore and would be replaced; "
                    "choose another --out."
                )
            writers[name] = source
    return jobs


def _output(path: Path) -> Path:
    """Return the path with the suffix of the format that is written."""
    return path.with_suffix(".tif" if path.suffix.lower() in TIFF_SUFFIXES else ".png")


if __name__ == "__main__":
    run_script(main, parser(PredictOptions, __doc__))
