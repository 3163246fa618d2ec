"""The images that the options name: training batches and whole scenes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from cloudkit.batches import ImageStore, Sampler
from cloudkit.datasets import NamedSet, find_clear, find_folder, find_named
from cloudkit.distributed import World
from cloudkit.pairs import DataError, Pair
from cloudkit.scenes import PairScenes, Scenes
from cloudkit.splits import Choice, Splits
from cloudkit.stores import Store
from scpm import SimulatedScenes, Simulator, simulator
from thiefcloud.mixture import CLEAR, Source, Use, read_mixture
from thiefcloud.options import DataOptions

Batch = tuple[Tensor, Tensor]  # cloudy and clear, each (N, 3, crop, crop)


class Place(NamedTuple):
    """What one draw of training shows."""

    cloudy: Path
    """The input; the clear image itself where it is to be left alone, or clouds are simulated over it."""
    clear: Path
    """The truth."""
    simulated: bool = False
    """Whether clouds are drawn over the input."""


@dataclass(frozen=True)
class Data:
    """A data set, opened but not yet read."""

    train: Sequence[Place]
    """What a pass over the training part draws; a place may stand there more than once."""
    val: Scenes
    test: Scenes
    note: str
    """What was found, a line for each source."""
    simulate: Simulator
    """What draws simulated clouds."""

    def require(self, part: Literal["train", "val", "test"]) -> None:
        """Raise DataError if a part is empty."""
        if not getattr(self, part):
            raise DataError(f"there is no image for {part} ({self.note}); the whole data set, or one with that part, is needed.")


def open_data(options: DataOptions) -> Data:
    """Find the images. Raises DataError where they are not as expected."""
    simulate = simulator(options.backend, options.clouds)
    if options.dataset == "simulated":
        parts = find_clear(options.folder, options.choice)
        counts = ", ".join(f"{len(files)} {part}" for part, files in parts.items())
        return Data(
            train=[Place(path, path, simulated=True) for path in parts["train"].values()],
            val=SimulatedScenes(parts["val"], simulate, "clear"),
            test=SimulatedScenes(parts["test"], simulate, "clear"),
            note=f"{options.folder}: clouds simulated over clear images ({counts})",
            simulate=simulate,
        )
    if options.dataset == "mixture":
        assert options.mixture is not None
        return open_mixture(read_mixture(options.mixture, options.folder), simulate)
    splits = find_pairs(options.dataset, options.folder, options.choice)
    return Data(
        train=[Place(pair.cloudy, pair.clear) for pair in splits.train],
        val=PairScenes(splits.val),
        test=PairScenes(splits.test),
        note=splits.note,
        simulate=simulate,
    )


def find_pairs(dataset: NamedSet | Literal["folder"], folder: Path, choice: Choice) -> Splits:
    """The pairs of a data set of the field, or of one's own. Raises DataError where they are not as expected."""
    return find_folder(folder, choice) if dataset == "folder" else find_named(dataset, folder, choice)


def open_mixture(sources: Sequence[Source], simulate: Simulator) -> Data:
    """All sources of a mixture; validation and test are their pairs, named with their folder. Raises DataError."""
    train: list[Place] = []
    parts: dict[str, list[Pair]] = {"val": [], "test": []}
    notes = []
    for source in sources:
        pairs: dict[str, list[Pair]]
        if source.dataset == CLEAR:
            # they have no cloudy image: training takes all of them
            clear = [path for files in find_clear(source.folder, source.choice).values() for path in files.values()]
            pairs = {"train": [Pair(path.stem, path, path) for path in dict.fromkeys(clear)]}
            note = f"{source.folder}: {len(pairs['train'])} clear images"
        else:
            splits = find_pairs(source.dataset, source.folder, source.choice)  # type: ignore[arg-type]  # it says what it knows
            pairs, note = {"train": splits.train, "val": splits.val, "test": splits.test}, splits.note
            if not source.validate:
                pairs |= {"train": splits.train + splits.val, "val": []}
        counts = []
        for use in source.draws:
            places = [_place(pair, use) for pair in source.drawn(use, pairs["train"])]
            counts.append(f"{len(places)} {use}")
            train += places
        if "pairs" in source.draws:
            for part, scenes in parts.items():
                scenes += [replace(pair, name=f"{source.folder.name}_{pair.name}") for pair in pairs[part]]
        notes.append(f"{note}; a pass draws {', '.join(counts)}")
    return Data(train, PairScenes(parts["val"]), PairScenes(parts["test"]), "\n".join(notes), simulate)


def _place(pair: Pair, use: Use) -> Place:
    return Place(pair.cloudy if use == "pairs" else pair.clear, pair.clear, simulated=use == "simulated")


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
        pairs = list(dict.fromkeys((place.cloudy, place.clear) for place in data.train))
        numbers = {pair: number for number, pair in enumerate(pairs)}
        self._stored = [numbers[place.cloudy, place.clear] for place in data.train]
        self._simulated = [place.simulated for place in data.train]
        self._store = ImageStore(pairs, (3, 3), crop, world.device, store=store, show_progress=world.is_main)
        self.note = self._store.note
        self._simulate, self._seed, self._world = data.simulate, seed, world

    def of_phase(self, phase: int, batch: int) -> tuple[Callable[[int], Batch], int]:
        """The batch of any step of a phase, and how many steps its epochs have."""
        sampler = Sampler(len(self._stored), batch, seed=self._seed, phase=phase, world=self._world)

        def batch_of(step: int) -> Batch:
            draws = sampler.draws(step)
            cloudy, clear = self._store.crops([replace(draw, index=self._stored[draw.index]) for draw in draws])
            if covered := [number for number, draw in enumerate(draws) if self._simulated[draw.index]]:
                clouds = self._simulate(clear[covered], [draws[number].seed() for number in covered])
                cloudy[covered] = clouds.cloudy
            return cloudy, clear

        return batch_of, sampler.steps_per_epoch
