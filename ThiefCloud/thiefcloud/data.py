"""The images that the options name: training batches and whole scenes."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.batches import Draw, ImageStore, Sampler
from cloudkit.datasets import find_clear, find_folder, find_named
from cloudkit.distributed import World
from cloudkit.images import read_unit
from cloudkit.pairs import DataError, Pair
from cloudkit.scenes import PairScenes, Scenes
from cloudkit.splits import Choice, Splits
from cloudkit.stores import Store
from scpm import SimulatedScenes, Simulator, simulator
from thiefcloud.mixture import CLEAR, PairSet, Source, Use, read_mixture
from thiefcloud.opaque import keep_opaque_clouds, lay_opaque_clouds
from thiefcloud.options import DataOptions

Batch = tuple[Tensor, Tensor]  # cloudy and clear, each (N, 3, height, width)
_LOOK = 9  # as a phase of the run, so that looks share no randomness with batches
_SIDES = (128, 256, 512)  # of looks, in pixels; few, since those of equal size are fitted together
_USUAL = 256  # side of most images of the field
_OPAQUE = 1  # the use of a draw's randomness, beside its crop and its simulated cloud
_LOOKS_AT_EACH, _FEWEST_LOOKS, _MOST_LOOKS = 4, 256, 8192


class Place(NamedTuple):
    """What one draw of training shows."""

    cloudy: Path
    """The input; the clear image itself where it is to be left alone, or clouds are simulated over it."""
    clear: Path
    """The truth."""
    simulated: bool = False
    """Whether clouds are drawn over the input."""
    keep_opaque: bool = False
    """Whether the truth is the cloud where that lets no light through."""


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
    if options.dataset == "mixture":
        assert options.mixture is not None
        return open_mixture(read_mixture(options.mixture, options.folder), simulate)
    if options.dataset == "simulated":
        clear = find_pairs(CLEAR, options.folder, options.choice)
        val, test = (
            SimulatedScenes({pair.name: pair.clear for pair in part}, simulate, "clear") for part in (clear.val, clear.test)
        )
        return Data([_place(pair, "simulated") for pair in clear.train], val, test, f"{clear.note}, clouds simulated", simulate)
    splits = find_pairs(options.dataset, options.folder, options.choice)
    train = [_place(pair, "pairs") for pair in splits.train]
    return Data(train, PairScenes(splits.val), PairScenes(splits.test), splits.note, simulate)


def find_pairs(dataset: PairSet, folder: Path, choice: Choice) -> Splits:
    """The pairs of a data set of the field, or of one's own; of clear images alone each is both halves of its pair.

    Raises:
        DataError: they are not as expected.
    """
    if dataset == CLEAR:
        parts = find_clear(folder, choice)
        counts = ", ".join(f"{len(files)} {part}" for part, files in parts.items())
        pairs = {part: [Pair(name, path, path) for name, path in files.items()] for part, files in parts.items()}
        return Splits(**pairs, note=f"{folder}: clear images ({counts})")
    return find_folder(folder, choice) if dataset == "folder" else find_named(dataset, folder, choice)


def open_mixture(sources: Sequence[Source], simulate: Simulator) -> Data:
    """All sources of a mixture; validation and test are their pairs, named with their folder. Raises DataError."""
    train: list[Place] = []
    val: list[tuple[str, list[Pair]]] = []
    test: list[tuple[str, list[Pair]]] = []
    notes = []
    for source in sources:
        splits = find_pairs(source.dataset, source.folder, source.choice)
        validates = source.validate and "pairs" in source.draws
        pairs = splits.train if validates else splits.train + splits.val
        counts = []
        for use in source.draws:
            places = [_place(pair, use, source.keep_opaque) for pair in source.drawn(use, pairs)]
            counts.append(f"{len(places)} {use}")
            train += places
        notes.append(f"{splits.note}; a pass draws {', '.join(counts)}")
        if "pairs" in source.draws:
            title = source.folder.resolve().name
            val.append((title, splits.val if validates else []))
            test.append((title, splits.test))
    return Data(train, PairScenes(named_apart(val)), PairScenes(named_apart(test)), "\n".join(notes), simulate)


def named_apart(sources: Iterable[tuple[str, Sequence[Pair]]]) -> list[Pair]:
    """The pairs of titled sources under names that begin with the title, which is numbered where names would be alike."""
    found: list[Pair] = []
    for title, pairs in sources:
        taken = {pair.name.casefold() for pair in found}
        for distinct in itertools.chain([title], (f"{title}-{number}" for number in itertools.count(2))):
            named = [replace(pair, name=f"{distinct}_{pair.name}") for pair in pairs]
            if taken.isdisjoint(pair.name.casefold() for pair in named):
                found += named
                break
    return found


def _place(pair: Pair, use: Use, keep_opaque: bool = False) -> Place:
    if use == "pairs":
        return Place(pair.cloudy, pair.clear, keep_opaque=keep_opaque)
    return Place(pair.clear, pair.clear, simulated=use == "simulated")


class TrainingBatches:
    """Random crops of a data set's training images, read into memory once.

    Args:
        data: the data set.
        crop: side of the crops in pixels.
        seed: of the run.
        store: in which memory the images lie.
        world: the processes; batches are this one's share, on its device.
        opaque: share of the crops over which opaque clouds are laid.
    """

    def __init__(self, data: Data, *, crop: int, seed: int, store: Store, world: World, opaque: float = 0.0) -> None:
        pairs = list(dict.fromkeys((place.cloudy, place.clear) for place in data.train))
        numbers = {pair: number for number, pair in enumerate(pairs)}
        self._stored = [numbers[place.cloudy, place.clear] for place in data.train]
        self._places = data.train
        self._store = ImageStore(pairs, (3, 3), crop, world.device, store=store, show_progress=world.is_main)
        self.note = self._store.note
        self._simulate, self._seed, self._world, self._opaque = data.simulate, seed, world, opaque

    def of_phase(self, phase: int, batch: int) -> tuple[Callable[[int], Batch], int]:
        """The batch of any step of a phase, and how many steps its epochs have."""
        sampler = Sampler(len(self._stored), batch, seed=self._seed, phase=phase, world=self._world)

        def batch_of(step: int) -> Batch:
            draws = sampler.draws(step)
            cloudy, clear = self._store.crops([replace(draw, index=self._stored[draw.index]) for draw in draws])
            places = [self._places[draw.index] for draw in draws]
            for number, place in enumerate(places):
                if place.keep_opaque:
                    clear[number] = keep_opaque_clouds(cloudy[number], clear[number])
            if covered := [number for number, place in enumerate(places) if place.simulated]:
                clouds = self._simulate(clear[covered], [draws[number].seed() for number in covered])
                cloudy[covered] = clouds.cloudy
            return overcast(cloudy, clear, draws, self._opaque)

        return batch_of, sampler.steps_per_epoch


def overcast(cloudy: Tensor, clear: Tensor, draws: Sequence[Draw], share: float) -> Batch:
    """Both halves of the drawn pairs, over a share of them opaque clouds."""
    chosen = [number for number, draw in enumerate(draws) if share > np.random.default_rng(draw.seed(_OPAQUE)).random()]
    if chosen:
        seeds = [draws[number].seed(_OPAQUE) for number in chosen]
        cloudy[chosen], clear[chosen] = lay_opaque_clouds(cloudy[chosen], clear[chosen], seeds)
    return cloudy, clear


class Looks:
    """Square parts of training images, one by one: what the estimators of a veil learn from.

    Args:
        data: the data set.
        seed: of the choice.
        device: where images go.
        opaque: share of the looks over which opaque clouds are laid.
    """

    def __init__(self, data: Data, *, seed: int, device: torch.device, opaque: float = 0.0) -> None:
        self._data, self._seed, self._device, self._opaque = data, seed, device, opaque

    def __len__(self) -> int:
        """How many looks tell enough."""
        return min(max(_LOOKS_AT_EACH * len(self._data.train), _FEWEST_LOOKS), _MOST_LOOKS)

    def __iter__(self) -> Iterator[Batch]:
        """Cloudy and clear, each (1, 3, side, side), half of them as large as may be; large images at half scale too."""
        return (self._look(number) for number in range(len(self)))

    def _look(self, number: int) -> Batch:
        draw = Draw(number, (self._seed, _LOOK, number))
        random = draw.generator()
        place = self._data.train[int(random.integers(len(self._data.train)))]
        cloudy, clear = (read_unit(path, bands=3)[None] for path in (place.cloudy, place.clear))
        if min(clear.shape[-2:]) >= 2 * _USUAL and random.integers(2):
            cloudy, clear = (F.avg_pool2d(image, 2) for image in (cloudy, clear))
        shorter = min(clear.shape[-2:])
        sides = [side for side in _SIDES if side <= shorter] or [shorter]
        side = sides[int(random.integers(len(sides)))] if random.integers(2) else sides[-1]
        top, left = (int(random.integers(length - side + 1)) for length in clear.shape[-2:])
        cloudy, clear = (image[..., top : top + side, left : left + side].to(self._device) for image in (cloudy, clear))
        if place.keep_opaque:
            clear = keep_opaque_clouds(cloudy[0], clear[0])[None]
        if place.simulated:
            cloudy = self._data.simulate(clear, [draw.seed()]).cloudy
        return overcast(cloudy, clear, [draw], self._opaque)
