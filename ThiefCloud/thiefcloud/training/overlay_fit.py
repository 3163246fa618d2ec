"""Fit of the removal of overlays, from statistics of images alone: a minute on one core.

The opacity is fitted to pairs: half of each batch as they are, half their clear images under drawn
overlays. The recognition tells cloudy images of pairs, and clear ones under drawn overlays, from
all other images.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudkit.progress import progress_bar
from thiefcloud.network.overlay import Overlay, statistics_under_overlay
from thiefcloud.training.overlay_samples import Pairs, Samples

_RATE = 4e-3  # of AdamW; it falls to 0 as a cosine
_DECAY = 0.05
_BATCH = 256
_NOISE_OPACITY = 0.01  # on the statistics, against overfitting
_NOISE_RECOGNITION = 0.02  # the same; with less, fewer pairs that were left out are recognised
_NONE = 0.05  # fraction of the drawn overlays that are none, for the opacity
_RANGE = (0.0, 0.85)  # of drawn opacities
_RECOGNISABLE = (0.2, 0.85)  # the same, for the recognition
_SMALLEST_ERROR = 1e-5  # in the mean square; smaller errors count as this one
_UNDER = 0.35  # fraction of a batch under overlays, for the recognition
_TRUSTS = (1.0, 0.5, 0.0)  # in the inversion behind an overlay
_CAUTION = 1.0  # logit of recognition among other images; a mistake costs more than a miss


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
        foreign = 0 if samples.others is None else half // 3
        clear = [pairs.drawn(half - foreign, random)]
        if samples.others is not None:
            clear.append(samples.others.drawn(foreign, random))
        covered = _under_overlays(Pairs.join(clear), _RANGE, random)
        batch = Pairs.join((pairs.drawn(half, random), covered))

        opacity = overlay.raw_opacity(_noisy(batch.cloudy, _NOISE_OPACITY, random))
        error = _squared_error(batch, opacity)
        return (error + _SMALLEST_ERROR).sqrt().mean()

    def recognition_loss() -> Tensor:
        half = int(_BATCH * _UNDER / 2)
        under = _under_overlays(pairs.drawn(half, random), _RECOGNISABLE, random)
        positive = torch.cat((pairs.drawn(half, random).cloudy, under.cloudy))
        negative = _negative(samples, _BATCH - len(positive), random)

        statistics = torch.cat((positive, negative))
        truth = torch.zeros(len(statistics))
        truth[: len(positive)] = 1
        found = overlay.recognition(_noisy(statistics, _NOISE_RECOGNITION, random))
        return F.binary_cross_entropy_with_logits(found, truth)

    for part, loss, title in (
        (overlay.opacity, opacity_loss, "fitting opacity"),
        (overlay.recognition, recognition_loss, "fitting recognition"),
    ):
        _fit(part, loss, steps, title, show_progress=show_progress)
    if samples.others is not None:
        with torch.no_grad():
            overlay.recognition.last.bias.sub_(_CAUTION)


def fit_trust(overlay: Overlay, score: Callable[[], float]) -> dict[float, float]:
    """Choose how far the inversion is followed where an overlay is recognised, in place.

    Args:
        overlay: the networks, fitted.
        score: computes how good the restored validation images are; more is better.

    Returns:
        The score for each trust. The best is chosen, of equal ones the largest trust.
    """
    scores = {}
    for trust in _TRUSTS:
        overlay.trust.fill_(trust)
        scores[trust] = score()
    overlay.trust.fill_(max(scores, key=scores.__getitem__))
    return scores


def cross_validate(samples: Samples, folds: int, *, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tell overlays of pairs that took no part in the fit.

    Args:
        samples: as in `fit_overlay`.
        folds: number of blocks of pairs, neighbours in the order of their names. Each is left out
            of one fit. Neighbours may show the same ground, so a random choice would flatter.
        steps: as in `fit_overlay`.
        seed: the same.

    Returns:
        The opacity (N,) as if each image had an overlay, and (N,) bool: is it recognised.
    """
    count, rows, _ = samples.pairs.cloudy.shape
    opacity, recognised = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    blocks = torch.arange(count).tensor_split(folds)
    for number, block in enumerate(blocks):
        rest = torch.cat(blocks[:number] + blocks[number + 1 :])
        torch.manual_seed(seed)
        overlay = Overlay((rows + 1) // 2)
        fit_overlay(overlay, samples._replace(pairs=samples.pairs.at(rest)), steps=steps, seed=seed)
        with torch.no_grad():
            cloudy = samples.pairs.cloudy[block]
            opacity[block] = overlay.raw_opacity(cloudy)
            recognised[block] = overlay(cloudy) > 0
    return opacity, recognised


def best_opacity(pairs: Pairs) -> Tensor:
    """Return the opacity (N,) of the overlay that explains each pair best, to 0.005."""
    candidates = torch.arange(0, 0.95, 0.005)
    errors = [_squared_error(pairs, one.expand(len(pairs.clear))) for one in candidates]
    return candidates[torch.stack(errors).argmin(0)]


def psnr_without(pairs: Pairs, opacity: Tensor) -> float:
    """Return the mean PSNR in dB of pairs after overlays of (N,) opacity are taken away.

    Both images are `trimmed`.
    """
    error = _squared_error(pairs, opacity)
    return float(-10 * error.clamp_min(1e-9).log10().mean())


def _squared_error(pairs: Pairs, opacity: Tensor) -> Tensor:
    """Return the mean squared error (N) after overlays of (N,) opacity are taken away."""
    opacity = opacity[:, None].expand_as(pairs.moments.product)
    gain = 1 / (1 - opacity)
    return pairs.moments.squared_error(gain, -gain * opacity.square())


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


def _under_overlays(clear: Pairs, limits: tuple[float, float], random: torch.Generator) -> Pairs:
    """Lay drawn overlays over clear images, of which some are none if the range begins at 0."""
    chance = torch.rand(2, len(clear.clear), generator=random)
    opacity = limits[0] + (limits[1] - limits[0]) * chance[0]
    if limits[0] == 0:
        opacity = torch.where(chance[1] < _NONE, 0, opacity)

    of_bands = opacity[:, None].expand_as(clear.moments.product)
    moments = clear.moments.hazed(1 - of_bands, of_bands.square())
    return Pairs(statistics_under_overlay(clear.clear, opacity), clear.clear, moments)


def _negative(samples: Samples, count: int, random: torch.Generator) -> Tensor:
    """Draw images without overlay, a sixth of them the clear images of pairs under overlays."""
    if samples.others is None:
        return samples.pairs.drawn(count, random).clear

    clear, whole = count // 6, 2 * count // 5
    others = samples.others.drawn(whole, random)
    crops = torch.randint(len(samples.crops), (count - clear - whole,), generator=random)
    return torch.cat(
        (
            samples.pairs.drawn(clear, random).clear,
            others.cloudy[: whole // 2],
            others.clear[whole // 2 :],
            samples.crops[crops],
        )
    )


def _noisy(statistics: Tensor, deviation: float, random: torch.Generator) -> Tensor:
    return statistics + deviation * torch.randn(statistics.shape, generator=random)
