"""Full images with their ground truth, for validation and scoring. They are read when needed."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import check_same_size, read_unit
from cloudkit.processes import Processes
from cloudkit.progress import progress_bar
from cloudkit.script.each_image import for_each_image, refuse_left_out
from trainkit.data.pairs import Pair


class Scene(NamedTuple):
    """One image and its ground truth, float32 in [0, 1], read onto the CPU."""

    name: str
    cloudy: Tensor
    """Input, (3, H, W)."""
    truth: Tensor
    """The clear image (3, H, W), or the thickness map (1, H, W)."""

    def on(self, device: torch.device) -> "Scene":
        """Return the scene with its tensors on a device."""
        return Scene(self.name, self.cloudy.to(device), self.truth.to(device))


class Scenes(Sequence[Scene]):
    """Scenes with names that are known before they are read."""

    names: Sequence[str]
    folders: Collection[Path]
    """Folders of the images."""

    def __len__(self) -> int:
        return len(self.names)


class JoinedScenes(Scenes):
    """The scenes of several sequences, one after the other.

    Args:
        parts: the sequences; their names differ.
    """

    def __init__(self, parts: Sequence[Scenes]) -> None:
        self._places = [(part, index) for part in parts for index in range(len(part))]
        self.names = [name for part in parts for name in part.names]
        self.folders = {folder for part in parts for folder in part.folders}

    def __getitem__(self, index: int) -> Scene:  # type: ignore[override]  # no slices
        """Read a scene. Raises the errors of its own sequence."""
        part, index_in_part = self._places[index]
        return part[index_in_part]


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
        """Read a pair. Raises ImageError for a damaged file, UserError if the sizes differ."""
        pair = self.pairs[index]
        truth_peak = pair.peak if self.truth_bands == 3 else None  # a map has its own range
        images = [
            read_unit(pair.cloudy, peak=pair.peak),
            read_unit(pair.clear, bands=self.truth_bands, peak=truth_peak),
        ]
        check_same_size(images, (pair.cloudy, pair.clear))
        return Scene(pair.name, *images)


def mean_scores(
    scenes: Sequence[Scene],
    score: Callable[[Scene], dict[str, float]],
    processes: Processes,
    *,
    title: str = "validating",
) -> dict[str, float]:
    """Average the scores of all scenes; the processes share the work.

    Args:
        scenes: the scenes.
        score: returns the scores of one scene. It gets the scene on the GPU if the process computes
            there, else on the CPU, because other devices may lack float64.
        processes: the processes; each scene is scored by one of them.
        title: title of the progress bar.

    Returns:
        The mean of each score, the same in every process.
    """
    on_gpu = processes.device.type == "cuda"
    device = processes.device if on_gpu else torch.device("cpu")
    indices = processes.split(range(len(scenes)))

    sums: dict[str, float] = {}
    for index in progress_bar(
        indices, desc=title, unit="image", leave=False, show=processes.is_main
    ):
        for name, value in score(scenes[index].on(device)).items():
            sums[name] = sums.get(name, 0.0) + value

    if not indices:  # a process without scenes must still exchange sums under the same names
        sums = dict.fromkeys(score(scenes[0].on(device)), 0.0)
    return processes.means(sums, len(indices))


def check_scenes(scenes: Scenes, processes: Processes, *, smallest: int) -> None:
    """Read every scene once, to find damaged or tiny ones before hours of work.

    Raises:
        UserError: some scenes cannot be read, or have a side of fewer than `smallest` pixels. The
            message names them all.
    """

    def check(index: int) -> None:
        scene = scenes[index]
        height, width = scene.truth.shape[1:]
        if min(height, width) < smallest:
            raise UserError(
                f"image {scene.name} cannot be scored: it is {height}x{width} pixels, "
                f"expected at least {smallest}x{smallest}."
            )

    outcomes = for_each_image(
        range(len(scenes)),
        check,
        processes,
        title="checking images",
        name=lambda index: scenes.names[index],
        leave=False,
    )
    if processes.is_main:
        refuse_left_out(outcomes, title="nothing is done, because these cannot be used")
    processes.barrier()  # the others end here, after the main process has named the images
