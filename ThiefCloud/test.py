"""Score ThiefCloud on a data set: PSNR and SSIM of the cloudy input and of the restored image, per image and in the mean.

    python ThiefCloud/test.py                                                             # the sample chips
    python ThiefCloud/test.py --dataset rice1 --root DIR --checkpoint runs/rice1/best.pt --out runs/rice1-test
    python ThiefCloud/test.py --dataset tcloud --root DIR --restored OTHER --out DIR      # images another method restored
    python ThiefCloud/test.py --dataset rice1 --root DIR --baseline dark-channel          # a classical method, without training
    torchrun --nproc-per-node 2 ThiefCloud/test.py --dataset rice1 --root DIR ...         # two GPUs, equal results

Writes to --out: metrics.json, metrics.csv, restored/NAME.png, panels/NAME.png (cloudy, thickness, restored, clear), and the first
panels as overview.png. Scores are those of the method's output before it is rounded to 8 bits for the file.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import thiefcloud
from cloudkit.batches import check_same_size
from cloudkit.checks import require_apart
from cloudkit.cli import SAMPLE, parser, run
from cloudkit.distributed import World, join_world
from cloudkit.errors import UserError
from cloudkit.files import write_json
from cloudkit.images import read_unit, write_image
from cloudkit.pairs import images_by_pair
from cloudkit.panels import side_by_side, stacked
from cloudkit.scenes import Scene, check_scenes
from cloudkit.scoring.results import Collector, read_scores, summarise, versus, write_scores
from cloudkit.scoring.tables import image_table, mean_table, measure_lines, versus_lines
from cloudkit.splits import WHOLE, named
from scpm import SCPM
from thiefcloud.dark_channel import remove_haze
from thiefcloud.data import open_data
from thiefcloud.options_trained import TestOptions

OVERVIEW_ROWS = 4
Restorer = Callable[[Scene], tuple[Tensor, Tensor | None]]  # restored image, raw, and the thickness map where there is one


def main(options: TestOptions) -> None:
    """Restore and score every test image, then print and write the table."""
    with join_world(options.device) as world:
        data = open_data(options)
        data.require("test")
        collector = Collector(None if options.protocol == "all" else [options.protocol], options.measures)
        for folder in data.test.folders:
            require_apart(options.out, folder)
        duplicates, unknown = (
            named({WHOLE: {name: name for name in data.test.names}}, options.duplicates) if options.duplicates else ([], "")
        )
        other = read_scores(options.versus) if options.versus else {}
        check_scenes(data.test, world, smallest=collector.smallest)
        restore = restorer(options, data.test.names, world.device)
        if world.is_main:
            print(data.note, *([] if options.restored or options.baseline else [f"checkpoint: {options.checkpoint}"]), sep="\n")
            if options.duplicates:
                print(f"{len(duplicates)} test images are also in training by {options.duplicates}{unknown}")
            if options.folder == SAMPLE:
                print("these are the sample chips; name a real data set with --dataset NAME --root DIR (see --help)")
        world.barrier()  # all have looked before any writes
        overview = score_images(options, data.test, restore, collector, world)
        if world.is_main:
            finish(options, collector, overview, duplicates, other)


def score_images(
    options: TestOptions, scenes: Sequence[Scene], restore: Restorer, collector: Collector, world: World
) -> list[Tensor]:
    """Restore and score this process's share of the images, and gather those of all; returns the panels of the first images."""
    panels: list[Tensor | None] = []
    for index in tqdm(world.share(range(len(scenes))), desc="scoring", unit="image", disable=not world.is_main):
        scene = scenes[index]
        restored, thickness = restore(scene)
        collector.add(scene, restored)
        if options.restored is None:
            write_image(options.out / "restored" / f"{scene.name}.png", restored)
        panel = None
        if options.panels < 0 or index < options.panels:
            images = {"cloudy": scene.cloudy, "thickness": thickness, "restored": restored, "clear": scene.truth}
            panel = side_by_side({title: image for title, image in images.items() if image is not None})
            write_image(options.out / "panels" / f"{scene.name}.png", panel)
        panels.append(panel if index < OVERVIEW_ROWS else None)
    collector.gather(world)
    return [panel for panel in world.gather(panels) if panel is not None]


def finish(
    options: TestOptions,
    collector: Collector,
    overview: list[Tensor],
    duplicates: Sequence[str],
    other: Mapping[str, Mapping[str, float]],
) -> None:
    """Write and print the scores of all images."""
    about = {
        "method": options.title,
        "dataset": options.dataset,
        "images": collector.images,
    }
    summaries = summarise(collector.rows, collector.protocols, about=about, duplicates=duplicates)
    write_scores(options.out, summaries, collector.rows)
    if overview:
        write_image(options.out / "overview.png", stacked(overview))
    report(collector, summaries)
    if options.versus:
        differences = versus(collector.rows, options.versus, other)
        write_json(options.out / "versus.json", differences)
        print(*versus_lines(differences), sep="\n")
    print(f"written to {options.out}")


def restorer(options: TestOptions, names: Sequence[str], device: torch.device) -> Restorer:
    """The method that the options name."""
    if options.restored:
        return reader(options.restored, names)
    return dark_channel_prior(device) if options.baseline else network(options, device)


def dark_channel_prior(device: torch.device) -> Restorer:
    """What restores without training."""

    def restore(scene: Scene) -> tuple[Tensor, Tensor]:
        restored, thickness = remove_haze(scene.cloudy.to(device), raw=True)
        return restored.cpu(), thickness.cpu()

    return restore


def network(options: TestOptions, device: torch.device) -> Restorer:
    """What restores by the network in a checkpoint."""
    model = thiefcloud.load(options.checkpoint).to(device)
    sees_thickness = isinstance(model.prior, SCPM)

    def restore(scene: Scene) -> tuple[Tensor, Tensor | None]:
        restored, thickness = thiefcloud.restore_and_detect(model, scene.cloudy.to(device), raw=True, flips=options.flips)
        return restored.cpu(), thickness.cpu() if sees_thickness else None

    return restore


def reader(folder: Path, names: Sequence[str]) -> Restorer:
    """What takes restored images from a folder, by name; UserError unless all are there."""
    files = images_by_pair(folder)
    if missing := [name for name in names if name not in files]:
        raise UserError(
            f"{folder} holds no restored image for {len(missing)} of {len(names)} test images ({missing[0]}, ...); expected "
            f"{missing[0]}.png (or another format)."
        )

    def restore(scene: Scene) -> tuple[Tensor, None]:
        image = read_unit(files[scene.name])
        check_same_size([image, scene.truth], (files[scene.name], Path(f"the clear image {scene.name}")))
        return image, None

    return restore


def report(collector: Collector, summaries: list[dict[str, Any]]) -> None:
    """Print the scores of each image, their means, and what could not be computed."""
    print(image_table(collector.rows), mean_table(summaries), sep="\n\n")
    print(*measure_lines(summaries[0]), sep="\n")
    for protocol, reason in collector.left_out.items():
        print(f"without {protocol}, which cannot score every image: {reason}")


if __name__ == "__main__":
    run(main, parser(TestOptions, __doc__))
