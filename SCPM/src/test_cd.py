"""Write the cloud thickness maps that SCPM sees, and their error where the true maps are known.

    python SCPM/src/test_cd.py                                        # the sample's test chips under fixed simulated clouds
    python SCPM/src/test_cd.py --images DIR --out DIR                 # your cloudy images
    python SCPM/src/test_cd.py --pairs DIR                            # cloudy/ and thickness/: maps and their error
    python SCPM/src/test_cd.py --clear DIR --checkpoint FILE          # clear images under fixed simulated clouds

Writes thickness/NAME.png (16-bit gray, 0 clear, 65535 opaque) to --out; with true maps also metrics.json (MAE, correlation) and
panels/NAME.png (cloudy, thickness, true thickness).
"""

from collections.abc import Iterator, Mapping

from torch import Tensor
from tqdm import tqdm

import scpm
from cloudkit.cli import SAMPLE, format_table, parser, run
from cloudkit.datasets import find_clear, named_images
from cloudkit.distributed import choose_device
from cloudkit.files import write_json
from cloudkit.images import read_unit, write_image
from cloudkit.pairs import DataError
from cloudkit.panels import side_by_side
from cloudkit.scenes import PairScenes, Scene
from scpm.options import PriorTestOptions
from scpm.scoring import SCORES, score_thickness


def main(options: PriorTestOptions) -> None:
    """Detect the thickness in every image; score it where it is known."""
    model = scpm.load(options.checkpoint)
    print(f"checkpoint: {options.checkpoint}")
    device = choose_device(options.device)
    model.to(device)
    count, scenes = open_scenes(options)
    rows: list[tuple[str, Mapping[str, float]]] = []
    for name, cloudy, truth in tqdm(scenes, total=count, desc="detecting", unit="image"):
        found = scpm.detect(model, cloudy.to(device)).cpu()
        write_image(options.out / "thickness" / f"{name}.png", found, bits=16)
        if truth is not None:
            rows.append((name, score_thickness(found, truth)))
            panel = side_by_side({"cloudy": cloudy, "thickness": found, "true thickness": truth})
            write_image(options.out / "panels" / f"{name}.png", panel)
    if rows:
        report(options, rows)
    print(f"written to {options.out}")


def open_scenes(options: PriorTestOptions) -> tuple[int, Iterator[tuple[str, Tensor, Tensor | None]]]:
    """How many images there are, and each one's name, pixels and true thickness if it is known."""
    if options.images is not None:
        files = named_images(options.images)
        return len(files), ((name, read_unit(path), None) for name, path in files.items())
    scenes: PairScenes | scpm.SimulatedScenes
    if options.pairs is not None:
        splits = scpm.find_thickness_pairs(options.pairs)
        scenes = PairScenes(splits.test, truth_bands=1)
        print(splits.note)
    else:
        root = options.clear or SAMPLE
        files = find_clear(root)["test"]
        if not files:
            raise DataError(f"{root} has train/ but no test/ to score; name the folder of the images themselves.")
        scenes = scpm.SimulatedScenes(files, scpm.simulator(options.backend, options.clouds), "thickness")
        print(f"{root}: fixed clouds are simulated over {len(scenes)} clear images")
        if options.clear is None:
            print("these are the sample chips; name your own images with --images DIR, --pairs DIR or --clear DIR")
    return len(scenes), (unpack(scenes[index]) for index in range(len(scenes)))


def unpack(scene: Scene) -> tuple[str, Tensor, Tensor | None]:
    """A scene as a plain tuple whose truth is known."""
    return scene.name, scene.cloudy, scene.truth


def report(options: PriorTestOptions, rows: list[tuple[str, Mapping[str, float]]]) -> None:
    """Print the errors and write metrics.json."""
    means = {score: sum(scores[score] for _, scores in rows) / len(rows) for score in SCORES}
    write_json(options.out / "metrics.json", {"count": len(rows), **means})
    lines = [*rows, (f"mean of {len(rows)}", means)]
    print(format_table([{"image": name, **{score: f"{scores[score]:.4f}" for score in SCORES}} for name, scores in lines]))


if __name__ == "__main__":
    run(main, parser(PriorTestOptions, __doc__))
