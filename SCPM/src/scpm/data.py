"""What SCPM learns from: simulated clouds over clear images, or pairs of cloudy images and thickness maps on disk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from cloudkit.images import read_unit
from cloudkit.pairs import DataError, match_pairs, subfolders
from cloudkit.scenes import Scene, Scenes
from cloudkit.splits import WHOLE, Splits, divide
from scpm.clouds import CloudOptions, SimulatedClouds, simulate_clouds
from scpm.clouds_scg import simulate_clouds_scg

Backend = Literal["physical", "scg"]
Simulator = Callable[[Tensor, Sequence[int]], SimulatedClouds]
_PAIR_FOLDERS = (("cloudy", "thickness"), ("t_simulated", "t_cmask"))  # ours and the official release's


def simulator(backend: Backend, options: CloudOptions) -> Simulator:
    """A function from clear images (N, 3, H, W) and one seed each to pairs; the options are those of our own simulation."""
    if backend == "scg":
        return simulate_clouds_scg
    return lambda clear, seeds: simulate_clouds(clear, seeds, options)


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
