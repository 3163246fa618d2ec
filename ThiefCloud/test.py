"""Score ThiefCloud on a dataset: PSNR and SSIM of the cloudy input and of the restored image.

    python ThiefCloud/test.py                                        # the sample chips
    python ThiefCloud/test.py --dataset rice1 --root DIR --checkpoint runs/rice1/best.pt
    python ThiefCloud/test.py --dataset tcloud --root DIR --restored OTHER --out DIR
    python ThiefCloud/test.py --dataset rice1 --root DIR --baseline dark-channel
    torchrun --nproc-per-node 2 ThiefCloud/test.py --dataset rice1 --root DIR

The third command scores images that another method restored. The fourth scores a classical method
without training. The last uses two GPUs, with equal results.

The folder --out gets metrics.json, metrics.csv, restored/NAME.png, panels/NAME.png (cloudy,
thickness, restored, clear), and the first panels as overview.png. Scores are those of the method's
output before it is rounded to 8 bits for the file. If an image cannot be used, all such images are
named and no scores are written, because scores of fewer images do not compare.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import require_rgb
from cloudkit.errors import UserError
from cloudkit.files import digest, write_json
from cloudkit.folders import require_folder, writing_to
from cloudkit.imaging.images import check_same_size, read_image, read_unit, write_image
from cloudkit.imaging.panels import side_by_side, stacked
from cloudkit.processes import Processes, join_processes
from cloudkit.script.checks import require_apart
from cloudkit.script.command_line import SAMPLE, parser, run_script
from cloudkit.script.each_image import for_each_image, refuse_left_out
from cloudkit.script.peak import peak_note
from scpm import SCPM
from thiefcloud.baselines.dark_channel import remove_haze
from thiefcloud.data.datasets import open_data
from thiefcloud.inference.fast import require_inversion
from thiefcloud.inference.released import path_of
from thiefcloud.scoring_options import TestOptions
from trainkit.data.pairs import files_for
from trainkit.data.scenes import Scene, Scenes, check_scenes
from trainkit.data.splits import find_listed
from trainkit.data.trees import UNSPLIT
from trainkit.scoring.collector import Collector
from trainkit.scoring.results import read_scores, summarise, versus, write_scores
from trainkit.scoring.tables import image_table, mean_table, metric_lines, versus_lines

OVERVIEW_ROWS = 4
# Function that returns the restored image, not clamped, and the thickness map if there is one.
Method = Callable[[Scene], tuple[Tensor, Tensor | None]]


def main(options: TestOptions) -> None:
    """Restore and score every test image, then write and print the scores."""
    with join_processes(options.device) as processes:
        # Open the images.
        require_folder(options.out)
        data = open_data(options)
        data.require("test")
        scenes = data.test
        for folder in scenes.folders:
            require_apart(options.out, folder)

        # Prepare the scores, and check that every image can be scored.
        protocols = None if options.protocol == "all" else [options.protocol]
        collector = Collector(protocols, options.measures)
        duplicates: list[str] = []
        missing = ""
        if options.duplicates:
            names = {name: name for name in scenes.names}
            duplicates, missing = find_listed({UNSPLIT: names}, options.duplicates)
        other = read_scores(options.versus) if options.versus else {}
        check_scenes(scenes, processes, smallest=collector.smallest)

        # Load the method.
        method = load_method(options, scenes.names, processes.device)
        has_weights = not (options.restored or options.baseline)
        weights = digest(path_of(options.checkpoint)) if has_weights else None
        if processes.is_main:
            print(data.note)
            if has_weights:
                print(f"checkpoint: {options.checkpoint}")
                if note := peak_note(path_of(options.checkpoint), options.peak):
                    print(note)
            if options.duplicates:
                found = f"{len(duplicates)} test images are also in training"
                print(f"{found} by {options.duplicates}{missing}")
            if options.folder == SAMPLE:
                print("these are the sample chips; name a dataset with --dataset NAME --root DIR")

        # Restore and score. No process may write before all have checked their images.
        parts = [options.out / "restored", options.out / "panels"]
        with writing_to(options.out, processes, parts=parts):
            processes.barrier()
            panels = score_images(options, scenes, method, collector, processes)
            if not processes.is_main:
                return

            # Write and print the scores.
            report(options, collector, duplicates, weights)
            if panels:
                write_image(options.out / "overview.png", stacked(panels))
            if options.versus:
                differences = versus(collector.rows, options.versus, other)
                write_json(options.out / "versus.json", differences)
                print(*versus_lines(differences), sep="\n")
            print(f"written to {options.out}")


def score_images(
    options: TestOptions,
    scenes: Scenes,
    method: Method,
    collector: Collector,
    processes: Processes,
) -> list[Tensor]:
    """Restore and score this process's part of the images, and gather the scores of all.

    Returns:
        The panels of the first images.

    Raises:
        UserError: an image cannot be restored. Scores of fewer images would not compare.
    """

    def score(index: int) -> Tensor | None:
        scene = scenes[index]
        restored, thickness = method(scene)
        collector.add(scene, restored)
        if options.restored is None:
            write_image(options.out / "restored" / f"{scene.name}.png", restored)

        panel = None
        if options.panels < 0 or index < options.panels:
            panel = side_by_side(
                {
                    "cloudy": scene.cloudy,
                    "thickness": thickness,
                    "restored": restored,
                    "clear": scene.truth,
                }
            )
            write_image(options.out / "panels" / f"{scene.name}.png", panel)
        return panel if index < OVERVIEW_ROWS else None

    outcomes = for_each_image(
        range(len(scenes)),
        score,
        processes,
        title="scoring",
        name=lambda index: scenes.names[index],
    )
    if processes.is_main:
        refuse_left_out(outcomes, title="no scores are written, because these were left out")
    processes.barrier()  # the others end here, after the main process has named the images
    collector.gather(processes)
    return [outcome for outcome in outcomes if isinstance(outcome, Tensor)]


def report(
    options: TestOptions, collector: Collector, duplicates: Sequence[str], weights: str | None
) -> None:
    """Write metrics.json and metrics.csv; print each image, the means, and protocols left out."""
    about = {
        "method": options.title,
        "dataset": options.dataset,
        "images": collector.images,
        "peak": options.peak,
        "weights": weights,
    }
    summaries = summarise(collector.rows, collector.protocols, about=about, duplicates=duplicates)
    write_scores(options.out, summaries, collector.rows)

    print(image_table(collector.rows), mean_table(summaries), sep="\n\n")
    print(*metric_lines(summaries[0]), sep="\n")
    for protocol, reason in collector.left_out.items():
        print(f"without {protocol}, which cannot score every image: {reason}")


def load_method(options: TestOptions, names: Sequence[str], device: torch.device) -> Method:
    """Return the method that the options name."""
    if options.restored:
        return restored_files(options.restored, names, options.peak)
    if options.baseline:
        return dark_channel_prior(device)
    return network(options, device)


def dark_channel_prior(device: torch.device) -> Method:
    """Return the method that needs no training."""

    def restore(scene: Scene) -> tuple[Tensor, Tensor]:
        restored, thickness = remove_haze(scene.cloudy.to(device), raw=True)
        return restored.cpu(), thickness.cpu()

    return restore


def network(options: TestOptions, device: torch.device) -> Method:
    """Return the network of a checkpoint as a method."""
    model = require_rgb(thiefcloud.load(options.checkpoint), options.checkpoint).to(device)
    if options.fast:
        require_inversion(model)
    has_prior = isinstance(model.prior, SCPM)
    if options.blend and not has_prior:
        raise UserError(
            f"{options.checkpoint} is a network without prior, which sees no thickness; leave out "
            "--blend."
        )

    def restore(scene: Scene) -> tuple[Tensor, Tensor | None]:
        restored, thickness = thiefcloud.restore_and_detect(
            model, scene.cloudy.to(device), raw=True, flips=options.flips, fast=options.fast
        )
        if options.blend:
            restored = thiefcloud.blend(scene.cloudy.to(device), restored, thickness)
        return restored.cpu(), thickness.cpu() if has_prior else None

    return restore


def restored_files(folder: Path, names: Sequence[str], peak: float | None) -> Method:
    """Return a method that reads restored images from a folder, by name.

    Raises:
        UserError: an image is not there.
    """
    files = files_for(names, folder)
    missing = [name for name in names if name not in files]
    if missing:
        raise UserError(
            f"{folder} holds no restored image for {len(missing)} of {len(names)} test images "
            f"({missing[0]}, ...); expected {missing[0]}.png (or another format)."
        )

    def restore(scene: Scene) -> tuple[Tensor, None]:
        path = files[scene.name]
        # Images of 8 bits, as this script writes them, and floats in [0, 1] have their own range.
        stored = read_image(path)
        is_unit = stored.dtype.is_floating_point and float(stored.max()) <= 1
        own_range = stored.dtype == torch.uint8 or is_unit
        image = read_unit(path, peak=None if own_range else peak)
        check_same_size([image, scene.truth], (path, Path(f"the clear image {scene.name}")))
        return image, None

    return restore


if __name__ == "__main__":
    run_script(main, parser(TestOptions, __doc__))
