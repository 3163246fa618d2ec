"""Statistics of a scene: all that tiles share to give the result of one pass over the whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import safetensors
import safetensors.torch
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.files import write_atomically
from scpm import FACTOR, Moments, Tile
from thiefcloud.inference.borders import Borders
from thiefcloud.inference.fast import SCALE
from thiefcloud.inference.tiles import PaddedScene, Source, Window
from thiefcloud.network.base import RemovalNetwork

# Pixels around a window that prior and inversion may have to see. The first is enough for a
# prior, the last is the range of the inversion. `measure_scene` finds what weights need.
HALOS = (128, 160, 192, 256, 320)
_HALO_FAST = 192  # enough for a prior that sees half the scale; 128 leaves errors of 1e-5
_FORMAT = "3"  # of the files


@dataclass(frozen=True)
class SceneStatistics:
    """Values that a network takes from a scene as a whole."""

    size: tuple[int, int]
    """Height and width of the scene in pixels."""
    borders: Borders
    """Borders of one colour, which are not restored."""
    ground: Tensor
    """(1, bands, 1, 1): mean of the pixels that hold data, to fill the others."""
    image: Tensor | None
    """(1, 2 bands - 1, 9): `image_statistics`, for overlay and inversion if there is one."""
    moments: Mapping[str, Moments]
    """Moments of the maps that gates and attention see, by `moments_key`."""
    halo: int = HALOS[0]
    """Pixels around a window that prior and inversion must see."""
    fast: bool = False
    """Flag for statistics that serve the fast restoration alone; others do not serve it."""

    @property
    def prior_scale(self) -> int:
        """Side in pixels of what the prior sees as a pixel."""
        return SCALE if self.fast else 1

    @property
    def inside(self) -> Window:
        """Window that the borders enclose."""
        top, bottom, left, right = self.borders
        return Window.between(top, left, self.size[0] - bottom, self.size[1] - right)

    def padded(self, source: Source) -> PaddedScene:
        """Return the ground of the scene within its margin."""
        if (source.height, source.width) != self.size or source.bands != self.ground.shape[1]:
            raise UserError(
                f"the scene has {source.bands} bands of {source.height}x{source.width} pixels, but "
                f"its statistics are for {self.ground.shape[1]} of {self.size[0]}x{self.size[1]}: "
                "measure them anew."
            )
        filters = self.image is not None
        multiple = FACTOR * self.prior_scale
        return PaddedScene(
            source, self.inside, filters=filters, mean=self.ground, multiple=multiple
        )

    def tile(
        self, model: RemovalNetwork, window: Window, scene: PaddedScene, scale: int = 1
    ) -> "StatisticsTile":
        """Return a tile for a network to compute, at a window of the padded scene.

        Args:
            model: the network.
            window: the window.
            scene: the padded scene.
            scale: side in pixels of what the network sees as a pixel.
        """
        size = scene.size[0] // scale, scene.size[1] // scale
        return StatisticsTile(self, module_names(model), window.reduced(scale), size)

    def save(self, path: Path) -> None:
        """Write the statistics to a file of safetensors."""
        tensors = {"ground": self.ground}
        if self.image is not None:
            tensors["image"] = self.image
        for key, (mean, variance) in self.moments.items():
            tensors[f"mean/{key}"], tensors[f"variance/{key}"] = mean, variance

        about = {
            "format": _FORMAT,
            "size": json.dumps(self.size),
            "borders": json.dumps(self.borders),
            "halo": json.dumps(self.halo),
            "fast": json.dumps(self.fast),
        }
        content = safetensors.torch.save(tensors, about)
        write_atomically(path, lambda temporary: temporary.write_bytes(content))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the statistics from a file.

        Raises:
            UserError: it holds none.
        """
        try:
            with safetensors.safe_open(path, "pt") as file:
                about = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if about.get("format") != _FORMAT:
                raise ValueError(f"the format is {about.get('format')}, expected {_FORMAT}")

            moments = {}
            for name in tensors:
                if name.startswith("mean/"):
                    key = name.removeprefix("mean/")
                    moments[key] = Moments(tensors[name], tensors[f"variance/{key}"])
            return cls(
                tuple(json.loads(about["size"])),
                Borders(*json.loads(about["borders"])),
                tensors["ground"],
                tensors.get("image"),
                moments,
                json.loads(about["halo"]),
                json.loads(about["fast"]),
            )
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} holds no statistics of a scene ({error}): remove it to measure them anew."
            ) from error


def prior_halo(*, fast: bool) -> int:
    """Return the pixels around a window that are enough for a prior."""
    return _HALO_FAST if fast else HALOS[0]


def module_names(model: nn.Module) -> Mapping[nn.Module, str]:
    """Return the name of each module of a network."""
    return {module: name for name, module in model.named_modules()}


def moments_key(name: str, scale: int) -> str:
    """Return the name of the moments of a map at a scale that a module asks for."""
    return f"{name}/{scale}"


class StatisticsTile(Tile):
    """Tile whose moments are those of a scene."""

    def __init__(
        self,
        statistics: SceneStatistics,
        names: Mapping[nn.Module, str],
        window: Window,
        scene: tuple[int, int],
    ) -> None:
        super().__init__(window[:2], window[2:], scene)
        self.statistics, self.names = statistics, names

    def moments(self, module: nn.Module, features: Tensor) -> Moments:
        """Look up the moments of the scene."""
        key = moments_key(self.names[module], self.scale(features))
        found = self.statistics.moments.get(key)
        if found is None or found.mean.shape[1] != features.shape[1]:
            raise UserError(
                f"the statistics of the scene lack those of {key} with {features.shape[1]} "
                "channels: measure them with the same network."
            )
        # Copies, because sums may differ in the last bit if another process has placed the numbers
        # in memory otherwise.
        return Moments(*(moment.to(features.device, copy=True) for moment in found))
