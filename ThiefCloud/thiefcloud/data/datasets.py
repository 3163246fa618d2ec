"""The images that the options name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from scpm.data import SimulatedScenes, Simulator, simulator
from thiefcloud.data.options import DataOptions
from trainkit.data.mixture import (
    CLEAR,
    Source,
    Use,
    find_pairs,
    open_source,
    read_mixture,
    with_unique_names,
)
from trainkit.data.pairs import DataError, Pair
from trainkit.data.scenes import JoinedScenes, PairScenes, Scenes


class TrainingPair(NamedTuple):
    """One sample of training: two files, and how they become input and truth."""

    cloudy: Path
    """The input; the clear image if it stays as it is, or if clouds are simulated over it."""
    clear: Path
    """The truth."""
    simulated: bool = False
    """Simulate clouds over the input."""
    keep_opaque: bool = False
    """Take the cloud as truth where it lets no light through."""
    peak: float | None = None
    """Stored value that means 1 in both files."""
    overlay: bool = False
    """Flag of pairs from a source of a mixture whose clouds are overlays."""


@dataclass(frozen=True)
class Data:
    """A dataset, opened but not yet read."""

    train: Sequence[TrainingPair]
    """Samples of a pass over the training part; a pair may stand there more than once."""
    val: Scenes
    test: Scenes
    note: str
    """A line for each source that was found."""
    simulate: Simulator
    """Draws simulated clouds."""

    def require(self, part: Literal["train", "val", "test"]) -> None:
        """Raise DataError if a part is empty."""
        if part == "val" and not self.val and len(self.train) == 1:
            kind = "images" if self.train[0].cloudy == self.train[0].clear else "pairs"
            raise DataError(
                f"there is none left for validation ({self.note}); at least 2 {kind} are needed."
            )
        if not getattr(self, part):
            raise DataError(
                f"there is no image for {part} ({self.note}); the whole data set, or one with that "
                "part, is needed."
            )


def open_data(options: DataOptions) -> Data:
    """Find the images that the options name.

    Raises:
        DataError: they are not as expected.
    """
    simulate = simulator(options.backend, options.clouds, options.fields, options.fields_fraction)
    if options.dataset == "mixture":
        assert options.mixture is not None
        return open_mixture(read_mixture(options.mixture, options.folder, options.peak), simulate)

    if options.dataset == "simulated":
        splits = find_pairs(CLEAR, options.folder, options.split_lists, options.peak)
        return Data(
            train=[_training_pair(pair, "simulated") for pair in splits.train],
            val=_under_clouds(splits.val, simulate),
            test=_under_clouds(splits.test, simulate),
            note=f"{splits.note}, clouds simulated",
            simulate=simulate,
        )

    splits = find_pairs(options.dataset, options.folder, options.split_lists, options.peak)
    return Data(
        train=[_training_pair(pair, "pairs") for pair in splits.train],
        val=PairScenes(splits.val),
        test=PairScenes(splits.test),
        note=splits.note,
        simulate=simulate,
    )


def open_mixture(sources: Sequence[Source], simulate: Simulator) -> Data:
    """Open all sources of a mixture.

    Validation and test are the pairs, and the clear images of sources that say so under fixed
    simulated clouds. Their names begin with that of their folder.

    Raises:
        DataError: a source is not as expected.
    """
    train: list[TrainingPair] = []
    val: list[tuple[str, list[Pair]]] = []
    test: list[tuple[str, list[Pair]]] = []
    simulated: list[tuple[str, list[Pair]]] = []
    notes = []
    for source in sources:
        pairs, held, splits = open_source(source)

        # The samples of a pass, for each use of the source.
        counts = []
        for use in source.repeats:
            drawn = source.sample(use, pairs)
            train += [_training_pair(pair, use, source) for pair in drawn]
            counts.append(f"{len(drawn)} {use}")
        notes.append(
            f"{splits.note}; a pass draws {', '.join(counts) or 'nothing'}, {len(held)} serve for "
            "validation"
        )

        # The images that are held out.
        title = source.folder.resolve().name
        if source.dataset == CLEAR:
            simulated.append((title, held))
        else:
            val.append((title, held))
            test.append((title, splits.test))

    covered = _under_clouds(with_unique_names(simulated), simulate)
    return Data(
        train=train,
        val=JoinedScenes([PairScenes(with_unique_names(val)), covered]),
        test=PairScenes(with_unique_names(test)),
        note="\n".join(notes),
        simulate=simulate,
    )


def _under_clouds(pairs: Sequence[Pair], simulate: Simulator) -> SimulatedScenes:
    """Return clear images under fixed simulated clouds."""
    return SimulatedScenes(pairs, simulate, "clear")


def _training_pair(pair: Pair, use: Use, source: Source | None = None) -> TrainingPair:
    keep_opaque = source is not None and source.keep_opaque
    overlay = source is not None and source.overlay
    if use in ("pairs", "veiled"):
        cloudy, simulated = pair.cloudy, use == "veiled"
        return TrainingPair(cloudy, pair.clear, simulated, keep_opaque, pair.peak, overlay)
    return TrainingPair(pair.clear, pair.clear, use == "simulated", False, pair.peak, overlay)
