"""Training images in memory, and random crops of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cloudkit.errors import UserError
from cloudkit.imaging.images import check_same_size, read_image, read_unit
from cloudkit.progress import progress_bar
from trainkit.data.sampling import SampleIndex
from trainkit.data.stores import Crop, DeviceStore, Store, open_store, size_of, stored_alike

Peaks = tuple[float | None, ...]  # of the files of a place


class CropDataset(Dataset[list[Tensor]]):
    """Random crops of images in memory. Files of one place are cropped alike.

    Args:
        files: for each sample, the files that show the same place, for example (cloudy, clear). A
            place that several samples show is read and stored once.
        bands: number of bands of each of those files.
        crop: side of the square crops in pixels, a multiple of 8.
        device: device of the batches.
        store: memory for the images; "auto" is the device's, if it is a GPU with enough room. The
            batches are the same.
        peaks: for each sample, the stored values that mean 1 in its files (see `to_unit`). Default:
            those of the formats.
        show_progress: show a progress bar while reading.

    Raises:
        ImageError: a file cannot be read.
        UserError: files of one place differ in size, an image is smaller than the crop, or the
            device has not enough memory.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, ...]],
        bands: tuple[int, ...],
        crop: int,
        device: torch.device,
        *,
        store: Store = "auto",
        peaks: Sequence[Peaks] | None = None,
        show_progress: bool = True,
    ) -> None:
        self.crop = crop
        none = (None,) * len(bands)
        samples = list(zip(files, peaks or [none] * len(files), strict=True))
        places = list(dict.fromkeys(samples))
        numbers = {place: number for number, place in enumerate(places)}
        self._places = [numbers[place] for place in samples]  # of each sample

        def read(place: tuple[tuple[Path, ...], Peaks]) -> list[Tensor]:
            paths, own_peaks = place
            return _read_place(paths, bands, own_peaks, crop)

        with ThreadPoolExecutor() as pool:
            bar = progress_bar(
                pool.map(read, places),
                total=len(places),
                desc="reading images",
                unit="image",
                show=show_progress,
            )
            parts = [stored_alike(images) for images in zip(*bar, strict=True)]

        self._sizes = [tuple(image.shape[1:]) for image in parts[0]]
        self._store = open_store(store, parts, crop, device)
        on_device = isinstance(self._store, DeviceStore)
        memory = f"the memory of {device}" if on_device else "host memory"
        self.note = f"{len(places)} training images, {size_of(parts) / 1e9:.2f} GB, lie in {memory}"

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._places)

    def __getitem__(self, sample: SampleIndex) -> list[Tensor]:
        """Return one random crop (bands, crop, crop) of each file of a place."""
        return [batch[0] for batch in self.__getitems__([sample])]

    def __getitems__(self, samples: Sequence[SampleIndex]) -> list[Tensor]:
        """Return random crops, flipped and rotated by quarter turns.

        Returns:
            For each file of a place one batch (N, bands, crop, crop), float32 in [0, 1], on the
            device.
        """
        return self._store.crops([self._random_crop(sample) for sample in samples])

    def _random_crop(self, sample: SampleIndex) -> Crop:
        random = sample.generator()
        place = self._places[sample.index]
        height, width = self._sizes[place]
        top = int(random.integers(height - self.crop + 1))
        left = int(random.integers(width - self.crop + 1))
        flip, rotations = bool(random.integers(2)), int(random.integers(4))
        return Crop(place, top, left, flip, rotations)


def _read_place(
    paths: tuple[Path, ...], bands: tuple[int, ...], peaks: Peaks, crop: int
) -> list[Tensor]:
    """Read the files that show one place, each once. Raises as `CropDataset`."""
    read_once: dict[Path, Tensor] = {}
    for path, count, peak in zip(paths, bands, peaks, strict=True):
        if path not in read_once:
            read_once[path] = _read_stored(path, count, peak)
    images = [read_once[path] for path in paths]  # one file may be both input and truth
    check_same_size(images, paths)

    height, width = images[0].shape[1:]
    if min(height, width) < crop:
        raise UserError(
            f"{paths[0]} is {height}x{width} pixels, smaller than the crop of {crop}; choose a "
            "smaller --crop."
        )
    return images


def _read_stored(path: Path, bands: int, peak: float | None) -> Tensor:
    """Read an image in its own type.

    Floats become floats in [0, 1], because their range must be checked while the file is known.
    int16 does, too, because stores hold uint16 as int16. With a peak all types do.
    """
    if peak is not None:
        return read_unit(path, bands=bands, peak=peak)
    pixels = read_image(path, bands=bands)
    return pixels if pixels.dtype in (torch.uint8, torch.uint16) else read_unit(path, bands=bands)
