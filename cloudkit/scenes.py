"""Whole images with their truth, for validation and scoring, read one by one when they are wanted."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from cloudkit.batches import check_same_size
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.images import read_unit
from cloudkit.pairs import Pair


class Scene(NamedTuple):
    """One image and what a network should make of it; both float32 in [0, 1], read onto the CPU."""

    name: str
    cloudy: Tensor
    """(3, H, W)."""
    truth: Tensor
    """The clear image (3, H, W), or the thickness map (1, H, W)."""

    def on(self, device: torch.device) -> "Scene":
        """The same with its tensors on a device."""
        return Scene(self.name, self.cloudy.to(device), self.truth.to(device))


class Scenes(Sequence[Scene]):
    """Scenes whose names are known before they are read."""

    names: Sequence[str]
    folders: Collection[Path]
    """Where the images lie."""

    def __len__(self) -> int:
        return len(self.names)


class JoinedScenes(Scenes):
    """The scenes of several sequences, one after the other.

    Args:
        parts: the sequences; their names differ.
    """

    def __init__(self, parts: Sequence[Scenes]) -> None:
        self._scenes = [(part, index) for part in parts for index in range(len(part))]
        self.names = [name for part in parts for name in part.names]
        self.folders = {folder for part in parts for folder in part.folders}

    def __getitem__(self, index: int) -> Scene:  # type: ignore[override]  # no slices
        """Read a scene. Raises as its own sequence does."""
        part, own = self._scenes[index]
        return part[own]


class PairScenes(Scenes):
    """Scenes from pairs of files.

    Args:
        pairs: the files.
        truth_bands: 3 for clear images, 1 for thickness maps.
    """

    def __init__(self, pairs: Sequence[Pair], truth_bands: int = 3) -> None:
        self.pairs, self.truth_bands = pairs, truth_bands
        self.names = [pair.name for pair in pairs]
        self.folders = {path.parent for pair in pairs for path in (pair.cloudy, pair.clear)}

    def __getitem__(self, index: int) -> Scene:  # type: ignore[override]  # no slices
        """Read a pair. Raises ImageError where a file is damaged, UserError where the sizes differ."""
        pair = self.pairs[index]
        images = [read_unit(pair.cloudy), read_unit(pair.clear, bands=self.truth_bands)]
        check_same_size(images, (pair.cloudy, pair.clear))
        return Scene(pair.name, *images)


def mean_scores(
    scenes: Sequence[Scene], score: Callable[[Scene], dict[str, float]], world: World, *, title: str = "validating"
) -> dict[str, float]:
    """Mean of each score over all scenes, each seen once by one of the processes; the same result in every process.

    On a GPU scenes come to `score` there: float64 scores of whole images would take the CPU longer than the network the GPU.
    """
    device = world.device if world.device.type == "cuda" else torch.device("cpu")  # others may lack float64
    sums: dict[str, float] = {}
    mine = world.share(range(len(scenes)))
    for index in tqdm(mine, desc=title, unit="image", leave=False, disable=not world.is_main):
        for name, value in score(scenes[index].on(device)).items():
            sums[name] = sums.get(name, 0.0) + value
    if not mine:  # more processes than scenes: take part in the exchange with empty hands, under the same names
        sums = dict.fromkeys(score(scenes[0].on(device)), 0.0)
    return world.means(sums, len(mine))


def check_scenes(scenes: Sequence[Scene], world: World, *, smallest: int) -> None:
    """Read every scene once, so that a damaged or tiny one is found before hours of work rather than after.

    Raises:
        UserError: a scene cannot be read, or is smaller than `smallest` pixels; the message names it.
    """
    for index in tqdm(world.share(range(len(scenes))), desc="checking images", leave=False, disable=not world.is_main):
        scene = scenes[index]
        height, width = scene.truth.shape[1:]
        if min(height, width) < smallest:
            raise UserError(
                f"{scene.name} cannot be scored: it is {height}x{width} pixels, expected at least {smallest}x{smallest}."
            )
