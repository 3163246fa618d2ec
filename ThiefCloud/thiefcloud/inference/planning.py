"""Plan of the restoration of an image: tiles, expected time and memory, in a line."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from thiefcloud.inference.rasters import RasterSource
from thiefcloud.inference.restore import restore_and_detect
from thiefcloud.inference.scene_statistics import prior_halo
from thiefcloud.inference.scenes import (
    bytes_per_pixel,
    fitting_tile,
    largest_tile,
    tiles_of,
)
from thiefcloud.inference.tiles import Window, whole
from thiefcloud.network.base import RemovalNetwork, Restorer

WHOLE = 4_000_000  # pixels of an image that is restored in one pass, if memory allows
_MEASURED = 16 * 640**2  # pixels, at most, on which statistics are measured
_ROUNDS = 3  # passes that the rounds of this take together
_PROBE = 256  # pixels, side of the image that speed is measured on
_BASE = 0.8e9  # bytes of the program without an image
_STORED, _STORES = 20, 1e9  # bytes for each pixel of a scene by tiles in caches, and at most
_KINDS = 3  # of images, that a summary describes


@dataclass(frozen=True)
class ScenePlan:
    """Division of an image into tiles, and its cost."""

    source: RasterSource
    """The image."""
    tile: int
    """Side of the tiles in pixels."""
    fast: bool = False
    """Flag for the fast restoration."""
    seconds: float | None = None
    """Expected time; None if it was not measured."""

    @property
    def is_whole(self) -> bool:
        """Flag for an image that is restored in one pass."""
        return max(self.source.height, self.source.width) <= self.tile

    @property
    def tiles(self) -> list[Window]:
        """Tiles of the image."""
        return [whole(self.source)] if self.is_whole else tiles_of(self.source, self.tile)

    @property
    def memory(self) -> float:
        """Expected memory in bytes."""
        pixels, stores = self.source.height * self.source.width, 0.0
        if not self.is_whole:
            stores = min(_STORES, _STORED * pixels)
            pixels = max(self.computed)
        return _BASE + stores + bytes_per_pixel(fast=self.fast) * pixels

    @property
    def computed(self) -> list[int]:
        """Numbers of pixels that are computed for the tiles, which overlap."""
        both = 2 * prior_halo(fast=self.fast)
        return [(tile.height + both) * (tile.width + both) for tile in self.tiles]

    @property
    def kind(self) -> str:
        """Description of the image's values."""
        properties = self.source.file.properties
        count = len(properties.bands)
        bands = f"{count} band{'s' * (count > 1)} of {properties.dtype}"
        return f"{bands}, scale {self.source.selection.scaling}, {_no_data(self.source)}"

    def __str__(self) -> str:
        """Describe the work in a line."""
        parts = [
            f"{self.source.width} x {self.source.height} pixels",
            self.kind,
            *(["fast"] if self.fast else []),
            "one pass" if self.is_whole else f"{len(self.tiles)} tiles of {self.tile} pixels",
        ]
        if self.seconds is not None:
            parts.append(f"about {_duration(self.seconds)}")
        parts.append(f"{self.memory / 1e9:.1f} GB of memory")
        return f"{self.source.selection.path}: {', '.join(parts)}"


@dataclass(frozen=True)
class InOnePass:
    """Result for an image that was restored in one pass."""

    kind: str
    """Description of its values."""


def summary(images: Sequence[InOnePass]) -> str:
    """Describe many images that were restored in one pass each."""
    counted = Counter(image.kind for image in images).most_common()
    parts = []
    for kind, count in counted[:_KINDS]:
        parts.append(f"{count} image{'s' * (count > 1)} with {kind}")
    if others := sum(count for _, count in counted[_KINDS:]):
        parts.append(f"{others} of other kinds")
    return f"in one pass: {'; '.join(parts)}"


def plan_scene(
    model: Restorer,
    source: RasterSource,
    *,
    tile: int | None,
    flips: bool,
    fast: bool,
    measure: bool,
) -> ScenePlan:
    """Divide an image into tiles that fit in memory.

    Args:
        model: the network. Those of `load_onnx` know no tiles.
        source: the image.
        tile: side of the tiles in pixels, if the user chooses it.
        flips: restore all eight forms of the image, which is one pass, too.
        fast: restore by the inversion alone; see `restore`.
        measure: measure the speed of this machine for an image in one pass, too.
    """
    side = tile
    if flips or not isinstance(model, RemovalNetwork):
        side = max(source.height, source.width)
    elif side is None:
        side = fitting_tile(model, source, fast=fast)
        if source.height * source.width > WHOLE:
            # Not larger: a killed run loses minutes at most.
            side = min(side, largest_tile(fast=fast))
    plan = ScenePlan(source, side, fast)
    if plan.is_whole and not measure:
        return plan
    return replace(plan, seconds=_expected_seconds(model, plan, flips=flips))


def _expected_seconds(model: Restorer, plan: ScenePlan, *, flips: bool) -> float:
    """Measure the speed of this machine, and multiply it by the pixels of the plan."""
    window = whole(plan.source)
    pixels = window.height * window.width
    if not plan.is_whole:
        computed, measured = sum(plan.computed), min(pixels, _MEASURED)
        if not plan.fast:  # the network behind the inversion sees less around a tile
            computed, measured = (pixels + computed) // 2, _ROUNDS * measured
        pixels = computed + measured
    return _seconds_per_pixel(model, flips, plan.fast) * pixels


@lru_cache(maxsize=1)  # of a folder of images, the first tells
def _seconds_per_pixel(model: Restorer, flips: bool, fast: bool) -> float:
    """Measure the speed of this machine."""
    image = torch.rand(3, _PROBE, _PROBE, device=next(model.parameters()).device)
    restore_and_detect(model, image[:, :32, :32], fast=fast)  # warms up
    start = time.perf_counter()
    restore_and_detect(model, image, flips=flips, fast=fast)[0].cpu()
    return (time.perf_counter() - start) / _PROBE**2


def _no_data(source: RasterSource) -> str:
    """Describe the pixels without data."""
    selection = source.selection
    kinds = set()
    for band in selection.properties.bands:
        if band.nodata is not None:
            kinds.add(f"no-data {band.nodata:g}")
    first = source.first
    kinds |= {"mask"} if first.mask is not None else set()
    kinds |= {"alpha"} if first.alpha is not None else set()
    return " and ".join(sorted(kinds)) or "no no-data"


def _duration(seconds: float) -> str:
    """Return a time in the largest unit that fits."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(seconds, 1):.0f} s"
