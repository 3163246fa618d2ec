"""Score ThiefCloud on a data set: PSNR and SSIM of the cloudy input and of the restored image, per image and in the mean.

    python ThiefCloud/test.py                                                             # the sample chips
    python ThiefCloud/test.py --dataset rice1 --root DIR --checkpoint runs/rice1/best.pt --out runs/rice1-test
    python ThiefCloud/test.py --dataset tcloud --root DIR --restored OTHER --out DIR      # images another method restored

Writes to --out: metrics.json, metrics.csv, restored/NAME.png, panels/NAME.png (cloudy, thickness, restored, clear), and the first
panels as overview.png. Scores are those of the network's output before it is rounded to 8 bits for the file.
"""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

import thiefcloud
from cloudkit.cli import SAMPLE, format_table, parser, run
from cloudkit.distributed import choose_device
from cloudkit.errors import UserError
from cloudkit.images import read_unit, write_image
from cloudkit.pairs import images_by_pair
from cloudkit.panels import side_by_side, stacked
from cloudkit.scenes import Scene
from thiefcloud.data import open_data
from thiefcloud.options import TestOptions
from thiefcloud.scoring import METRICS, Scores, score_image, summarise, write_scores

OVERVIEW_ROWS = 4
Restorer = Callable[[Scene], tuple[Tensor, Tensor | None]]  # restored image, and the thickness map where there is one


def main(options: TestOptions) -> None:
    """Restore and score every test image, then print and write the table."""
    data = open_data(options)
    data.require("test")
    print(data.note)
    restore = reader(options.restored) if options.restored else network(options)
    if options.folder == SAMPLE:
        print("these are the sample chips; name a real data set with --dataset NAME --root DIR (see --help)")

    rows: list[tuple[str, Scores, Scores]] = []
    overview: list[Tensor] = []
    for index in tqdm(range(len(data.test)), desc="scoring", unit="image"):
        scene = data.test[index]
        restored, thickness = restore(scene)
        rows.append((scene.name, checked_score(scene, scene.cloudy), checked_score(scene, restored)))
        if options.restored is None:
            write_image(options.out / "restored" / f"{scene.name}.png", restored)
        if options.panels < 0 or index < options.panels:
            images = {"cloudy": scene.cloudy, "thickness": thickness, "restored": restored, "clear": scene.truth}
            panel = side_by_side({title: image for title, image in images.items() if image is not None})
            write_image(options.out / "panels" / f"{scene.name}.png", panel)
            overview += [panel] if len(overview) < OVERVIEW_ROWS else []

    summary = summarise(rows)
    write_scores(options.out, summary, rows)
    if overview:
        write_image(options.out / "overview.png", stacked(overview))
    print_table(summary, rows)
    print(f"written to {options.out}")


def network(options: TestOptions) -> Restorer:
    """What restores by ThiefCloud."""
    model = thiefcloud.load(options.checkpoint)
    print(f"checkpoint: {options.checkpoint}")
    device = choose_device(options.device)
    model.to(device)

    def restore(scene: Scene) -> tuple[Tensor, Tensor]:
        restored, thickness = thiefcloud.restore_and_detect(model, scene.cloudy.to(device))
        return restored.cpu(), thickness.cpu()

    return restore


def reader(folder: Path) -> Restorer:
    """What takes restored images from a folder, by name."""
    files = images_by_pair(folder)

    def restore(scene: Scene) -> tuple[Tensor, None]:
        if scene.name not in files:
            raise UserError(f"{folder} holds no restored image for {scene.name}; expected {scene.name}.png (or another format).")
        return read_unit(files[scene.name]), None

    return restore


def checked_score(scene: Scene, image: Tensor) -> Scores:
    """The scores of an image, with the scene's name in the error if it cannot be scored."""
    try:
        return score_image(image, scene.truth)
    except ValueError as error:
        raise UserError(f"{scene.name} cannot be scored: {error}") from error


def print_table(summary: dict[str, object], rows: list[tuple[str, Scores, Scores]]) -> None:
    """Print the scores of each image and their means."""

    def cells(before: dict, after: dict) -> dict[str, str]:
        both = {
            f"{kind} {metric}": scores[metric] for kind, scores in (("input", before), ("restored", after)) for metric in METRICS
        }
        return {title: "-" if value is None else f"{value:.{2 if 'psnr' in title else 4}f}" for title, value in both.items()}

    mean = cells(summary["input"], summary["restored"])  # type: ignore[arg-type]
    lines = [{"image": name, **cells(before, after)} for name, before, after in rows]
    print(format_table([*lines, {"image": f"mean of {len(rows)}", **mean}]))


if __name__ == "__main__":
    run(main, parser(TestOptions, __doc__))
