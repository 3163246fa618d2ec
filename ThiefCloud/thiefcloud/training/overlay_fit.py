"""Fit of the removal of overlays, from statistics of images alone: a minute on one core.

The opacity is fitted to pairs: half of each batch as they are, half their clear images under drawn
overlays. The recognition tells cloudy images of pairs, and clear ones under drawn overlays, from
all other images.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.imaging.images import read_unit
from cloudkit.processes import Processes
from cloudkit.progress import progress_bar
from thiefcloud.data.batches import CloudyCrops
from thiefcloud.data.datasets import Data, TrainingPair
from thiefcloud.network.overlay import Overlay
from thiefcloud.training.even_fit import Moments
from trainkit.data.sampling import batch_loader

_RATE = 4e-3  # of AdamW; it falls to 0 as a cosine
_DECAY = 0.05
_BATCH = 256
_NOISE = 0.01  # on the statistics, against overfitting
_NONE = 0.05  # fraction of the drawn overlays that are none, for the opacity
_RANGE = (0.0, 0.85)  # of drawn opacities
_RECOGNISABLE = (0.2, 0.85)  # the same, for the recognition
_SMALLEST_ERROR = 1e-5  # in the mean square; smaller errors count as this one
_UNDER = 0.35  # fraction of a batch under overlays, for the recognition
_CROP, _CROPS = 256, 8  # side in pixels, and number in a batch


class Samples(NamedTuple):
    """What the fit reads of the training images."""

    pairs: Moments
    """Those of pairs under overlays."""
    wholes: Tensor
    """(N, bands, 9): statistics of all other images, cloudy and clear."""
    crops: Tensor
    """(N, bands, 9): statistics of crops of them, some under simulated patchy clouds."""


def read_samples(data: Data, processes: Processes, *, seed: int, show_progress: bool) -> Samples:
    """Read the training images.

    Simulated clouds should be patchy ones, because an even veil can look like an overlay.

    Args:
        data: the dataset. Its overlays are the pairs of a mixture's sources that say so, or all
            pairs if none does.
        processes: the processes; this one reads all.
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

    def read(pairs: list[TrainingPair], title: str) -> Iterator[Moments]:
        for pair in progress_bar(pairs, desc=title, unit="image", leave=False, show=show_progress):
            cloudy = read_unit(pair.cloudy, peak=pair.peak)[None]
            yield Moments.of(cloudy, read_unit(pair.clear, peak=pair.peak)[None])

    under = Moments.join(*read(pairs, "reading overlays"))
    nothing = under.cloudy[:0]
    if not others:
        return Samples(under, nothing, nothing)

    wholes = [part for one in read(_distinct(others), "reading others") for part in one[:2]]
    crops = CloudyCrops(replace(data, train=others), crop=_CROP, store="host", processes=processes)
    sampler = crops.sampler(0, _CROPS, seed=seed, processes=processes)
    batches = batch_loader(crops, sampler.at(range(sampler.steps_per_epoch)))
    title = "reading crops"
    found = [
        Moments.of(batch.cloudy, batch.clear).cloudy
        for batch in progress_bar(
            batches,
            desc=title,
            unit="batch",
            total=sampler.steps_per_epoch,
            leave=False,
            show=show_progress,
        )
    ]
    return Samples(under, torch.cat(wholes), torch.cat(found))


def fit_overlay(
    overlay: Overlay, samples: Samples, *, steps: int, seed: int = 0, show_progress: bool = True
) -> None:
    """Fit opacity and recognition of overlays, in place.

    Args:
        overlay: the networks, new ones.
        samples: see `read_samples`. If there are no other images, the clear images of the pairs
            are all that is told from overlays.
        steps: number of steps for each of the two.
        seed: seed of all that is drawn.
        show_progress: show progress bars.
    """
    random = torch.Generator().manual_seed(seed)
    pairs = samples.pairs

    def opacity_loss() -> Tensor:
        half = _BATCH // 2
        clear = pairs.sample(half, random)
        batch = Moments.join(pairs.sample(half, random), _under_overlays(clear, _RANGE, random))
        opacity = overlay.raw_opacity(_noisy(batch.cloudy, random))
        error = batch.squared_error(*_gain_and_offset(opacity, batch.product))
        return (error + _SMALLEST_ERROR).sqrt().mean()

    def recognition_loss() -> Tensor:
        half = int(_BATCH * _UNDER / 2)
        under = _under_overlays(pairs.sample(half, random), _RECOGNISABLE, random)
        positive = torch.cat((pairs.sample(half, random).cloudy, under.cloudy))
        negative = _negative(samples, _BATCH - len(positive), random)

        statistics = torch.cat((positive, negative))
        truth = torch.zeros(len(statistics))
        truth[: len(positive)] = 1
        found = overlay.recognition(_noisy(statistics, random))
        return F.binary_cross_entropy_with_logits(found, truth)

    for part, loss, title in (
        (overlay.opacity, opacity_loss, "fitting opacity"),
        (overlay.recognition, recognition_loss, "fitting recognition"),
    ):
        _fit(part, loss, steps, title, show_progress=show_progress)


def best_opacity(pairs: Moments) -> Tensor:
    """Return the opacity (N,) of the overlay that explains each pair best, to 0.005."""
    candidates = torch.arange(0, 0.95, 0.005)
    errors = [
        pairs.squared_error(*_gain_and_offset(one.expand(len(pairs.product)), pairs.product))
        for one in candidates
    ]
    return candidates[torch.stack(errors).argmin(0)]


def psnr_without(pairs: Moments, opacity: Tensor) -> float:
    """Return the mean PSNR in dB of pairs after overlays of (N,) opacity are taken away.

    Both images are `trimmed`.
    """
    error = pairs.squared_error(*_gain_and_offset(opacity, pairs.product))
    return float(-10 * error.clamp_min(1e-9).log10().mean())


def _fit(
    part: nn.Module, loss: Callable[[], Tensor], steps: int, title: str, *, show_progress: bool
) -> None:
    optimizer = torch.optim.AdamW(part.parameters(), lr=_RATE, weight_decay=_DECAY)
    bar = progress_bar(range(steps), desc=title, unit="step", leave=False, show=show_progress)
    for step in bar:
        optimizer.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()


def _distinct(pairs: Iterable[TrainingPair]) -> list[TrainingPair]:
    """Return one sample of each pair of files."""
    return list({(pair.cloudy, pair.clear): pair for pair in pairs}.values())


def _under_overlays(
    clear: Moments, limits: tuple[float, float], random: torch.Generator
) -> Moments:
    """Lay drawn overlays over clear images, of which some are none if the range begins at 0."""
    count, bands = clear.product.shape
    chance = torch.rand(2, count, 1, generator=random)
    opacity = limits[0] + (limits[1] - limits[0]) * chance[0]
    if limits[0] == 0:
        opacity = torch.where(chance[1] < _NONE, 0, opacity)
    return clear.hazed((1 - opacity).expand(-1, bands), opacity.square().expand(-1, bands))


def _negative(samples: Samples, count: int, random: torch.Generator) -> Tensor:
    """Draw images without overlay, a sixth of them the clear images of pairs under overlays."""
    if not len(samples.wholes):
        return samples.pairs.sample(count, random).clear
    clear, whole = count // 6, 2 * count // 5
    return torch.cat(
        (
            samples.pairs.sample(clear, random).clear,
            _drawn(samples.wholes, whole, random),
            _drawn(samples.crops, count - clear - whole, random),
        )
    )


def _drawn(statistics: Tensor, count: int, random: torch.Generator) -> Tensor:
    return statistics[torch.randint(len(statistics), (count,), generator=random)]


def _noisy(statistics: Tensor, random: torch.Generator) -> Tensor:
    return statistics + _NOISE * torch.randn(statistics.shape, generator=random)


def _gain_and_offset(opacity: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return gain and offset, (N, bands) as `like`, that take overlays of (N,) opacity away."""
    opacity = opacity[:, None].expand_as(like)
    gain = 1 / (1 - opacity)
    return gain, -gain * opacity.square()
