"""Write the cloud thickness maps of SCPM, and their error if the true maps are known.

    python SCPM/src/test_cd.py                                # the sample under simulated clouds
    python SCPM/src/test_cd.py --images DIR --out DIR         # your cloudy images
    python SCPM/src/test_cd.py --pairs DIR                    # cloudy/ and thickness/
    python SCPM/src/test_cd.py --clear DIR --checkpoint FILE  # clear images under simulated clouds
    torchrun --nproc-per-node 2 SCPM/src/test_cd.py --images DIR  # two GPUs

The folder --out gets thickness/NAME.png (16-bit gray, 0 clear, 65535 opaque). With true maps it
also gets metrics.json (MAE, correlation) and panels/NAME.png (cloudy, thickness, true thickness).
Images that cannot be used are named at the end; the exit status is then 2, and no metrics.json is
written, because a mean over fewer images does not compare.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

import scpm
from cloudkit.checkpoints import require_rgb
from cloudkit.files import digest, write_json
from cloudkit.folders import require_folder, writing_to
from cloudkit.imaging.images import read_unit, write_image
from cloudkit.imaging.panels import side_by_side
from cloudkit.processes import join_processes
from cloudkit.script.command_line import SAMPLE, format_table, parser, run_script
from cloudkit.script.each_image import LeftOut, for_each_image, refuse_left_out
from cloudkit.script.peak import peak_note
from scpm import SCPM
from scpm.data import SimulatedScenes, find_thickness_pairs, simulator
from scpm.options import PriorTestOptions
from scpm.scoring import SCORES, score_thickness
from trainkit.data.mixture import CLEAR, find_pairs
from trainkit.data.pairs import DataError, named_images
from trainkit.data.scenes import PairScenes, Scenes

# Function that returns the cloudy image of an index, and the true map if it is known.
Reader = Callable[[int], tuple[Tensor, Tensor | None]]


def main(options: PriorTestOptions) -> None:
    """Detect the thickness in every image; score it if it is known."""
    with join_processes(options.device) as processes:
        # Load the network and open the images.
        require_folder(options.out)
        model = require_rgb(scpm.load(options.checkpoint), options.checkpoint)
        model.to(processes.device)
        weights = digest(options.checkpoint)
        names, read, notes = open_images(options)
        if processes.is_main:
            print(f"checkpoint: {options.checkpoint}", *notes, sep="\n")
            if note := peak_note(options.checkpoint, options.peak):
                print(note)

        # Detect. No process may write before all have opened their images.
        parts = [options.out / "thickness", options.out / "panels"]
        with writing_to(options.out, processes, parts=parts):
            processes.barrier()
            scores = for_each_image(
                range(len(names)),
                lambda index: detect_one(model, names[index], *read(index), options.out),
                processes,
                title="detecting",
                name=lambda index: names[index],
            )
            if processes.is_main:
                report(options, weights, names, scores)


def detect_one(
    model: SCPM, name: str, cloudy: Tensor, truth: Tensor | None, out: Path
) -> dict[str, float] | None:
    """Write the map of one image, and a panel if the true map is known.

    Returns:
        The errors of the map, or None if the true map is unknown.
    """
    found = scpm.detect(model, cloudy.to(next(model.parameters()).device)).cpu()
    write_image(out / "thickness" / f"{name}.png", found, bits=16)
    if truth is None:
        return None
    panel = side_by_side({"cloudy": cloudy, "thickness": found, "true thickness": truth})
    write_image(out / "panels" / f"{name}.png", panel)
    return score_thickness(found, truth)


def open_images(options: PriorTestOptions) -> tuple[Sequence[str], Reader, list[str]]:
    """Open the images that the options name.

    Returns:
        Their names, a function that reads one by its index, and lines about them to print.
    """
    if options.images is not None:
        files = named_images(options.images)
        paths = list(files.values())
        return list(files), lambda index: (read_unit(paths[index], peak=options.peak), None), []

    scenes: Scenes
    if options.pairs is not None:
        splits = find_thickness_pairs(options.pairs, options.peak)
        scenes, notes = PairScenes(splits.test, truth_bands=1), [splits.note]
    else:
        root = options.clear or SAMPLE
        pairs = find_pairs(CLEAR, root, peak=options.peak).test
        if not pairs:
            raise DataError(
                f"{root} has train/ but no test/ to score; name the folder of the images."
            )
        simulate = simulator(
            options.backend, options.clouds, options.fields, options.fields_fraction
        )
        scenes = SimulatedScenes(pairs, simulate, "thickness")
        notes = [f"{root}: fixed clouds are simulated over {len(scenes)} clear images"]
        if options.clear is None:
            notes.append("these are the sample chips; name others by --images, --pairs or --clear")

    def read(index: int) -> tuple[Tensor, Tensor]:
        scene = scenes[index]
        return scene.cloudy, scene.truth

    return scenes.names, read, notes


def report(
    options: PriorTestOptions,
    weights: str,
    names: Sequence[str],
    scores: Sequence[dict[str, float] | LeftOut | None],
) -> None:
    """Write and print the errors of maps, and name the images that were left out.

    Raises:
        UserError: an image was left out. A mean over fewer images is not written.
    """
    errors = {}
    for name, outcome in zip(names, scores, strict=True):
        if isinstance(outcome, dict):
            errors[name] = outcome
    written = len(names) - sum(isinstance(outcome, LeftOut) for outcome in scores)
    if errors and written == len(names):
        write_means(options, weights, errors)
    print(f"{written} of {len(names)} maps written to {options.out}")
    consequence = "" if options.images else "no means are written, because "
    refuse_left_out(scores, title=f"{consequence}these were left out")


def write_means(
    options: PriorTestOptions, weights: str, errors: Mapping[str, Mapping[str, float]]
) -> None:
    """Write metrics.json and print the errors, {image: {metric: value}}."""
    count = len(errors)
    means = {}
    for metric in SCORES:
        means[metric] = sum(scores[metric] for scores in errors.values()) / count
    about = {"count": count, "peak": options.peak, "weights": weights}
    write_json(options.out / "metrics.json", {**about, **means})

    rows = []
    for name, scores in {**errors, f"mean of {count}": means}.items():
        rows.append({"image": name} | {metric: f"{scores[metric]:.4f}" for metric in SCORES})
    print(format_table(rows))


if __name__ == "__main__":
    run_script(main, parser(PriorTestOptions, __doc__))
