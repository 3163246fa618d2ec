"""Statistics of training images, to which the removal of overlays is fitted."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import read_unit
from cloudkit.processes import Processes
from cloudkit.progress import progress_bar
from thiefcloud.data.batches import CloudyCrops
from thiefcloud.data.datasets import Data, TrainingPair
from thiefcloud.network.statistics import fill, has_data, image_statistics
from thiefcloud.training.even_fit import Moments
from trainkit.data.sampling import batch_loader

_CROPS = 8  # in a batch


class Pairs(NamedTuple):
    """Statistics of pairs of images."""

    cloudy: Tensor
    """(N, 2 bands - 1, 9), `image_statistics` of the cloudy images."""
    clear: Tensor
    """The same of the clear ones."""
    moments: Moments
    """Those of the bands, by which errors are computed."""

    @classmethod
    def of(cls, cloudy: Tensor, clear: Tensor) -> Self:
        """Read images (N, bands, H, W). Pixels that are 0 in both hold no data."""
        valid = has_data(cloudy) | has_data(clear)
        of_cloudy = image_statistics(fill(cloudy, valid))
        of_clear = image_statistics(fill(clear, valid))
        return cls(of_cloudy, of_clear, Moments.of(cloudy, clear))

    @classmethod
    def join(cls, several: Iterable[Self]) -> Self:
        """Concatenate several."""
        cloudy, clear, moments = zip(*several, strict=True)
        return cls(torch.cat(cloudy), torch.cat(clear), Moments.join(*moments))

    def at(self, numbers: Tensor) -> Self:
        """Return some of the pairs."""
        moments = Moments(*(part[numbers] for part in self.moments))
        return type(self)(self.cloudy[numbers], self.clear[numbers], moments)

    def drawn(self, count: int, random: torch.Generator) -> Self:
        """Draw pairs at random."""
        return self.at(torch.randint(len(self.clear), (count,), generator=random))


class Samples(NamedTuple):
    """Statistics of the training images."""

    pairs: Pairs
    """Pairs under overlays."""
    others: Pairs | None
    """All other images, of which some are no pairs: cloudy and clear are the same."""
    crops: Tensor
    """(N, 2 bands - 1, 9): statistics of crops of them, some under simulated clouds."""


def read_samples(
    data: Data, processes: Processes, *, crop: int, seed: int, show_progress: bool
) -> Samples:
    """Read the training images.

    Args:
        data: the dataset. Its overlays are the pairs of a mixture's sources that say so, or all
            pairs if none does.
        processes: the processes; this one reads all.
        crop: side of the crops in pixels.
        seed: seed of crops and clouds.
        show_progress: show progress bars.

    Raises:
        UserError: there is no pair under an overlay.
    """
    marked = [pair for pair in data.train if pair.overlay]
    is_pair = [pair for pair in marked or data.train if pair.cloudy != pair.clear]
    pairs = _distinct(is_pair)
    others = [pair for pair in data.train if not pair.overlay] if marked else []
    if not pairs:
        raise UserError(
            "there is no pair of images under an overlay, expected some, as RICE1's: give "
            "--dataset rice1, a folder of such pairs, or a mixture with overlay = true."
        )

    def read(pairs: list[TrainingPair], title: str) -> Iterator[Pairs]:
        for pair in progress_bar(pairs, desc=title, unit="image", leave=False, show=show_progress):
            cloudy = read_unit(pair.cloudy, peak=pair.peak)[None]
            clear = read_unit(pair.clear, peak=pair.peak)[None]
            if cloudy.shape != clear.shape:
                raise UserError(
                    f"{pair.cloudy} and {pair.clear} have the shapes {tuple(cloudy.shape[1:])} and "
                    f"{tuple(clear.shape[1:])}, expected two images of the same size."
                )
            yield Pairs.of(cloudy, clear)

    under = Pairs.join(read(pairs, "reading overlays"))
    if not others:
        return Samples(under, None, under.cloudy[:0])

    wholes = Pairs.join(read(_distinct(others), "reading others"))
    crops = CloudyCrops(replace(data, train=others), crop=crop, store="host", processes=processes)
    sampler = crops.sampler(0, _CROPS, seed=seed, processes=processes)
    batches = progress_bar(
        batch_loader(crops, sampler.at(range(sampler.steps_per_epoch))),
        desc="reading crops",
        unit="batch",
        total=sampler.steps_per_epoch,
        leave=False,
        show=show_progress,
    )
    found = []
    for batch in batches:
        found.append(image_statistics(fill(batch.cloudy, has_data(batch.cloudy))))
    return Samples(under, wholes, torch.cat(found))


def _distinct(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """Return one sample of each pair of files."""
    return list({(pair.cloudy, pair.clear): pair for pair in pairs}.values())
