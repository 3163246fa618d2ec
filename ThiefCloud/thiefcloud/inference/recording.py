"""Moments of the maps of a network, recorded tile by tile."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scpm import Moments, Tile
from thiefcloud.inference.scene_statistics import moments_key
from thiefcloud.inference.tiles import Window


class NotYetError(Exception):
    """Signal that nothing more can be measured in this round."""


class _Pooled:
    """Sums over tiles, from which the moments of all of them follow (Chan, Golub, LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean, self.squares = torch.tensor(0.0).double(), torch.tensor(0.0).double()

    def add(self, features: Tensor) -> None:
        """Add the places of a map (1, C, h, w)."""
        features = features.float()
        count = features.shape[2] * features.shape[3]
        mean = features.mean((2, 3))
        squares = (features - mean[..., None, None]).square().sum((2, 3)).cpu().double()

        difference = mean.cpu().double() - self.mean
        together = self.count + count
        self.squares = self.squares + squares + difference**2 * (self.count * count / together)
        self.mean = self.mean + difference * (count / together)
        self.count = together

    def moments(self) -> Moments:
        """Return the moments of all that was added."""
        return Moments(self.mean.float(), (self.squares / max(self.count - 1, 1)).float())


class Recorder:
    """Moments that are known, and those that this round measures.

    Args:
        names: name of each module of the network.
    """

    def __init__(self, names: Mapping[nn.Module, str]) -> None:
        self.names = names
        self.known: dict[str, Moments] = {}
        self.pooled: dict[str, _Pooled] = {}

    def end_round(self) -> bool:
        """Make what was measured known. Return False if that is nothing."""
        for key, pooled in self.pooled.items():
            self.known[key] = pooled.moments()
        found = bool(self.pooled)
        self.pooled = {}
        return found


class RecordingTile(Tile):
    """Tile that measures the statistics that are not known yet.

    Args:
        recorder: the statistics of all tiles.
        core: what this tile adds to them.
        window: what the network computes.
        size: height and width of the padded scene, at the scale of both.
        stop: name of the last statistic to measure, if it is known.
    """

    def __init__(
        self,
        recorder: Recorder,
        core: Window,
        window: Window,
        size: tuple[int, int],
        stop: str | None,
    ) -> None:
        super().__init__(window[:2], window[2:], size)
        self.recorder, self.core, self.stop = recorder, core, stop
        self.last: str | None = None

    def moments(self, module: nn.Module, features: Tensor) -> Moments:
        """Return known moments; else measure the map, and return NaN."""
        scale = self.scale(features)
        key = moments_key(self.recorder.names[module], scale)
        known = self.recorder.known.get(key)
        if known is not None:
            return Moments(*(value.to(features.device) for value in known))
        if features[:, :, 0, 0].isnan().any():
            raise NotYetError

        pooled = self.recorder.pooled.setdefault(key, _Pooled())
        pooled.add(self.core.of(features, scale, self.at))
        self.last = key
        if key == self.stop:
            raise NotYetError
        unknown = features.new_full(features.shape[:2], math.nan, dtype=torch.float32)
        return Moments(unknown, unknown)
