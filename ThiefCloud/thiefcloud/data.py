"""The images that the options name: training batches and whole scenes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.batches import Draw, ImageStore, Sampler
from cloudkit.distributed import World
from cloudkit.images import read_unit
from cloudkit.mixture import CLEAR, Source, Use, find_pairs, named_apart, open_source, read_mixture
from cloudkit.pairs import DataError, Pair
from cloudkit.scenes import JoinedScenes, PairScenes, Scenes
from cloudkit.stores import Store, send
from scpm import SimulatedScenes, Simulator, simulator
from thiefcloud.opaque import keep_opaque_clouds, keep_simulated_opaque, lay_opaque_clouds
from thiefcloud.options import DataOptions

Batch = tuple[Tensor, Tensor]  # cloudy and clear, each (N, 3, height, width)
_WHOLE = 9  # as a phase of the run, so that whole images share no randomness with batches
_EACH, _FEWEST, _MOST, _LARGE = 2, 256, 3072, 512  # images for each place, in all, and the side of large ones in pixels
_OPAQUE, _JITTER = 1, 2  # uses of a draw's randomness, beside its crop and its simulated cloud
_OWN_COLOUR = 0.5  # how much the random change of a band differs from that of the others
_LEVELS = 255  # of simulated images: in finer ones a network would see through what is opaque


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
    simulate = simulator(options.backend, options.clouds, options.fields, options.fields_fraction)
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


def open_mixture(sources: Sequence[Source], simulate: Simulator) -> Data:
    """Open all sources of a mixture. Raises DataError.

    Validation and test are the pairs, and the clear images of sources that say so under fixed simulated clouds; their names begin
    with that of their folder.
    """
    train: list[Place] = []
    val: list[tuple[str, list[Pair]]] = []
    test: list[tuple[str, list[Pair]]] = []
    simulated: list[tuple[str, list[Pair]]] = []
    notes = []
    for source in sources:
        pairs, held, splits = open_source(source)
        counts = []
        for use in source.draws:
            places = [_place(pair, use, source.keep_opaque) for pair in source.drawn(use, pairs)]
            counts.append(f"{len(places)} {use}")
            train += places
        notes.append(f"{splits.note}; a pass draws {', '.join(counts) or 'nothing'}, {len(held)} serve for validation")
        title = source.folder.resolve().name
        if source.dataset == CLEAR:
            simulated.append((title, held))
        else:
            val.append((title, held))
            test.append((title, splits.test))
    covered = SimulatedScenes({pair.name: pair.clear for pair in named_apart(simulated)}, simulate, "clear")
    return Data(
        train, JoinedScenes([PairScenes(named_apart(val)), covered]), PairScenes(named_apart(test)), "\n".join(notes), simulate
    )


def _place(pair: Pair, use: Use, keep_opaque: bool = False) -> Place:
    if use in ("pairs", "veiled"):
        return Place(pair.cloudy, pair.clear, simulated=use == "veiled", keep_opaque=keep_opaque)
    return Place(pair.clear, pair.clear, simulated=use == "simulated")


class TrainingBatches:
    """Random crops of a data set's training images, read into memory once.

    Args:
        data: the data set.
        crop: side of the crops in pixels.
        seed: of the run.
        store: in which memory the images lie.
        world: the processes; batches are this one's share, on its device.
        opaque: fraction of the crops over which opaque clouds are laid.
        jitter: strength of the random changes of brightness and colour (`jittered`).
    """

    def __init__(
        self,
        data: Data,
        *,
        crop: int,
        seed: int,
        store: Store,
        world: World,
        opaque: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        pairs = list(dict.fromkeys((place.cloudy, place.clear) for place in data.train))
        numbers = {pair: number for number, pair in enumerate(pairs)}
        self._stored = [numbers[place.cloudy, place.clear] for place in data.train]
        self._places = data.train
        self._store = ImageStore(pairs, (3, 3), crop, world.device, store=store, show_progress=world.is_main)
        self.note = self._store.note
        self._simulate, self._seed, self._world = data.simulate, seed, world
        self._opaque, self._jitter = opaque, jitter

    def of_phase(self, phase: int, batch: int) -> tuple[Callable[[int], Batch], int]:
        """The batch of any step of a phase, and how many steps its epochs have."""
        sampler = Sampler(len(self._stored), batch, seed=self._seed, phase=phase, world=self._world)

        def batch_of(step: int) -> Batch:
            draws = sampler.draws(step)
            cloudy, clear = self._store.crops([replace(draw, index=self._stored[draw.index]) for draw in draws])
            places = [self._places[draw.index] for draw in draws]
            if self._jitter:
                cloudy, clear = jittered(cloudy, clear, draws, self._jitter)

            for number, place in enumerate(places):
                if place.keep_opaque:
                    clear[number] = keep_opaque_clouds(cloudy[number], clear[number])
            if covered := [number for number, place in enumerate(places) if place.simulated]:
                seeds = [draws[number].seed() for number in covered]
                cloudy[covered], clear[covered] = clouded(cloudy[covered], clear[covered], seeds, self._simulate)

            return overcast(cloudy, clear, draws, self._opaque)

        return batch_of, sampler.steps_per_epoch


def clouded(cloudy: Tensor, clear: Tensor, seeds: Sequence[int], simulate: Simulator) -> Batch:
    """Lay simulated clouds over the first halves of pairs; where they are opaque they are the truth, too.

    The result is rounded to 8 bits, as real images are.
    """
    clouds = simulate(cloudy, seeds)
    return clouds.cloudy.mul(_LEVELS).round_().div_(_LEVELS), keep_simulated_opaque(clouds, clear)


def overcast(cloudy: Tensor, clear: Tensor, draws: Sequence[Draw], fraction: float) -> Batch:
    """Lay opaque clouds over both halves of a fraction of the drawn pairs."""
    chosen = [number for number, draw in enumerate(draws) if fraction > np.random.default_rng(draw.seed(_OPAQUE)).random()]
    if chosen:
        seeds = [draws[number].seed(_OPAQUE) for number in chosen]
        cloudy[chosen], clear[chosen] = lay_opaque_clouds(cloudy[chosen], clear[chosen], seeds)
    return cloudy, clear


class WholeImages:
    """Pairs of training images as large as may be, one by one: what the coarsest step of the inversion is fitted to.

    Args:
        data: the data set.
        seed: of the choice.
        device: where images go.
        opaque: fraction of the images over which opaque clouds are laid.
    """

    def __init__(self, data: Data, *, seed: int, device: torch.device, opaque: float = 0.0) -> None:
        self._data, self._seed, self._device, self._opaque = data, seed, device, opaque

    def __len__(self) -> int:
        """Number of images that tell enough."""
        return min(max(_EACH * len(self._data.train), _FEWEST), _MOST)

    def __iter__(self) -> Iterator[Batch]:
        """Cloudy and clear, each (1, 3, H, W); large images at half scale too."""
        return (self._pair(number) for number in range(len(self)))

    def _pair(self, number: int) -> Batch:
        draw = Draw(number, (self._seed, _WHOLE, number))
        random = draw.generator()
        place = self._data.train[int(random.integers(len(self._data.train)))]
        cloudy, clear = (read_unit(path, bands=3)[None].to(self._device) for path in (place.cloudy, place.clear))
        if min(clear.shape[-2:]) >= _LARGE and random.integers(2):
            cloudy, clear = (F.avg_pool2d(image, 2) for image in (cloudy, clear))
        if place.keep_opaque:
            clear = keep_opaque_clouds(cloudy[0], clear[0])[None]
        if place.simulated:
            cloudy, clear = clouded(cloudy, clear, [draw.seed()], self._data.simulate)
        return overcast(cloudy.clone(), clear.clone(), [draw], self._opaque)


def jittered(cloudy: Tensor, clear: Tensor, draws: Sequence[Draw], strength: float) -> Batch:
    """Both halves of the drawn pairs in other colours: each band of a pair times a random factor.

    The scattering model holds for the product as it does for the pair, since the factor scales ground and cloud alike.

    Args:
        cloudy, clear: (N, bands, H, W) in [0, 1], and so are the results: no factor makes a band brighter than 1.
        draws: N, whose randomness is used.
        strength: standard deviation of the logarithm of the factor that the bands share.
    """
    bands = clear.shape[1]
    normal = [np.random.default_rng(draw.seed(_JITTER)).standard_normal(1 + bands) for draw in draws]
    drawn = send(torch.tensor(np.array(normal), dtype=torch.float32), clear.device)
    factors = torch.exp(strength * (drawn[:, :1] + _OWN_COLOUR * drawn[:, 1:]))[..., None, None]
    brightest = torch.maximum(cloudy.amax((2, 3), keepdim=True), clear.amax((2, 3), keepdim=True))
    factors = torch.minimum(factors, 1 / brightest.clamp_min(1e-6))
    return (cloudy * factors).clamp_max_(1), (clear * factors).clamp_max_(1)
