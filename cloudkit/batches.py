"""Training batches: a fixed order of draws that any step can look up, and random crops from images in memory.

Randomness depends on the seed, the phase, the pass over the data and the image, never on history or process: a resumed run draws
what an unbroken one would, and several processes together draw what one would.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.images import read_image, read_unit
from cloudkit.stores import Cut, DeviceStore, Store, open_store, size_of, stored_alike

_ORDER, _DRAW = 0, 1  # two uses of randomness that must not share numbers


@dataclass(frozen=True)
class Draw:
    """One image of a batch."""

    index: int
    """Which image."""
    entropy: tuple[int, ...]
    """What the randomness of this draw depends on."""

    def generator(self) -> np.random.Generator:
        """A generator for this draw alone: equal every time it is asked for."""
        return np.random.default_rng(self.entropy)

    def seed(self, use: int = 0) -> int:
        """A number for generators of another kind, such as that of the clouds over this image; uses share no randomness."""
        return int(np.random.SeedSequence((*self.entropy, use)).generate_state(1, np.uint64)[0] >> 1)


class Sampler:
    """Which images each step draws: one permutation of all images after the other, cut into batches.

    Args:
        count: images in the set.
        batch: images a step, all processes together; a multiple of the number of processes.
        seed: of the run.
        phase: of the run; phases draw differently.
        world: the processes; each gets its share of every batch.
    """

    def __init__(self, count: int, batch: int, *, seed: int, phase: int, world: World) -> None:
        if count < 1:
            raise UserError("there is no image to train on.")
        if batch % world.size:
            raise UserError(
                f"the batch of {batch} does not divide into {world.size} processes; choose a multiple of {world.size}."
            )
        self.count, self.batch, self.world = count, batch, world
        self._entropy = (seed, phase)
        self._order = lru_cache(maxsize=2)(self._permutation)  # a batch spans two passes at most, unless the set is tiny

    @property
    def steps_per_epoch(self) -> int:
        """Steps that draw about every image once: exactly so where the batch divides their number."""
        return -(-self.count // self.batch)

    def draws(self, step: int) -> list[Draw]:
        """This process's share of the batch of a step, counted from 0."""
        positions = self.world.share(range(step * self.batch, (step + 1) * self.batch))
        return [self._draw(*divmod(position, self.count)) for position in positions]

    def _draw(self, number_of_pass: int, position: int) -> Draw:
        index = int(self._order(number_of_pass)[position])
        return Draw(index, (*self._entropy, _DRAW, number_of_pass, index))

    def _permutation(self, number_of_pass: int) -> np.ndarray:
        return np.random.default_rng((*self._entropy, _ORDER, number_of_pass)).permutation(self.count)


class ImageStore:
    """Images in memory as they are stored in their files, decoded once; what belongs together is cropped together.

    Args:
        files: for each image of the set the files that show the same place, for example (cloudy, clear).
        bands: of each of those files.
        crop: side of the square crops in pixels, a multiple of 8.
        device: where batches go.
        store: in which memory images lie; "auto": the device's, if it is a GPU with room for them. Batches are the same.
        show_progress: whether to show a progress bar while reading.

    Raises:
        ImageError: a file cannot be read.
        UserError: files of one place differ in size, an image is smaller than the crop, or the device has no room.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, ...]],
        bands: tuple[int, ...],
        crop: int,
        device: torch.device,
        *,
        store: Store = "auto",
        show_progress: bool = True,
    ) -> None:
        self.crop = crop

        def read(paths: tuple[Path, ...]) -> list[Tensor]:
            read_once = {path: _read_stored(path, count) for path, count in dict(zip(paths, bands, strict=True)).items()}
            images = [read_once[path] for path in paths]  # one file may serve as both input and truth
            check_same_size(images, paths)
            height, width = images[0].shape[1:]
            if min(height, width) < crop:
                raise UserError(
                    f"{paths[0]} is {height}x{width} pixels, smaller than the crop of {crop}; choose a smaller --crop."
                )
            return images

        with ThreadPoolExecutor() as pool:
            reading = pool.map(read, files)
            bar = tqdm(reading, total=len(files), desc="reading images", unit="image", disable=not show_progress)
            parts = [stored_alike(images) for images in zip(*bar, strict=True)]
        self._sizes = [tuple(image.shape[1:]) for image in parts[0]]
        self._store = open_store(store, parts, crop, device)
        memory = f"the memory of {device}" if isinstance(self._store, DeviceStore) else "host memory"
        self.note = f"{len(self)} training images, {size_of(parts) / 1e9:.2f} GB, lie in {memory}"

    def __len__(self) -> int:
        return len(self._sizes)

    def crops(self, draws: Sequence[Draw]) -> list[Tensor]:
        """Random crops, mirrored and turned by quarters, of the drawn images.

        Returns:
            For each file of a place one batch (N, bands, crop, crop), float32 in [0, 1], on the device.
        """
        return self._store.crops([self._cut(draw) for draw in draws])

    def _cut(self, draw: Draw) -> Cut:
        random = draw.generator()
        top, left = (int(random.integers(size - self.crop + 1)) for size in self._sizes[draw.index])
        return Cut(draw.index, top, left, mirrored=bool(random.integers(2)), turns=int(random.integers(4)))


def _read_stored(path: Path, bands: int) -> Tensor:
    """The image as it is stored; floats, whose range must be checked while the file is known, in [0, 1]."""
    pixels = read_image(path, bands=bands)
    return read_unit(path, bands=bands) if pixels.dtype.is_floating_point else pixels


def check_same_size(images: Sequence[Tensor], paths: Sequence[Path]) -> None:
    """Raise UserError unless all images have the same height and width; the message names their files."""
    sizes = ["x".join(str(side) for side in image.shape[-2:]) for image in images]
    if len(set(sizes)) > 1:
        named = " and ".join(f"{path} is {size}" for path, size in zip(paths, sizes, strict=True))
        raise UserError(f"{named} pixels; images of one place must have one size: crop or resample one of them.")
