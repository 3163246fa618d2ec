"""Extract the clouds of real pairs: opacity maps whose shapes the simulation can lay over ground.

    # Clouds of the training part of a published dataset:
    python SCPM/src/extract_clouds.py --dataset rice2 --root DIR --split FILE
    # Clouds of your own pairs:
    python SCPM/src/extract_clouds.py --root DIR --out runs/my-clouds

With --fields runs/clouds, train_cd.py, train.py and simulate.py take some shapes from there.

A pair is used on these conditions. Its cloud is thin enough to show the ground, and thick enough
to be told from noise. The rest of the image did not change. The map does not repeat the ground.
Each pair gives NAME.png, 16-bit gray, 65535 is opaque. Name the training part of a dataset with
--split, so that clouds of test images are not learned. Pairs that cannot be used are named at the
end; the exit status is then 2.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.files import write_json
from cloudkit.folders import is_empty, require_folder, writing_to
from cloudkit.imaging.images import write_image
from cloudkit.processes import Processes
from cloudkit.script.checks import require_apart, require_fraction, require_positive
from cloudkit.script.command_line import RUNS, parser, plain, run_script
from cloudkit.script.each_image import for_each_image, refuse_left_out
from cloudkit.script.peak import PeakOptions
from scpm.simulation.opacity import FINE_WINDOW, estimate_opacity, smoothed
from trainkit.data.mixture import SourceName, find_pairs
from trainkit.data.scenes import PairScenes, Scene
from trainkit.data.splits import SplitLists
from trainkit.scoring.metrics import correlation

DETAIL_WINDOW = 9  # side in pixels of the window whose mean is removed to leave fine detail
NOISE = 0.03  # of the brightness of a pixel
MAX_QUANTILE_PIXELS = 2**20  # torch.quantile sorts, and refuses over 2**24 values


@dataclass(frozen=True)
class ExtractOptions(PeakOptions):
    """Options of the choice of pairs and of their clouds."""

    root: Path
    """Folder of the dataset, or its parent."""
    dataset: SourceName = "folder"
    """Name of a published dataset as its archive unpacks, or "folder" for your own pairs."""
    split: Path | None = None
    """Extract only from the images that this file lists, one name a line; data/splits/ holds some.
    Default: the training part."""
    out: Path = RUNS / "clouds"
    """Write the maps to this folder, new or empty."""
    likeness: float = 0.5
    """Smallest correlation of the fine detail of both images. Thick cloud hides detail."""
    opacity: float = 0.25
    """Smallest opacity of the thickest hundredth of a cloud."""
    ground: float = 0.3
    """Largest correlation of an opacity map with the brightness of the ground, of either sign."""
    darkened: float = 0.1
    """Largest fraction of the pixels that are darker in the cloudy image. Something other than a
    cloud has changed there."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        super().__post_init__()
        require_positive(likeness=self.likeness, opacity=self.opacity, ground=self.ground)
        require_fraction(
            likeness=self.likeness, opacity=self.opacity, ground=self.ground, darkened=self.darkened
        )
        if self.dataset == "clear":
            raise ValueError("--dataset clear holds no cloud; name a dataset of pairs.")


def main(options: ExtractOptions) -> None:
    """Write the opacity map of each pair that shows a thin cloud."""
    require_folder(options.out)
    require_apart(options.out, options.root)
    lists = SplitLists(split=options.split)
    splits = find_pairs(options.dataset, options.root, lists, options.peak)
    scenes = PairScenes(splits.train + splits.val)

    with writing_to(options.out):
        if not is_empty(options.out):
            raise UserError(f"{options.out} is not empty; choose another --out.")
        outcomes = for_each_image(
            range(len(scenes)),
            lambda index: extract(scenes[index], options),
            Processes(0, 1, torch.device("cpu")),
            title="extracting",
            name=lambda index: scenes.names[index],
        )
        written = outcomes.count(True)
        if written:
            write_json(options.out / "options.json", plain(options))

    print(splits.note)
    print(f"{written} of {len(scenes)} pairs show a thin cloud; their opacity is in {options.out}")
    refuse_left_out(outcomes)
    if not written:
        raise UserError(
            f"none of {len(scenes)} pairs shows a thin cloud; lower --likeness or --opacity, or "
            "name other pairs."
        )


def extract(scene: Scene, options: ExtractOptions) -> bool:
    """Write the opacity map of a pair if it shows a thin cloud, and tell whether it does."""
    opacity = estimate_opacity(scene.cloudy, scene.truth, window=FINE_WINDOW)
    if not is_thin_cloud(scene, opacity, options):
        return False
    write_image(options.out / f"{scene.name}.png", opacity, bits=16)
    return True


def is_thin_cloud(scene: Scene, opacity: Tensor, options: ExtractOptions) -> bool:
    """Tell whether the opacity (1, H, W) of a pair is that of a thin cloud and of nothing else."""
    cloudy = scene.cloudy.mean(0, keepdim=True)
    clear = scene.truth.mean(0, keepdim=True)

    step = max(1, opacity.numel() // MAX_QUANTILE_PIXELS)
    thickest = float(torch.quantile(opacity.flatten()[::step], 0.99))
    darkened = float((cloudy < clear - NOISE).float().mean())
    cloudy_detail = cloudy - smoothed(cloudy, DETAIL_WINDOW)
    clear_detail = clear - smoothed(clear, DETAIL_WINDOW)
    likeness = float(correlation(cloudy_detail[None], clear_detail[None]))
    ground = abs(float(correlation(opacity[None], smoothed(clear, FINE_WINDOW)[None])))

    return (
        thickest >= options.opacity
        and darkened <= options.darkened
        and likeness >= options.likeness
        and ground <= options.ground
    )


if __name__ == "__main__":
    run_script(main, parser(ExtractOptions, __doc__))
