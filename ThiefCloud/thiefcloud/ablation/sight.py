"""Whether SCPM sees real clouds: its thickness maps against the opacity that the pairs show, before and after it is tuned.

Maps are taken as the network writes them, not clamped: while SCPM is tuned its thickness head stays as it was, so maps lose scale
and zero, and a clamped one may be constant. A correlation does not mind.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import scpm
import thiefcloud
from cloudkit.files import write_text
from cloudkit.padding import at_any_size
from cloudkit.scenes import Scene
from scpm import FACTOR, SCPM
from scpm.opacity import estimate_opacity

Sums = Sequence[float]  # of n pixels: n, sum x, sum y, sum x x, sum y y, sum x y; those of several images add up
Sight = Mapping[str, Mapping[str, Sums]]  # {"before" and "after": {image: sums}}


def look(checkpoint: Path, prior: Path | None, scenes: Sequence[Scene], device: torch.device) -> Sight:
    """Compare the maps of a ThiefCloud's prior, and of the prior that it began with, with the opacity of real pairs.

    Args:
        checkpoint: the trained ThiefCloud, which has a prior.
        prior: the weights of SCPM before it was tuned; None where it was frozen, so that both are equal.
        scenes: real pairs.
        device: where the networks run.
    """
    tuned = thiefcloud.load(checkpoint).prior
    assert isinstance(tuned, SCPM)
    networks = {"after": tuned.to(device)} | ({} if prior is None else {"before": scpm.load(prior).to(device)})
    found: dict[str, dict[str, Sums]] = {moment: {} for moment in networks}
    for index in tqdm(range(len(scenes)), desc="comparing thickness", unit="image", leave=False):
        scene = scenes[index]
        opacity = estimate_opacity(scene.cloudy, scene.truth)
        for moment, network in networks.items():
            found[moment][scene.name] = sums(raw_thickness(network, scene.cloudy.to(device)).cpu(), opacity)
    return {"before": found.get("before", found["after"]), "after": found["after"]}


def raw_thickness(model: SCPM, image: Tensor) -> Tensor:
    """The thickness map (1, H, W) of an image (3, H, W) of any size, as the network writes it: not clamped to [0, 1]."""
    (thickness,) = at_any_size(model, image, FACTOR, lambda batch: [model(batch).thickness])
    return thickness


def sums(map_: Tensor, truth: Tensor) -> list[float]:
    """What a correlation of two maps of equal shape is computed from."""
    x, y = map_.double().flatten(), truth.double().flatten()
    return [float(len(x)), *(float(part.sum()) for part in (x, y, x * x, y * y, x * y))]


def pearson(parts: Iterable[Sums]) -> float:
    """The correlation over the pixels of all images whose sums are given; 0 where either map is constant."""
    n, x, y, xx, yy, xy = (math.fsum(column) for column in zip(*parts, strict=True))
    spread_x, spread_y = xx - x * x / n, yy - y * y / n
    if spread_x <= 1e-12 * n or spread_y <= 1e-12 * n:
        return 0.0
    return (xy - x * y / n) / math.sqrt(spread_x * spread_y)


def write(path: Path, sight: Sight) -> None:
    """Write what `look` found; `read` reads it."""
    write_text(path, json.dumps(sight) + "\n")


def read(path: Path) -> Sight:
    """Read what `write` wrote."""
    content: Sight = json.loads(path.read_text(encoding="utf-8"))
    return content
