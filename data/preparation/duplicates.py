"""Search for images of equal pixels, and for images that show the same place.

Images of equal pixels, also flipped or rotated, have equal SHA-256 digests. The same place is
found by masked normalised cross-correlation over all shifts of band-passed gray images at a small
scale, and confirmed at a finer one.

A shift is found if it leaves about a quarter of the smaller image, even with noise, recompression,
other brightness and contrast, or another size of the complete image. Not found are a place at
another zoom, a rotated place with unequal pixels, and featureless surfaces such as sea or sand.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cloudkit.progress import progress_bar
from preparation.correlation import (
    Comparison,
    band_pass,
    correlation,
    overlap_box,
    single_core_threads,
)

FINE = 256  # pixels of the longer side of a thumbnail
SMALLEST = 32  # pixels of the shorter side of an image; smaller ones all resemble each other
THRESHOLD = 0.75  # of 96,000 real pairs unrelated ones reach 0.63, overlapping ones at least 0.95
_MAX_ASPECT = 8  # a longer strip would have fewer than 8 pixels on its shorter side in the search
_COARSE = 4  # factor by which the search is coarser than a thumbnail
_MIN_EVIDENCE = 0.15  # coarse correlation times the square root of the overlap
_DOUBTFUL = 0.6  # fraction of the threshold that a candidate must reach at the middle scale
_RING = 12  # pixels; if the correlation stays high at this distance, two straight edges match
_RIDGE = 0.8  # fraction of the best correlation that is high
_BLOCK = 256  # images to prepare at once: 50 MB


@dataclass(frozen=True)
class Match:
    """Two thumbnails of the same place."""

    first: int
    """Index of the first thumbnail."""
    second: int
    """Index of the second thumbnail."""
    correlation: float
    """Correlation of the band-passed overlap at the fine scale, threshold to 1."""
    down: int
    """Shift in pixels of a thumbnail: first[y, x] shows the same as second[y - down, x - right]."""
    right: int
    """Shift to the right in pixels of a thumbnail."""
    overlap: float
    """Fraction of the smaller image that both show, 0 to 1."""


def digests(pixels: Tensor) -> dict[str, bytes]:
    """Return the SHA-256 of pixels, shape and type for each flip and rotation of an image.

    Images are equal if their digests "" are equal. They are equal but for flips and rotations if
    their smallest digests are equal.

    Args:
        pixels: (bands, H, W) of any type.

    Returns:
        {transform: digest}. An image is flipped from left to right first, then rotated
        counter-clockwise by degrees; "" is the image itself.
    """
    image = pixels.numpy()  # torch 2.11 does not flip uint16
    found = {}
    for flip, source in (("", image), ("flipped", np.flip(image, 2))):
        for quarters in range(4):
            rotation = f"rotated by {90 * quarters}" if quarters else ""
            transform = ", ".join(filter(None, (flip, rotation)))
            view = np.rot90(source, quarters, (1, 2))
            header = f"{view.dtype} {view.shape}".encode()
            found[transform] = hashlib.sha256(header + view.tobytes()).digest()
    return found


def is_comparable(image: Tensor) -> bool:
    """Return whether an image (bands, H, W) is large enough for a correlation to mean something."""
    short, long = sorted(image.shape[1:])
    return short >= SMALLEST and long <= _MAX_ASPECT * short


def thumbnail(image: Tensor) -> Tensor:
    """Return a gray image (h, w) in float16 whose longer side has `FINE` pixels.

    Both sides are multiples of `_COARSE`.

    Args:
        image: (bands, H, W) in [0, 1].
    """
    longest = max(image.shape[1:])
    size = [_COARSE * max(1, round(side / longest * FINE / _COARSE)) for side in image.shape[1:]]
    gray = image.float().mean(dim=0)[None, None]
    small = F.interpolate(gray, size=size, mode="bilinear", antialias=True, align_corners=False)
    return small[0, 0].half()


def search(
    first: Sequence[Tensor],
    second: Sequence[Tensor] | None = None,
    *,
    threshold: float = THRESHOLD,
    device: torch.device | str = "cpu",
    title: str = "",
) -> list[Match]:
    """Find the pairs of thumbnails that show the same place.

    Args:
        first: results of `thumbnail`, of any sizes.
        second: thumbnails to compare each of them with. Default: `first`, each pair once.
        threshold: correlation from which a pair counts as a match.
        device: device for the correlations.
        title: title of the progress bar.

    Returns:
        Matches in the order of `first`, then of `second`.
    """
    others = first if second is None else second
    middle = lru_cache(maxsize=4 * _BLOCK)(_middle)  # tensors are compared by identity
    matches = []
    for one, other, down, right in _candidates(
        first, others, second is None, torch.device(device), title
    ):
        middles = middle(first[one]), middle(others[other])
        confirmed = _confirm(first[one], others[other], middles, (down, right), threshold)
        if confirmed:
            matches.append(Match(one, other, *confirmed))
    return sorted(matches, key=lambda match: (match.first, match.second))


def _candidates(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    same: bool,
    device: torch.device,
    title: str,
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (index, index, down, right) of pairs to confirm; shifts in pixels of a thumbnail."""
    total = len(first) * len(second)
    if same:
        total = len(first) * (len(first) - 1) // 2
    progress: tqdm[int] = progress_bar(
        total=total, desc=f"comparing {title}".strip(), unit="pair", unit_scale=True
    )
    with single_core_threads() as threads, progress:
        for rows, columns in product(_blocks(first), _blocks(second)):
            if same and max(columns) <= min(rows):
                continue
            compare = Comparison(_coarse(first, rows, device), _coarse(second, columns, device))
            starts = range(0, len(rows), compare.rows)
            for start, result in zip(starts, threads.map(compare, starts), strict=True):
                evidence, down, right = result
                chosen = rows[start : start + compare.rows]
                for i, j in (evidence > _MIN_EVIDENCE).nonzero().tolist():
                    if not same or chosen[i] < columns[j]:
                        shift = _COARSE * int(down[i, j]), _COARSE * int(right[i, j])
                        yield chosen[i], columns[j], *shift
                count = len(chosen) * len(columns)
                if same:
                    count = sum(i < j for i, j in product(chosen, columns))
                progress.update(count)


def _blocks(images: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of images, grouped by shape and small enough for the memory."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(index)

    blocks = []
    for _, group in sorted(groups.items()):
        for start in range(0, len(group), _BLOCK):
            blocks.append(group[start : start + _BLOCK])
    return blocks


def _coarse(images: Sequence[Tensor], block: Sequence[int], device: torch.device) -> Tensor:
    stack = torch.stack([images[index] for index in block]).to(device)
    return band_pass(F.avg_pool2d(stack.float(), _COARSE), 0, 2, 4)


def _middle(image: Tensor) -> Tensor:
    return band_pass(F.avg_pool2d(image.float()[None], 2), 0.7, 4, 8)[0]


def _fine(image: Tensor) -> Tensor:
    return band_pass(image.float()[None], 2, 8, 16)[0]


def _confirm(
    one: Tensor,
    other: Tensor,
    middles: tuple[Tensor, Tensor],
    shift: tuple[int, int],
    threshold: float,
) -> tuple[float, int, int, float] | None:
    """Return correlation, shift and overlap at the finest scale, or None below the threshold."""
    value, down, right = _best(*middles, shift[0] // 2, shift[1] // 2, reach=1)
    if value < _DOUBTFUL * threshold:
        return None
    fine, other_fine = _fine(one), _fine(other)
    value, down, right = _best(fine, other_fine, 2 * down, 2 * right, reach=3)
    if value < threshold:
        return None

    for step in range(16):
        angle = math.pi * step / 8
        there = down + round(_RING * math.sin(angle)), right + round(_RING * math.cos(angle))
        if correlation(fine, other_fine, *there) > _RIDGE * value:
            return None

    rows, columns = overlap_box(one.shape, other.shape, down, right)
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return min(1.0, value), down, right, area / min(one.numel(), other.numel())


def _best(one: Tensor, other: Tensor, down: int, right: int, reach: int) -> tuple[float, int, int]:
    """Return the best correlation up to `reach` pixels from a shift, and its shift."""
    rows = range(down - reach, down + reach + 1)
    columns = range(right - reach, right + reach + 1)
    return max((correlation(one, other, *shift), *shift) for shift in product(rows, columns))
