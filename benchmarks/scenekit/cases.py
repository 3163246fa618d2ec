"""Restoration of one scene from file to file, in a process of its own, with its cost."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import thiefcloud
from benchmarks.scenekit.clock import Clock, Seconds
from benchmarks.speedkit.memory import peak_memory
from cloudkit.checkpoints import require_rgb
from cloudkit.imaging.raster import Raster, open_image
from cloudkit.imaging.selection import select
from cloudkit.memory import keep_freed_memory
from thiefcloud.inference.measuring import spread
from thiefcloud.inference.rasters import RasterSource, RasterTarget
from thiefcloud.inference.scenes import fitting_tile, tiles_of
from thiefcloud.inference.tiles import Window, whole
from thiefcloud.network.base import RemovalNetwork

PARTS = ("reading", "measuring", "network", "writing")


@dataclass(frozen=True)
class SceneCase:
    """Scene to restore, in plain values that can be sent to another process."""

    scene: Path
    out: Path
    side: int
    """Rows and columns of the scene."""
    tile: int | None
    """Side of the tiles; None for one pass."""
    most: int | None
    """Number of tiles that the network restores; None for all."""
    fast: bool
    checkpoint: Path


class TimedSource(RasterSource):
    """Scene whose reading is timed."""

    clock: Clock
    part = "reading"
    """Part that the time belongs to."""

    def read_stored(self, window: Window) -> Raster:
        """Read a window; see `RasterSource`."""
        with self.clock.part(self.part):
            return super().read_stored(window)


class TimedTarget(RasterTarget):
    """Files whose writing is timed."""

    clock: Clock

    def write(self, window: Window, pixels: Tensor, thickness: Tensor) -> None:
        """Keep a window; see `RasterTarget`."""
        with self.clock.part("writing"):
            super().write(window, pixels, thickness)

    def finish(self, tile: Window) -> None:
        """Write a tile; see `RasterTarget`."""
        with self.clock.part("writing"):
            super().finish(tile)

    def join(self, tiles: Sequence[Window], *, cog: bool = False) -> None:
        """Write the files; see `RasterTarget`."""
        with self.clock.part("writing"):
            super().join(tiles, cog=cog)


def measure(case: SceneCase) -> dict[str, Any]:
    """Restore a scene in a new process, and return its row of the table."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure_here, case).result()


def measure_here(case: SceneCase) -> dict[str, Any]:
    """Restore a scene, and return its row of the table. One pass that does not fit is not run."""
    keep_freed_memory()
    clock = Clock()
    model = require_rgb(thiefcloud.load(case.checkpoint), case.checkpoint)
    row: dict[str, Any] = {
        "side": case.side,
        "setting": "one pass" if case.tile is None else f"tiles of {case.tile}",
    }
    with _opened(case, clock) as (source, target):
        if case.tile is None and fitting_tile(model, source, fast=case.fast) < case.side:
            return row
        tiles = [whole(source)] if case.tile is None else tiles_of(source, case.tile)
        chosen = _chosen(tiles, case.most)
        target.begin({})
        _restore(model, target, source, tiles, chosen, case, clock)
        target.join(tiles)

    ratio = sum(map(_area, tiles)) / sum(map(_area, chosen))
    row["restored"] = f"{len(chosen)} of {len(tiles)}"
    return (
        row | _costs(clock.parts, ratio, case.side) | {"peak_mb": peak_memory(torch.device("cpu"))}
    )


@contextmanager
def _opened(case: SceneCase, clock: Clock) -> Iterator[tuple[TimedSource, TimedTarget]]:
    with open_image(case.scene) as file:
        source = TimedSource(file, select(file.properties, case.scene, bands=(3, 2, 1)))
        target = TimedTarget(case.out, source)
        source.clock = target.clock = clock
        yield source, target


def _chosen(tiles: list[Window], most: int | None) -> list[Window]:
    """Choose the tiles to restore, but not the first, which lies in the corner without data."""
    if most is None or len(tiles) <= most:
        return tiles
    return spread(tiles, most + 1)[1:]


def _restore(
    model: RemovalNetwork,
    target: TimedTarget,
    source: TimedSource,
    tiles: Sequence[Window],
    chosen: Sequence[Window],
    case: SceneCase,
    clock: Clock,
) -> None:
    """Restore and finish the chosen tiles, and write the others as they were read."""
    statistics = None
    if case.tile is not None:
        with clock.part("measuring"):
            statistics = thiefcloud.measure_scene(model, source, fast=case.fast)

    for tile in tiles:
        if tile in chosen:
            source.part = "reading of tiles"
            with clock.part("network"):
                thiefcloud.restore_scene(
                    model,
                    source,
                    target,
                    tile=max(tile.height, tile.width, 32),
                    statistics=statistics,
                    windows=[tile],
                    fast=case.fast,
                )
        else:
            source.part = "other"
            pixels, _ = source.read(tile)
            target.write(tile, pixels, torch.zeros_like(pixels[:1]))
        target.finish(tile)


def _area(window: Window) -> int:
    return window.height * window.width


def _costs(parts: dict[str, Seconds], ratio: float, side: int) -> dict[str, float]:
    """Return the seconds per megapixel as if all tiles were restored, and fractions."""
    network, tiles = parts["network"], parts["reading of tiles"]
    before = parts.get("reading", Seconds())
    reading = Seconds(before.cpu + tiles.cpu * ratio, before.wall + tiles.wall * ratio)
    network = Seconds(network.cpu * ratio, network.wall * ratio)
    parts = parts | {"network": network, "reading": reading}
    cpu = {name: parts.get(name, Seconds()).cpu for name in PARTS}
    wall = sum(parts.get(name, Seconds()).wall for name in PARTS)
    total, megapixels = sum(cpu.values()), side**2 / 1e6

    row = {"cpu_per_mp": total / megapixels, "wall_per_mp": wall / megapixels}
    for name in PARTS:
        row[f"{name}_fraction"] = cpu[name] / total
    return row
