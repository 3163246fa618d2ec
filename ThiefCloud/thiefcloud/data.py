"""The images that the options name: training batches and whole scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from cloudkit.batches import ImageStore, Sampler
from cloudkit.datasets import find_clear, find_folder, find_named
from cloudkit.distributed import World
from cloudkit.pairs import DataError
from cloudkit.scenes import PairScenes, Scenes
from cloudkit.stores import Store
from scpm import SimulatedScenes, Simulator, simulator
from thiefcloud.options import DataOptions

Batch = tuple[Tensor, Tensor]  # cloudy and clear, each (N, 3, crop, crop)


@dataclass(frozen=True)
class Data:
    """A data set, opened but not yet read."""

    train: Sequence[tuple[Path, ...]]
    """Files of each training place: (cloudy, clear), or (clear,) to simulate clouds over."""
    val: Scenes
    test: Scenes
    note: str
    """One line: what was found."""
    simulate: Simulator | None
    """What draws the clouds, if they are simulated."""

    def require(self, part: Literal["train", "val", "test"]) -> None:
        """Raise DataError if a part is empty."""
        if not getattr(self, part):
            raise DataError(f"there is no image for {part} ({self.note}); the whole data set, or one with that part, is needed.")


def open_data(options: DataOptions) -> Data:
    """Find the images. Raises DataError where they are not as expected."""
    if options.dataset == "simulated":
        simulate = simulator(options.backend, options.clouds)
        parts = find_clear(options.folder, options.choice)
        counts = ", ".join(f"{len(files)} {part}" for part, files in parts.items())
        return Data(
            train=[(path,) for path in parts["train"].values()],
            val=SimulatedScenes(parts["val"], simulate, "clear"),
            test=SimulatedScenes(parts["test"], simulate, "clear"),
            note=f"{options.folder}: clouds simulated over clear images ({counts})",
            simulate=simulate,
        )
    if options.dataset == "folder":
        splits = find_folder(options.folder, options.choice)
    else:
        splits = find_named(options.dataset, options.folder, options.choice)
    return Data(
        train=[(pair.cloudy, pair.clear) for pair in splits.train],
        val=PairScenes(splits.val),
        test=PairScenes(splits.test),
        note=splits.note,
        simulate=None,
    )


class TrainingBatches:
    """Random crops of a data set's training images, read into memory once.

    Args:
        data: the data set.
        crop: side of the crops in pixels.
        seed: of the run.
        store: in which memory the images lie.
        world: the processes; batches are this one's share, on its device.
    """

    def __init__(self, data: Data, *, crop: int, seed: int, store: Store, world: World) -> None:
        bands = (3,) * len(data.train[0])
        self._store = ImageStore(data.train, bands, crop, world.device, store=store, show_progress=world.is_main)
        self.note = self._store.note
        self._simulate, self._seed, self._world = data.simulate, seed, world

    def of_phase(self, phase: int, batch: int) -> tuple[Callable[[int], Batch], int]:
        """The batch of any step of a phase, and how many steps its epochs have."""
        sampler = Sampler(len(self._store), batch, seed=self._seed, phase=phase, world=self._world)

        def batch_of(step: int) -> Batch:
            draws = sampler.draws(step)
            crops = self._store.crops(draws)
            if self._simulate is None:
                return crops[0], crops[1]
            clouds = self._simulate(crops[0], [draw.seed() for draw in draws])
            return clouds.cloudy, crops[0]

        return batch_of, sampler.steps_per_epoch
