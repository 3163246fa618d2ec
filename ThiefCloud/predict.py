"""Remove thin cloud from images of your own: PNG, JPEG or TIFF files, and folders of them.

    python ThiefCloud/predict.py scene.png --out cleared
    python ThiefCloud/predict.py photos/ more/a.tif --out cleared --thickness
    python ThiefCloud/predict.py sentinel2.tif --bands 4 3 2 --out cleared --dry-run
    python ThiefCloud/predict.py sentinel2.tif --bands 4 3 2 --out cleared --layer  # no copy
    python ThiefCloud/predict.py photos/ --out cleared --checkpoint runs/rice1/best.pt
    python ThiefCloud/predict.py photos/ --out cleared --onnx model.onnx    # of export.py
    torchrun --nproc-per-node 2 ThiefCloud/predict.py photos/ --out cleared        # two GPUs
    python ThiefCloud/predict.py photos/ --out cleared --share 1/4      # on the first of 4 machines

Images keep their size, their type, gray or alpha, pixels without data, and all that else lies in
their files: place on Earth, tags, EXIF. Scenes that do not fit in memory are restored tile by tile;
the same command goes on with one that was interrupted. Folders keep their structure. Results that
exist are kept, unless --overwrite is given. Images of one name, as a.jpg and a.tif, become
a_jpg.png and a_tif.tif. Images that cannot be used are named at the end; the exit status is then 2.
"""

from contextlib import nullcontext

import thiefcloud
from cloudkit.checkpoints import require_rgb
from cloudkit.errors import UserError
from cloudkit.folders import require_folder
from cloudkit.processes import join_processes
from cloudkit.script.command_line import parser, run_script
from cloudkit.script.each_image import for_each_image, refuse_left_out
from cloudkit.script.peak import peak_note
from cloudkit.shares import writing_share
from thiefcloud.inference.fast import require_inversion
from thiefcloud.inference.image_files import restore_image
from thiefcloud.inference.jobs import plan_files, real
from thiefcloud.inference.options import PredictOptions
from thiefcloud.inference.planning import InOnePass, summary
from thiefcloud.inference.provenance import run_of
from thiefcloud.inference.released import path_of
from thiefcloud.network.base import RemovalNetwork, Restorer


def main(options: PredictOptions) -> None:
    """Restore every image; name those that cannot be read at the end."""
    with join_processes(options.device) as processes:
        # Plan the files and load the network.
        require_folder(options.out)
        jobs = plan_files(options.inputs, options.out, beside=options.beside)
        if share := options.share_or_task():
            planned, out = len(jobs), real(options.out)
            jobs = share.of(jobs, lambda job: job[1].relative_to(out))
            if processes.is_main:
                print(f"share {share}: {len(jobs)} of {planned} images")
        model = load(options).to(processes.device)
        require_parts(model, options)

        if processes.is_main and (note := peak_note(path_of(options.checkpoint), options.peak)):
            print(note)
        run = run_of(model, path_of(options.weights), options.changing)

        # Restore. No process may write before all have planned, because plans depend on files.
        parts = {target.parent for _, target in jobs}
        lock = writing_share(options.out, share, processes, parts=parts)
        with nullcontext() if options.dry_run else lock:
            processes.barrier()
            outcomes = for_each_image(
                jobs,
                lambda job: restore_image(model, *job, options, run),
                processes,
                title="restoring",
                name=lambda job: job[0],
            )

    # Report.
    if processes.is_main:
        if not options.dry_run:
            in_one_pass = [outcome for outcome in outcomes if isinstance(outcome, InOnePass)]
            kept, restored = outcomes.count("kept"), outcomes.count("restored") + len(in_one_pass)
            if in_one_pass:
                print(summary(in_one_pass))
            print(f"{restored} of {len(jobs)} images restored to {options.out}")
            if kept:
                print(f"{kept} results were there already and are kept; --overwrite replaces them")
        refuse_left_out(outcomes)


def load(options: PredictOptions) -> Restorer:
    """Load the network, or the exported one."""
    if options.onnx:
        return require_rgb(thiefcloud.load_onnx(options.onnx), options.onnx)
    return require_rgb(thiefcloud.load(options.checkpoint), options.checkpoint)


def require_parts(model: Restorer, options: PredictOptions) -> None:
    """Raise an error if the network lacks a part that an option needs.

    Raises:
        UserError: it sees no thickness, or has no inversion.
    """
    if options.fast:
        require_inversion(model)
    for name in ("thickness", "blend"):
        if getattr(options, name) and not model.sees_thickness:
            raise UserError(
                f"{options.weights} is a network without prior, which sees no thickness; "
                f"leave out --{name}."
            )
    if options.layer and (not isinstance(model, RemovalNetwork) or model.inversion is None):
        raise UserError(
            f"{options.weights} is a network without inversion, which has no gain; leave out "
            "--layer, or name other weights."
        )


if __name__ == "__main__":
    run_script(main, parser(PredictOptions, __doc__))
