"""Remove thin cloud from images of your own: PNG, JPEG or TIFF files, and folders of them.

    python ThiefCloud/predict.py scene.png --out cleared
    python ThiefCloud/predict.py photos/ more/a.tif --out cleared --thickness
    python ThiefCloud/predict.py photos/ --out cleared --checkpoint runs/rice1/best.pt
    python ThiefCloud/predict.py photos/ --out cleared --onnx model.onnx    # of export.py
    torchrun --nproc-per-node 2 ThiefCloud/predict.py photos/ --out cleared        # two GPUs
    python ThiefCloud/predict.py photos/ --out cleared --share 1/4      # on the first of 4 machines

Images keep their size, their type, gray or alpha, pixels without data, and all that else lies in
their files: place on Earth, tags, EXIF. Folders keep their structure. Files already there are
replaced. Images of one name, as a.jpg and a.tif, become a_jpg.png and a_tif.tif. Images that cannot
be used are named at the end; the exit status is then 2.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

import thiefcloud
from cloudkit.errors import UserError
from cloudkit.folders import require_folder
from cloudkit.imaging.finding import distinct_stems, find_images
from cloudkit.imaging.pictures import read_picture, write_picture, write_thickness
from cloudkit.processes import join_processes
from cloudkit.script.command_line import expand, parser, run_script
from cloudkit.script.each_image import LeftOut, for_each_image, refuse_left_out
from cloudkit.script.peak import peak_note
from cloudkit.shares import writing_share
from thiefcloud.inference.options import PredictOptions
from thiefcloud.inference.released import path_of
from thiefcloud.network.base import Restorer


def main(options: PredictOptions) -> None:
    """Restore every image; name those that cannot be read at the end."""
    with join_processes(options.device) as processes:
        # Plan the files and load the network.
        require_folder(options.out)
        jobs = plan(options.inputs, options.out, thickness=options.thickness)
        if share := options.share_or_task():
            planned, out = len(jobs), _real(options.out)
            jobs = share.of(jobs, lambda job: job[1].relative_to(out))
            if processes.is_main:
                print(f"share {share}: {len(jobs)} of {planned} images")
        model = load(options).to(processes.device)
        if options.thickness and not model.sees_thickness:
            raise UserError(
                f"{options.weights} is a network without prior, which sees no thickness; "
                "leave out --thickness."
            )

        if processes.is_main and (note := peak_note(path_of(options.checkpoint), options.peak)):
            print(note)

        # Restore. No process may write before all have planned, because plans depend on files.
        parts = {target.parent for _, target in jobs}
        with writing_share(options.out, share, processes, parts=parts):
            processes.barrier()
            outcomes = for_each_image(
                jobs,
                lambda job: restore_file(model, *job, options),
                processes,
                title="restoring",
                name=lambda job: job[0],
            )

    # Report.
    if processes.is_main:
        restored = [outcome for outcome in outcomes if not isinstance(outcome, LeftOut)]
        print(f"{len(restored)} of {len(jobs)} images restored to {options.out}")
        refuse_left_out(outcomes)


def load(options: PredictOptions) -> Restorer:
    """Load the network, or the exported one."""
    if options.onnx:
        return thiefcloud.load_onnx(options.onnx)
    return thiefcloud.load(options.checkpoint)


def restore_file(model: Restorer, source: Path, target: Path, options: PredictOptions) -> None:
    """Restore one image.

    Raises:
        UserError: the image cannot be used.
    """
    picture = read_picture(source, peak=options.peak)
    image = picture.image.to(next(model.parameters()).device)
    restored, thickness = thiefcloud.restore_and_detect(model, image, flips=options.flips)

    # 0 in all bands is no ground, but no-data at the rim of a scene
    restored = torch.where(image.any(0), restored, image)
    write_picture(target, picture, restored.cpu())
    if options.thickness:
        named = target.with_name(f"{target.stem}_thickness{target.suffix}")
        write_thickness(named, picture, thickness.cpu())


def plan(inputs: Sequence[Path], out: Path, *, thickness: bool) -> list[tuple[Path, Path]]:
    """Return each image with the file to write.

    Raises:
        UserError: an input is missing, two images would share a file, or a file would replace an
            input.
    """
    out = _real(out)
    found: dict[Path, Path] = {}  # each image and its place below the folder that was given
    known: set[Path] = set()

    def add(path: Path, place: Path) -> None:
        """Note an image, unless it was given already, maybe by another path to its folder."""
        entry = _real(path.parent) / path.name
        if entry not in known:
            known.add(entry)
            found[path] = place

    for given in expand(inputs):
        if given.is_dir():
            for path in find_images(given):
                if not _real(path).is_relative_to(out):
                    add(path, path.relative_to(given))
        elif given.is_file():
            add(given, Path(given.name))
        else:
            raise UserError(f"there is no image or folder {given}.")
    if not found:
        raise UserError(f"there is no image to restore but those in {out}, where results go.")

    jobs: list[tuple[Path, Path]] = []
    for (path, place), stem in zip(found.items(), distinct_stems(list(found)), strict=True):
        jobs.append((path, out / place.with_name(stem + path.suffix)))

    # Names are compared without suffix, because formats may change.
    sources = {_real(source).with_suffix("") for source, _ in jobs}
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


def _real(path: Path) -> Path:
    """Return the path without links. Unlike `Path.resolve`, this takes links that form a cycle."""
    return Path(os.path.realpath(path))


if __name__ == "__main__":
    run_script(main, parser(PredictOptions, __doc__))
