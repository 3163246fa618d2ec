"""Write the cloud thickness maps that SCPM sees, and their error where the true maps are known.

    python SCPM/src/test_cd.py                                        # the sample's test chips under fixed simulated clouds
    python SCPM/src/test_cd.py --images DIR --out DIR                 # your cloudy images
    python SCPM/src/test_cd.py --pairs DIR                            # cloudy/ and thickness/: maps and their error
    python SCPM/src/test_cd.py --clear DIR --checkpoint FILE          # clear images under fixed simulated clouds
    torchrun --nproc-per-node 2 SCPM/src/test_cd.py --images DIR      # two GPUs

Writes thickness/NAME.png (16-bit gray, 0 clear, 65535 opaque) to --out; with true maps also metrics.json (MAE, correlation) and
panels/NAME.png (cloudy, thickness, true thickness).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

import scpm
from cloudkit.cli import SAMPLE, format_table, parser, run
from cloudkit.datasets import find_clear, named_images
from cloudkit.distributed import join_world
from cloudkit.files import write_json
from cloudkit.images import read_unit, write_image
from cloudkit.pairs import DataError
from cloudkit.panels import side_by_side
from cloudkit.scenes import PairScenes, Scenes
from scpm import SCPM
from scpm.options import PriorTestOptions
from scpm.scoring import SCORES, score_thickness

Reader = Callable[[int], tuple[Tensor, Tensor | None]]  # the cloudy image, and the true map where it is known


def main(options: PriorTestOptions) -> None:
    """Detect the thickness in every image; score it where it is known."""
    with join_world(options.device) as world:
        model = scpm.load(options.checkpoint).to(world.device)
        names, read, note = open_images(options)
        if world.is_main:
            print(f"checkpoint: {options.checkpoint}", *note, sep="\n")
        world.barrier()  # all have looked before any writes
        mine = tqdm(world.share(range(len(names))), desc="detecting", unit="image", disable=not world.is_main)
        scores = world.gather([detect_one(model, names[index], *read(index), options.out) for index in mine])
        if world.is_main:
            rows = [(name, known) for name, known in zip(names, scores, strict=True) if known is not None]
            if rows:
                report(options, rows)
            print(f"written to {options.out}")


def detect_one(model: SCPM, name: str, cloudy: Tensor, truth: Tensor | None, out: Path) -> dict[str, float] | None:
    """Write the map of one image; returns its errors, and writes a panel, where the true map is known."""
    found = scpm.detect(model, cloudy.to(next(model.parameters()).device)).cpu()
    write_image(out / "thickness" / f"{name}.png", found, bits=16)
    if truth is None:
        return None
    panel = side_by_side({"cloudy": cloudy, "thickness": found, "true thickness": truth})
    write_image(out / "panels" / f"{name}.png", panel)
    return score_thickness(found, truth)


def open_images(options: PriorTestOptions) -> tuple[Sequence[str], Reader, list[str]]:
    """The images' names, what reads one by its number, and lines that say what was found."""
    if options.images is not None:
        files = named_images(options.images)
        paths = list(files.values())
        return list(files), lambda index: (read_unit(paths[index]), None), []
    scenes: Scenes
    if options.pairs is not None:
        splits = scpm.find_thickness_pairs(options.pairs)
        scenes, note = PairScenes(splits.test, truth_bands=1), [splits.note]
    else:
        root = options.clear or SAMPLE
        files = find_clear(root)["test"]
        if not files:
            raise DataError(f"{root} has train/ but no test/ to score; name the folder of the images themselves.")
        scenes = scpm.SimulatedScenes(
            files, scpm.simulator(options.backend, options.clouds, options.fields, options.fields_fraction), "thickness"
        )
        note = [f"{root}: fixed clouds are simulated over {len(scenes)} clear images"]
        if options.clear is None:
            note.append("these are the sample chips; name your own images with --images DIR, --pairs DIR or --clear DIR")

    def read(index: int) -> tuple[Tensor, Tensor]:
        scene = scenes[index]
        return scene.cloudy, scene.truth

    return scenes.names, read, note


def report(options: PriorTestOptions, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    """Print the errors and write metrics.json."""
    means = {score: sum(scores[score] for _, scores in rows) / len(rows) for score in SCORES}
    write_json(options.out / "metrics.json", {"count": len(rows), **means})
    lines = [*rows, (f"mean of {len(rows)}", means)]
    print(format_table([{"image": name, **{score: f"{scores[score]:.4f}" for score in SCORES}} for name, scores in lines]))


if __name__ == "__main__":
    run(main, parser(PriorTestOptions, __doc__))
