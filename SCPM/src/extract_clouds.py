"""Extract the clouds of real pairs: opacity maps whose shapes the simulation can lay over ground.

    python SCPM/src/extract_clouds.py --dataset rice2 --root DIR --split data/splits/rice2-hashed-train.txt
    python SCPM/src/extract_clouds.py --root DIR --out runs/my-clouds         # pairs of your own

Then train_cd.py, train.py and simulate.py take some of their shapes from there: --fields runs/clouds.

A pair is used if its cloud is thin enough to show the ground and thick enough to be told from noise,
if the rest of the image did not change, and if the map does not repeat the ground. Each gives
NAME.png, 16-bit gray, 65535 is opaque. Name the training part of a data set with --split, so that
clouds of test images are not learnt.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from cloudkit.checks import require_apart, require_positive, require_share
from cloudkit.cli import RUNS, parser, plain, run
from cloudkit.errors import UserError
from cloudkit.files import write_json
from cloudkit.images import write_image
from cloudkit.mixture import PairSet, find_pairs
from cloudkit.scenes import PairScenes, Scene
from cloudkit.scoring.metrics import correlation
from cloudkit.splits import Choice
from scpm.opacity import estimate_opacity, smoothed

WINDOW = 5  # pixels over which opacity is estimated: wisps are narrow
DETAIL = 9  # pixels; what is finer is detail
NOISE = 0.03  # of the brightness of a pixel
QUANTILE_PIXELS = 2**20  # the most that torch.quantile is given


@dataclass(frozen=True)
class ExtractOptions:
    """Choice of pairs and of their clouds."""

    root: Path
    """The data set's folder or its parent."""
    dataset: PairSet = "folder"
    """A set of the field as its archive unpacks, or "folder": your own pairs."""
    split: Path | None = None
    """List of names, one a line, to extract from; data/splits/ holds some. Default: the training part."""
    out: Path = RUNS / "clouds"
    """Folder to write, new or empty."""
    likeness: float = 0.5
    """Least correlation of the fine detail of both images: thick cloud hides detail."""
    opacity: float = 0.25
    """Least opacity that the thickest hundredth of a cloud has."""
    ground: float = 0.3
    """Largest correlation of an opacity map with the brightness of the ground, of either sign."""
    darkened: float = 0.1
    """Largest fraction of the pixels that are darker in the cloudy image: there something else than cloud has changed."""

    def __post_init__(self) -> None:
        """Reject contradictions."""
        require_positive(likeness=self.likeness, opacity=self.opacity, ground=self.ground)
        require_share(likeness=self.likeness, opacity=self.opacity, ground=self.ground, darkened=self.darkened)
        if self.dataset == "clear":
            raise ValueError("--dataset clear holds no cloud; name a set of pairs.")


def main(options: ExtractOptions) -> None:
    """Write the opacity map of each pair that shows a thin cloud."""
    require_apart(options.out, options.root)
    splits = find_pairs(options.dataset, options.root, Choice(split=options.split))
    scenes = PairScenes(splits.train + splits.val)
    if options.out.exists() and any(options.out.iterdir()):
        raise UserError(f"{options.out} is not empty; choose another --out.")

    written = 0
    for index in tqdm(range(len(scenes)), desc="extracting", unit="pair", disable=None):
        scene = scenes[index]
        opacity = estimate_opacity(scene.cloudy, scene.truth, window=WINDOW)
        if is_thin_cloud(scene, opacity, options):
            write_image(options.out / f"{scene.name}.png", opacity, bits=16)
            written += 1

    if not written:
        raise UserError(f"none of {len(scenes)} pairs shows a thin cloud; lower --likeness or --opacity, or name other pairs.")
    write_json(options.out / "options.json", plain(options))
    print(f"{splits.note}\n{written} of {len(scenes)} pairs show a thin cloud; their opacity is in {options.out}")


def is_thin_cloud(scene: Scene, opacity: Tensor, options: ExtractOptions) -> bool:
    """Tell if the opacity (1, H, W) of a pair is that of a thin cloud and of nothing else."""
    cloudy, clear = (image.mean(0, keepdim=True) for image in (scene.cloudy, scene.truth))
    thickest = float(torch.quantile(opacity.flatten()[:: max(1, opacity.numel() // QUANTILE_PIXELS)], 0.99))
    darkened = float((cloudy < clear - NOISE).float().mean())
    likeness = correlation_of(*(image - smoothed(image, DETAIL) for image in (cloudy, clear)))
    repeats_ground = abs(correlation_of(opacity, smoothed(clear, WINDOW)))
    return (
        thickest >= options.opacity
        and darkened <= options.darkened
        and likeness >= options.likeness
        and repeats_ground <= options.ground
    )


def correlation_of(one: Tensor, other: Tensor) -> float:
    """Pearson correlation of two maps (1, H, W); 0 where one is constant."""
    return float(correlation(one[None], other[None]))


if __name__ == "__main__":
    run(main, parser(ExtractOptions, __doc__))
