"""Fitting a veil to what the images of a data set look like, and to veils drawn over them."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from tqdm import tqdm

from thiefcloud.veil.seen import Seen, filled, has_data, random_veils, see, see_cells
from thiefcloud.veil.veil import Veil

_RATE = 2e-3  # of Adam; it falls to 0 as a cosine
_IMAGES = 192  # statistics of images in a step of the even veil
_CELLS = 4096  # in a step of the uneven veil
_MOST_IMAGES = 64  # in such a step, however small they are
_NOISE = 0.01  # on the statistics of images, so that they are not known by heart
_CLEARED = 0.1  # share of the pairs of which the clear image is both halves
_VEILED = 0.5  # share of the pairs under one more veil
_THICKEST = 0.5  # opacity of such a one at most
_SMALLEST_ERROR = 1e-5  # in the mean square; below it nothing is to be gained


class Look(NamedTuple):
    """What is known of pairs of one size."""

    whole: Seen
    cells: Seen

    def of(self, numbers: Tensor) -> Self:
        """Some of the pairs."""
        return type(self)(*(part.of(numbers) for part in self))


def fit_veil(
    veil: Veil, pairs: Iterable[tuple[Tensor, Tensor]], *, steps: int, seed: int = 0, show_progress: bool = True
) -> float:
    """Fit first the even veil, then the uneven one.

    Args:
        veil: what is fitted, in place; afterwards its weights take no gradients.
        pairs: cloudy and clear images (N, bands, H, W); each is looked at once. Many of equal size are fitted fastest.
        steps: of Adam, for each of both.
        seed: of the veils that are drawn, of the order, and of the noise.
        show_progress: whether to show progress bars.

    Returns:
        Root mean square error over the cells of those pairs.
    """
    by_size: dict[torch.Size, list[Look]] = defaultdict(list)
    for pair in tqdm(pairs, desc="looking at haze", unit="image", leave=False, disable=not show_progress):
        there = has_data(pair[0]) | has_data(pair[1])  # a black shadow that cloud brightens is ground
        cloudy, clear = (filled(image, there) for image in pair)
        by_size[clear.shape[1:]].append(Look(see(cloudy, clear), see_cells(cloudy, clear)))
    looks = [Look(*(joined(parts) for parts in zip(*same, strict=True))) for same in by_size.values()]
    random = torch.Generator().manual_seed(seed)

    whole = joined([look.whole for look in looks])
    descend(veil.even, lambda: even_error(veil, whole, random), steps, "fitting the even veil", show_progress)
    sizes = torch.tensor([len(look.whole.cloudy) for look in looks], dtype=torch.float64)
    descend(
        veil.uneven,
        lambda: uneven_error(veil, looks[int(torch.multinomial(sizes, 1, generator=random))], random),
        steps,
        "fitting the uneven veil",
        show_progress,
    )
    return root_mean_square_error(veil, looks)


def descend(network: nn.Module, error_of_batch: Callable[[], Tensor], steps: int, title: str, show_progress: bool) -> None:
    """Fit by Adam what makes the error of random batches small."""
    network.requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    with torch.enable_grad():
        for step in tqdm(range(steps), desc=title, unit="step", leave=False, disable=not show_progress):
            optimizer.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
            loss = (error_of_batch() + _SMALLEST_ERROR).sqrt().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    network.requires_grad_(False)


def even_error(veil: Veil, seen: Seen, random: torch.Generator) -> Tensor:
    """Squared errors (N) of a batch: half of the pairs as they are, half of the clear ones under random veils."""
    pairs, clear = (seen.of(some(seen, count, random)) for count in (_IMAGES - _IMAGES // 2, _IMAGES // 2))
    bands = seen.product.shape[1]
    batch = joined([pairs, clear.cleared().veiled(*random_veils(_IMAGES // 2, bands, random))])
    noise = _NOISE * torch.randn(batch.cloudy.shape, generator=random)
    return batch.squared_error(*veil.even(batch.cloudy + noise.to(batch.cloudy)))


def uneven_error(veil: Veil, looks: Look, random: torch.Generator) -> Tensor:
    """Squared errors (N, h, w) of the cells of a batch, turned at random; some are clear, some under one more veil."""
    height, width = looks.cells.product.shape[-2:]
    count = min(max(_CELLS // (height * width), 1), _MOST_IMAGES)
    batch = looks.of(some(looks.whole, count, random))
    cleared, veiled = (torch.rand(count, generator=random) < share for share in (_CLEARED, _VEILED))
    transmission, added = random_veils(count, looks.whole.product.shape[1], random, thickest=_THICKEST)
    transmission, added = torch.where(veiled[:, None], transmission, 1.0), torch.where(veiled[:, None], added, 0.0)
    batch = Look(*(seen.cleared().where(cleared, seen).veiled(transmission, added) for seen in batch))
    turns, mirrored = int(torch.randint(4, (), generator=random)), bool(torch.randint(2, (), generator=random))
    turned = Seen(*(turn(part, turns, mirrored=mirrored) for part in batch.cells))
    return turned.squared_error(*veil.gain_and_offset(turned.cloudy, batch.whole.cloudy))


def root_mean_square_error(veil: Veil, looks: Sequence[Look]) -> float:
    """Of the cells of all pairs, as if gain and offset were even in each."""
    total, count = 0.0, 0
    for look in looks:
        for numbers in torch.arange(len(look.whole.cloudy), device=look.whole.cloudy.device).split(_MOST_IMAGES):
            some_looks = look.of(numbers)
            maps = veil.gain_and_offset(some_looks.cells.cloudy, some_looks.whole.cloudy)
            errors = some_looks.cells.squared_error(*maps)
            total, count = total + float(errors.sum()), count + errors.numel()
    return math.sqrt(total / count)


def turn(maps: Tensor, turns: int, *, mirrored: bool) -> Tensor:
    """Maps (..., h, w) turned by so many right angles, and mirrored."""
    turned = torch.rot90(maps, turns, (-2, -1))
    return turned.flip(-1) if mirrored else turned


def some(seen: Seen, count: int, random: torch.Generator) -> Tensor:
    """Random numbers (count) of pairs."""
    return torch.randint(len(seen.cloudy), (count,), generator=random).to(seen.cloudy.device)


def joined(parts: Sequence[Seen]) -> Seen:
    """All pairs of several."""
    return Seen(*(torch.cat(part) for part in zip(*parts, strict=True)))
