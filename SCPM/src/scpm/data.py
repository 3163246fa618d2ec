"""What SCPM learns from: simulated clouds over clear images, or pairs of cloudy images and thickness maps on disk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from cloudkit.cli import SAMPLE
from cloudkit.datasets import find_clear
from cloudkit.images import read_unit
from cloudkit.mixture import CLEAR, CLEAR_USES, Source, named_apart, open_source, read_mixture
from cloudkit.pairs import DataError, Pair, match_pairs, subfolders
from cloudkit.scenes import PairScenes, Scene, Scenes
from cloudkit.splits import WHOLE, Splits, divide
from scpm.clouds import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.clouds_scg import simulate_clouds_scg
from scpm.fields import CloudFields
from scpm.options import Backend, PriorTrainOptions

Simulator = Callable[[Tensor, Sequence[int]], SimulatedClouds]
_PAIR_FOLDERS = (("cloudy", "thickness"), ("t_simulated", "t_cmask"))  # ours and the official release's


def simulator(backend: Backend, options: CloudOptions, fields: Path | None = None, fraction: float = 0.3) -> Simulator:
    """A function from clear images (N, 3, H, W) and one seed each to pairs.

    Args:
        backend: our own simulation, to which the rest applies, or satellite-cloud-generator.
        options: of the clouds.
        fields: folder of opacity maps from which some clouds take their shape.
        fraction: fraction of those clouds.

    Raises:
        DataError, ImageError: the folder holds no map, or a damaged one.
    """
    if backend == "scg":
        return simulate_clouds_scg
    shapes = CloudFields.read(fields, fraction) if fields is not None and fraction > 0 else None
    return lambda clear, seeds: simulate_clouds(clear, seeds, options, fields=shapes)


class SimulatedScenes(Scenes):
    """Clear images under fixed clouds: each name has its own, drawn on the CPU and so equal everywhere.

    Args:
        files: the clear images by name.
        simulate: what draws the clouds.
        truth: what a network should find, the thickness map or the clear image.
    """

    def __init__(self, files: Mapping[str, Path], simulate: Simulator, truth: Literal["thickness", "clear"]) -> None:
        self.files, self.simulate, self.truth = list(files.items()), simulate, truth
        self.names = list(files)
        self.folders = {path.parent for path in files.values()}

    def __getitem__(self, index: int) -> Scene:  # type: ignore[override]  # no slices
        """Read a clear image and cover it. Raises ImageError where the file is damaged."""
        name, path = self.files[index]
        clear = read_unit(path)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        clouds = self.simulate(clear[None], [seed])
        return Scene(name, clouds.cloudy[0], clouds.thickness[0] if self.truth == "thickness" else clear)


def find_thickness_pairs(root: Path) -> Splits:
    """Cloudy images and thickness maps below `root`: cloudy/ and thickness/, or the official T_Simulated/ and T_Cmask/.

    Validation is carved by `validation_names`; the test part, for test_cd.py, is the whole.

    Raises:
        DataError: the folders are not there, or their names do not match.
    """
    below = subfolders(Path(root))
    for names in _PAIR_FOLDERS:
        if all(name in below for name in names):
            pairs, unpaired = match_pairs(*(below[name] for name in names))
            parts, _ = divide({WHOLE: {pair.name: pair for pair in pairs}})
            note = f"{root}: {len(pairs)} pairs" + (f"; {unpaired} images without a partner are left out" if unpaired else "")
            return Splits(**{part: list(found.values()) for part, found in parts.items()}, note=note)
    raise DataError(
        f"{root} holds no thickness pairs; expected cloudy/ and thickness/ (as SCPM/src/simulate.py writes them), "
        "or T_Simulated/ and T_Cmask/."
    )


class PriorSample(NamedTuple):
    """One draw of the prior's training."""

    files: tuple[Path, ...]
    """The clear image; or the cloudy one and its thickness map."""
    simulated: bool
    """A cloud is drawn over the image; else the thickness is that of the map, or 0."""


class PriorData(NamedTuple):
    """Images that the prior is trained on, opened but not yet read."""

    train: Sequence[PriorSample]
    val: Scenes
    note: str
    """A line for each source that was found."""
    simulate: Simulator


def open_prior_data(options: PriorTrainOptions) -> PriorData:
    """Find the images that the options name. Raises DataError where they are not as expected, or are too few."""
    simulate = simulator(options.backend, options.clouds, options.fields, options.fields_fraction)
    if options.pairs is not None:
        splits = find_thickness_pairs(options.pairs)
        train = [PriorSample((pair.cloudy, pair.clear), simulated=False) for pair in splits.train]
        data = PriorData(train, PairScenes(splits.val, truth_bands=1), splits.note, simulate)
    elif options.mixture is not None:
        assert options.root is not None
        data = _open_mixture(read_mixture(options.mixture, options.root), simulate)
    else:
        root = options.clear or SAMPLE
        parts = find_clear(root)
        train = [PriorSample((path,), simulated=True) for path in parts["train"].values()]
        val = SimulatedScenes(parts["val"], simulate, "thickness")
        note = f"{root}: clouds are simulated over {len(train)} clear images, {len(val)} others serve for validation"
        data = PriorData(train, val, note, simulate)
    if not data.train or not len(data.val):
        source = options.pairs or options.mixture or options.clear or SAMPLE
        raise DataError(f"{source}: expected at least one image to train on, and another for validation.")
    return data


def _open_mixture(sources: Sequence[Source], simulate: Simulator) -> PriorData:
    """The clear images of all sources, as they say under "simulated" and "clear"; of their pairs the prior learns nothing."""
    train: list[PriorSample] = []
    val: list[tuple[str, list[Pair]]] = []
    notes = []
    for source in sources:
        pairs, held, splits = open_source(source)
        counts = []
        for use in [use for use in CLEAR_USES if use in source.draws]:
            samples = [PriorSample((pair.clear,), simulated=use == "simulated") for pair in source.drawn(use, pairs)]
            counts.append(f"{len(samples)} {use}")
            train += samples
        if source.dataset == CLEAR:
            val.append((source.folder.resolve().name, held))
        notes.append(f"{splits.note}; a pass draws {', '.join(counts) or 'nothing'}")
    scenes = SimulatedScenes({pair.name: pair.clear for pair in named_apart(val)}, simulate, "thickness")
    return PriorData(train, scenes, "\n".join(notes), simulate)
