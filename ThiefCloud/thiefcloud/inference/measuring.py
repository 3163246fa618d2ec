"""Measurement of the statistics of a scene, tile by tile.

Gates and attention see statistics of maps that depend on other gates before them. So the network
runs in rounds. A round measures the maps whose inputs are known. The gates behind them get NaN,
which marks everything that depends on them for a later round. So each statistic is measured once,
from exact inputs, after as many rounds as gates follow one another.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.imaging.padding import inference
from cloudkit.memory import free_memory, memory_error, return_memory
from scpm import FACTOR, Prior, on_tile
from thiefcloud.inference.borders import Borders, find_borders_of
from thiefcloud.inference.fast import reduce, require_inversion
from thiefcloud.inference.recording import NotYetError, Recorder, RecordingTile
from thiefcloud.inference.scene_statistics import (
    HALOS,
    SceneStatistics,
    module_names,
    prior_halo,
)
from thiefcloud.inference.tiles import PaddedScene, Source, Window, read_valid
from thiefcloud.inference.windows import (
    COARSEST,
    NETWORK_HALO,
    crop_prior,
    prepare,
    read_uncovered,
    require_scene,
    see,
)
from thiefcloud.network.base import RemovalNetwork
from thiefcloud.network.statistics import sampling_step, scene_statistics

Progress = Callable[[str, int, int], object]  # name of the step, tiles done, tiles in all
_TILE = 512  # pixels; the same for every memory, lest a result depend on it
_SMALLEST = 64  # the same if memory runs out; what a tile sees around it is larger
_MOST = 16  # tiles; scenes of up to 2048 pixels a side have no more
_READ = 1024  # side of the windows of the pass over the pixels alone
_PROBE = 64  # side of the window that halos are tried for
_NEGLIGIBLE = 5e-7  # difference of inverted images; elsewhere it may be ten times larger
_GOLDEN = (math.sqrt(5) - 1) / 2


def measure_scene(
    model: RemovalNetwork,
    source: Source,
    *,
    fast: bool = False,
    tile: int = _TILE,
    most: int | None = _MOST,
    progress: Progress = lambda step, done, total: None,
) -> SceneStatistics:
    """Measure what a network takes from a scene as a whole.

    Args:
        model: the network, on any device.
        source: the scene.
        fast: measure what the fast restoration needs; see `restore`.
        tile: side of the tiles in pixels, a multiple of 32. It changes a result by rounding alone
            if all tiles are measured. If memory runs out, it is halved.
        most: number of tiles that are measured, spread evenly over a larger scene. None measures
            all, so that tiles are equal to one pass over the whole at any size.
        progress: called after each tile.

    Raises:
        ValueError: valid pixels are not in [0, 1].
        UserError: `tile` or `most` is out of range, `fast` with a network without an inversion, or
            no network or source.
        RuntimeError, MemoryError: there is no memory even for the smallest tiles.
    """
    require_scene(model, source)
    if tile < _SMALLEST or tile % COARSEST:
        raise UserError(
            f"tile is {tile}, expected a multiple of {COARSEST}, at least {_SMALLEST} pixels."
        )
    if most is not None and most < 1:
        raise UserError(f"most is {most}, expected at least 1 tile, or None for all.")
    if fast:
        require_inversion(model)
    borders = Borders(0, 0, 0, 0)
    if model.reads_statistics:
        borders = find_borders_of(
            source.height, source.width, lambda window: read_valid(source, window)[0]
        )

    nothing, halo = torch.empty(0), prior_halo(fast=fast)
    start = SceneStatistics((source.height, source.width), borders, nothing, None, {}, halo, fast)
    scene = PaddedScene(source, start.inside, filters=model.reads_statistics)
    ground, image = _measure_pixels(scene, progress)
    start = replace(start, ground=ground, image=image if model.reads_statistics else None)
    scene = start.padded(source)

    while True:
        try:
            with inference(model):
                return _Measuring(model, scene, start).run(tile, most, progress)
        except Exception as error:
            if memory_error(error) is None or tile // 2 < _SMALLEST:
                raise
        free_memory()  # after the error, and with it the memory of the failed work, is gone
        tile, most = tile // 2, most and 4 * most


def _measure_pixels(scene: PaddedScene, progress: Progress) -> tuple[Tensor, Tensor]:
    """Read a scene once, and return `ground` and `image` of its statistics."""
    inside, bands = scene.ground, scene.source.bands
    total, count = torch.zeros(bands).double(), torch.tensor(0.0).double()

    step = sampling_step(inside.height, inside.width)
    sampled = torch.zeros(bands, -(-inside.height // step), -(-inside.width // step))

    windows = list(Window(0, 0, inside.height, inside.width).tiles(_READ))
    for done, window in enumerate(windows, 1):
        pixels = scene.read_ground(window)
        valid = pixels.any(0)
        total += pixels.double().sum((1, 2))
        count += valid.sum()

        first_row, first_column = -window.top % step, -window.left % step
        part = pixels[:, first_row::step, first_column::step]
        row, column = (window.top + first_row) // step, (window.left + first_column) // step
        Window(row, column, *part.shape[1:]).of(sampled).copy_(part)
        progress("reading", done, len(windows))

    mean = (total / count.clamp_min(1)).float().view(1, -1, 1, 1)
    return mean, scene_statistics(sampled[None])  # so few that all count


def spread(windows: list[Window], most: int | None) -> list[Window]:
    """Choose some windows, spread evenly and always the same."""
    if most is None or len(windows) <= most:
        return windows
    order = sorted(range(len(windows)), key=lambda index: index * _GOLDEN % 1)
    return [windows[index] for index in sorted(order[:most])]


class _Measuring:
    """Rounds of measurements in the tiles of a scene."""

    def __init__(self, model: RemovalNetwork, scene: PaddedScene, start: SceneStatistics) -> None:
        self.model, self.scene, self.statistics = model, scene, start
        self.recorder = Recorder(module_names(model))
        self.stops: dict[nn.Module, str | None] = {}  # last statistic of each part this round
        self.finished: set[nn.Module] = set()
        self.prepared: dict[Window, tuple[Tensor, Prior]] = {}

    def run(self, tile: int, most: int | None, progress: Progress) -> SceneStatistics:
        """Measure in rounds until nothing is left."""
        cores = spread(list(Window(0, 0, *self.scene.size).tiles(tile)), most)
        self._measure_round(self._prior, cores, progress, "statistics of the prior")
        if self.model.inversion is not None:
            for core in {cores[0], cores[len(cores) // 2], cores[-1]}:
                halo = max(self._needed_halo(core), self.statistics.halo)
                self.statistics = replace(self.statistics, halo=halo)

        number, more = 1, not self.statistics.fast
        while more:
            step = f"statistics of the network, round {number}"
            more = self._measure_round(self._gated_parts, cores, progress, step)
            number += 1
        return self.statistics

    def _measure_round(
        self, parts_of: Callable[[Window], None], cores: list[Window], progress: Progress, step: str
    ) -> bool:
        """Measure all statistics whose inputs are known. Return False if there were none."""
        self.stops = {}
        for done, core in enumerate(cores, 1):
            parts_of(core)
            progress(step, done, len(cores))

        return_memory()
        found = self.recorder.end_round()
        self.statistics = replace(self.statistics, moments=dict(self.recorder.known))
        return found

    def _prior(self, core: Window) -> None:
        scale = self.statistics.prior_scale
        wide = core.grown(self.statistics.halo, COARSEST, self.scene.size)
        images = read_uncovered(self.model, self.scene, self.statistics, wide).images
        if self.statistics.fast:
            images = reduce(images)
        self._measure(self.model.prior, images, core, wide, scale)

    def _needed_halo(self, core: Window) -> int:
        """Find the halo that the inversion needs with these weights, amid a tile."""
        row, column = core.top + core.height // 2, core.left + core.width // 2
        row, column = row // FACTOR * FACTOR, column // FACTOR * FACTOR
        probe = core.common(Window(row, column, _PROBE, _PROBE))
        widest = probe.grown(HALOS[-1], COARSEST, self.scene.size)
        uncovered = read_uncovered(self.model, self.scene, self.statistics, widest)

        prior = see(self.model, uncovered.images, self.statistics, widest, self.scene)
        expected = None
        for halo in reversed(HALOS):
            window = probe.grown(halo, COARSEST, self.scene.size)
            part = uncovered._replace(images=window.of(uncovered.images, origin=widest[:2]))
            inverted = self.model.invert(part, crop_prior(prior, window, widest))
            found = probe.of(inverted, origin=window[:2])
            if expected is None:
                expected = found
            elif (found - expected).abs().max() > _NEGLIGIBLE:
                return HALOS[HALOS.index(halo) + 1]
        return HALOS[0]

    def _gated_parts(self, core: Window) -> None:
        near = core.grown(NETWORK_HALO, FACTOR, self.scene.size)
        image, prior = self.prepared.get(core) or prepare(
            self.model, self.scene, self.statistics, core
        )
        if len(self.prepared) < _MOST:  # further ones would take too much memory
            self.prepared[core] = image, prior

        for part, features in self.model.gated_parts(image, prior):
            self._measure(part, features, core, near)

    def _measure(
        self, part: nn.Module, features: Tensor, core: Window, window: Window, scale: int = 1
    ) -> None:
        """Run a part of the network as far as it has something to measure."""
        if part in self.finished:
            return
        core, window = core.reduced(scale), window.reduced(scale)
        size = self.scene.size[0] // scale, self.scene.size[1] // scale
        tile = RecordingTile(self.recorder, core, window, size, self.stops.get(part))
        try:
            with on_tile(tile):
                part(features)
        except NotYetError:
            pass

        # What the first tile tells holds for all.
        if part not in self.stops:
            self.stops[part] = tile.last
            if tile.last is None:
                self.finished.add(part)
