"""Training data of SCPM.

It learns from simulated clouds over clear images, or from cloudy images with thickness maps.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from cloudkit.imaging.images import read_unit
from cloudkit.progress import progress_bar
from cloudkit.script.command_line import SAMPLE
from scpm.options import Backend, PriorTrainOptions
from scpm.simulation.clouds import SimulatedClouds, simulate_clouds
from scpm.simulation.clouds_scg import simulate_clouds_scg
from scpm.simulation.fields import CloudFields
from scpm.simulation.options import CloudOptions
from trainkit.data.matching import left_out
from trainkit.data.mixture import (
    CLEAR,
    CLEAR_USES,
    Source,
    find_pairs,
    open_source,
    read_mixture,
    with_unique_names,
)
from trainkit.data.pairs import DataError, Pair, match_pairs, named_images
from trainkit.data.scenes import PairScenes, Scene, Scenes
from trainkit.data.splits import Splits, divide
from trainkit.data.trees import UNSPLIT, subfolders

Simulator = Callable[[Tensor, Sequence[int]], SimulatedClouds]
# Folders as SCPM/src/simulate.py writes them, and those of the official release.
_PAIR_FOLDERS = (("cloudy", "thickness"), ("t_simulated", "t_cmask"))


def simulator(
    backend: Backend, options: CloudOptions, fields: Path | None = None, fraction: float = 0.3
) -> Simulator:
    """Return a function that lays clouds over clear images (N, 3, H, W), given one seed for each.

    Args:
        backend: our own simulation, or satellite-cloud-generator. The latter ignores the other
            arguments.
        options: ranges of the clouds.
        fields: folder of opacity maps from which some clouds take their shape.
        fraction: fraction of those clouds.

    Raises:
        DataError: the folder holds no map.
        ImageError: a map is damaged.
    """
    if backend == "scg":
        return simulate_clouds_scg
    shapes = None
    if fields is not None and fraction > 0:
        shapes = read_fields(fields, fraction)
    return lambda clear, seeds: simulate_clouds(clear, seeds, options, fields=shapes)


def read_fields(folder: Path, fraction: float) -> CloudFields:
    """Read all opacity maps of a folder.

    Args:
        folder: the folder, subfolders included.
        fraction: fraction of the clouds that take their shape from a map.

    Raises:
        DataError: the folder holds none.
        ImageError: a map is damaged.
    """
    files = progress_bar(
        named_images(folder).values(), desc="reading clouds", unit="map", leave=False
    )
    return CloudFields([read_unit(path, bands=1) for path in files], fraction)


class SimulatedScenes(Scenes):
    """Clear images under fixed clouds.

    The cloud of an image depends on its name. It is drawn on the CPU, so it is equal everywhere.

    Args:
        pairs: the clear images, as the clear halves of pairs.
        simulate: function that lays the clouds.
        truth: truth of a scene, the thickness map or the clear image.
    """

    def __init__(
        self, pairs: Sequence[Pair], simulate: Simulator, truth: Literal["thickness", "clear"]
    ) -> None:
        self.pairs, self.simulate, self.truth = pairs, simulate, truth
        self.names = [pair.name for pair in pairs]
        self.folders = {pair.clear.parent for pair in pairs}

    def __getitem__(self, index: int) -> Scene:  # type: ignore[override]  # no slices
        """Read a clear image and cover it with its cloud.

        Raises:
            ImageError: the file is damaged.
        """
        pair = self.pairs[index]
        clear = read_unit(pair.clear, peak=pair.peak)
        seed = int.from_bytes(hashlib.sha256(pair.name.encode()).digest()[:7], "big")
        clouds = self.simulate(clear[None], [seed])

        truth = clouds.thickness[0] if self.truth == "thickness" else clear
        return Scene(pair.name, clouds.cloudy[0], truth)


def find_thickness_pairs(root: Path, peak: float | None = None) -> Splits:
    """Find cloudy images and thickness maps below `root`.

    They lie in cloudy/ and thickness/, or in T_Simulated/ and T_Cmask/ of the official release.
    Some of the pairs validate a training. All of them are test images, for test_cd.py.

    Args:
        root: the folder.
        peak: stored value that means 1 in the cloudy images. The maps keep their own range.

    Raises:
        DataError: the folders are missing, or their file names do not match.
    """
    folders = subfolders(Path(root))
    for cloudy, thickness in _PAIR_FOLDERS:
        if cloudy not in folders or thickness not in folders:
            continue

        matching = match_pairs(folders[cloudy], folders[thickness])
        named_pairs = {pair.name: pair for pair in matching.pairs}
        parts, _ = divide({UNSPLIT: named_pairs})
        note = f"{root}: {len(matching.pairs)} pairs{left_out(matching.unpaired)}"
        train, val, test = (list(parts[part].values()) for part in ("train", "val", "test"))
        return Splits(train, val, test, note).at_peak(peak)

    raise DataError(
        f"{root} holds no thickness pairs; expected cloudy/ and thickness/ (as "
        "SCPM/src/simulate.py writes them), or T_Simulated/ and T_Cmask/."
    )


class PriorSample(NamedTuple):
    """One sample of SCPM's training."""

    files: tuple[Path, ...]
    """The clear image; or the cloudy image and its thickness map."""
    simulated: bool
    """True if a cloud is laid over the image. Otherwise the thickness is that of the map, or 0."""
    peak: float | None = None
    """Stored value that means 1 in the first file."""


class PriorData(NamedTuple):
    """Images of SCPM's training, found but not yet read."""

    train: Sequence[PriorSample]
    """Samples of a pass."""
    val: Scenes
    """Images for validation."""
    note: str
    """One line on each source, for the user."""
    simulate: Simulator
    """Function that lays clouds over training images."""


def open_prior_data(options: PriorTrainOptions) -> PriorData:
    """Find the images that the options name.

    Raises:
        DataError: there are none, too few, or not in the expected folders.
    """
    simulate = simulator(options.backend, options.clouds, options.fields, options.fields_fraction)
    if options.pairs is not None:
        splits = find_thickness_pairs(options.pairs, options.peak)
        train = []
        for pair in splits.train:
            train.append(PriorSample((pair.cloudy, pair.clear), simulated=False, peak=pair.peak))
        data = PriorData(train, PairScenes(splits.val, truth_bands=1), splits.note, simulate)
    elif options.mixture is not None:
        assert options.root is not None
        data = _open_mixture(read_mixture(options.mixture, options.root, options.peak), simulate)
    else:
        data = _open_clear(options.clear or SAMPLE, simulate, options.peak)

    if not data.train or not len(data.val):
        source = options.pairs or options.mixture or options.clear or SAMPLE
        kind = "pairs" if options.pairs is not None else "images"
        raise DataError(
            f"{source} gives {len(data.train)} to train on and {len(data.val)} for validation, "
            f"expected one of each; at least 2 {kind} are needed."
        )
    return data


def _open_clear(root: Path, simulate: Simulator, peak: float | None) -> PriorData:
    """Find a folder of clear images."""
    parts = find_pairs(CLEAR, root, peak=peak)
    train = [PriorSample((pair.clear,), simulated=True, peak=peak) for pair in parts.train]
    val = SimulatedScenes(parts.val, simulate, "thickness")
    note = (
        f"{root}: clouds are simulated over {len(train)} clear images, {len(val)} others serve for "
        "validation"
    )
    return PriorData(train, val, note, simulate)


def _open_mixture(sources: Sequence[Source], simulate: Simulator) -> PriorData:
    """Find the clear images of all sources, for their uses "simulated" and "clear".

    SCPM learns nothing from pairs, because their thickness is unknown.
    """
    train: list[PriorSample] = []
    val: list[tuple[str, list[Pair]]] = []
    notes = []
    for source in sources:
        pairs, held_out, splits = open_source(source)
        counts = []
        for use in CLEAR_USES:
            if use not in source.repeats:
                continue
            sampled = source.sample(use, pairs)
            for pair in sampled:
                train.append(PriorSample((pair.clear,), use == "simulated", pair.peak))
            counts.append(f"{len(sampled)} {use}")

        if source.dataset == CLEAR:
            val.append((source.folder.resolve().name, held_out))
        notes.append(f"{splits.note}; a pass draws {', '.join(counts) or 'nothing'}")

    scenes = SimulatedScenes(with_unique_names(val), simulate, "thickness")
    return PriorData(train, scenes, "\n".join(notes), simulate)
