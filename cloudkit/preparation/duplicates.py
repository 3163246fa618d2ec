"""Images that show the same pixels or the same place, found from tensors alone.

Equal images are found by the SHA-256 of their pixels, also where one is turned or mirrored. The same place is found by masked
normalised cross-correlation over all shifts (Padfield, "Masked object registration in the Fourier domain", IEEE TIP 2012) of
band-passed gray images at a small scale, and then confirmed at a finer one.

Found are shifts by any amount that leave about a quarter of the smaller image, through noise, recompression, other brightness and
contrast, and resizing of the whole image. Not found is a place at another zoom, or turned, unless the pixels are equal; nor one
where next to nothing is to be seen, as open sea or even sand, where noise outweighs what the images share.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.preparation.correlation import Comparison, band_pass, correlation, overlap_box, own_threads

TURNS = (
    "",
    "turned by 90",
    "turned by 180",
    "turned by 270",
    "mirrored",
    "mirrored, turned by 90",
    "mirrored, turned by 180",
    "mirrored, turned by 270",
)
"""The symmetries of a square: mirrored from left to right first, then turned counter-clockwise by so many degrees."""
FINE = 256  # pixels of the longest side of a thumbnail; candidates are searched for at a quarter of it
SMALLEST = 32  # pixels of an image's shorter side; below, everything resembles everything
_LONGEST = 8  # sides of a strip: the shorter one has 32 pixels in a thumbnail, 8 in the search
THRESHOLD = 0.75  # among 96,000 pairs of four real sets unrelated images reach 0.63 at most, overlapping ones 0.95 at least
_COARSE = 4  # how much smaller the search is than a thumbnail
_MIN_EVIDENCE = 0.15  # coarse correlation times the square root of the overlap
_DOUBTFUL = 0.6  # of the threshold: what a candidate must reach at the middle scale
_RING, _RIDGE = 12, 0.8  # where the correlation stays this high so many pixels away, a straight edge matches another
_BLOCK = 256  # images that are prepared at once: 50 MB


@dataclass(frozen=True)
class Match:
    """Two thumbnails that show the same place."""

    first: int
    """Number of the one."""
    second: int
    """Number of the other."""
    correlation: float
    """Of the band-passed overlap at the fine scale, threshold to 1."""
    down: int
    """Pixels of the thumbnail: first[y, x] shows the place that second[y - down, x - right] shows."""
    right: int
    """The same to the right."""
    overlap: float
    """Share of the smaller image that both show, 0 to 1."""


def digests(pixels: Tensor) -> tuple[bytes, ...]:
    """SHA-256 of an image's pixels, shape and type, as it is and under each of the other `TURNS`.

    Two images are equal if their first digests are, and equal but for turns and flips if their smallest are.

    Args:
        pixels: (bands, H, W) of any type.
    """
    image = pixels.numpy()  # which turns any type; torch 2.11 does not flip uint16
    turned = [np.rot90(side, quarters, (1, 2)) for side in (image, np.flip(image, 2)) for quarters in range(4)]
    return tuple(hashlib.sha256(f"{side.dtype} {side.shape}".encode() + side.tobytes()).digest() for side in turned)


def thumbnail(image: Tensor) -> Tensor:
    """A gray image (h, w) in float16 whose longest side has 256 pixels; both sides are multiples of 4.

    Args:
        image: (bands, H, W) in [0, 1].
    """
    longest = max(image.shape[1:])
    size = [_COARSE * max(1, round(side / longest * FINE / _COARSE)) for side in image.shape[1:]]
    small = F.interpolate(image.float().mean(dim=0)[None, None], size=size, mode="bilinear", antialias=True, align_corners=False)
    return small[0, 0].half()


def search(
    first: Sequence[Tensor],
    second: Sequence[Tensor] | None = None,
    *,
    threshold: float = THRESHOLD,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda pairs: None,
) -> list[Match]:
    """Pairs of thumbnails that show the same place.

    Args:
        first: thumbnails, as `thumbnail` makes them, of any sizes.
        second: what each of them is compared with; default: `first` again, each pair once, no image with itself.
        threshold: the correlation from which a pair is believed.
        device: where the correlations are computed.
        progress: called with the number of pairs that have been compared since the last call.

    Returns:
        Matches in the order of `first`, then of `second`.
    """
    others = first if second is None else second
    middle = lru_cache(maxsize=4 * _BLOCK)(_middle)  # tensors are told apart by identity
    found = []
    for one, other, down, right in _candidates(first, others, second is None, torch.device(device), progress):
        if match := _confirm(first[one], others[other], down, right, threshold, middle):
            found.append(Match(one, other, *match))
    return sorted(found, key=lambda match: (match.first, match.second))


def has_room(image: Tensor) -> bool:
    """Whether an image (bands, H, W) is large enough that a resemblance to others means something."""
    short, long = sorted(image.shape[1:])
    return short >= SMALLEST and long <= _LONGEST * short


def _candidates(
    first: Sequence[Tensor], second: Sequence[Tensor], same: bool, device: torch.device, progress: Callable[[int], object]
) -> Iterator[tuple[int, int, int, int]]:
    """(number, number, down, right) of pairs that deserve a closer look; shifts in pixels of the thumbnail."""
    with own_threads() as threads:
        for rows, columns in product(_blocks(first), _blocks(second)):
            if same and max(columns) <= min(rows):
                continue
            views = [torch.stack([images[i] for i in block]).to(device) for images, block in ((first, rows), (second, columns))]
            compare = Comparison(*(band_pass(F.avg_pool2d(view.float(), _COARSE), 0, 2, 4) for view in views))
            starts = range(0, len(rows), compare.rows)
            for start, (evidence, down, right) in zip(starts, threads.map(compare, starts), strict=True):
                chosen = rows[start : start + compare.rows]
                for i, j in (evidence > _MIN_EVIDENCE).nonzero().tolist():
                    if not same or chosen[i] < columns[j]:
                        yield chosen[i], columns[j], _COARSE * int(down[i, j]), _COARSE * int(right[i, j])
                progress(sum(i < j for i, j in product(chosen, columns)) if same else len(chosen) * len(columns))


def _blocks(images: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of images of one shape, in blocks that memory can hold."""

    def shape(i: int) -> tuple[int, ...]:
        return tuple(images[i].shape)

    groups = [list(group) for _, group in groupby(sorted(range(len(images)), key=shape), key=shape)]
    return [group[start : start + _BLOCK] for group in groups for start in range(0, len(group), _BLOCK)]


def _confirm(
    one: Tensor, other: Tensor, down: int, right: int, threshold: float, middle: Callable[[Tensor], Tensor]
) -> tuple[float, int, int, float] | None:
    """Correlation, shift and overlap at the finest scale, or None where it does not reach the threshold."""
    value, down, right = _best(middle(one), middle(other), down // 2, right // 2, reach=1)
    if value < _DOUBTFUL * threshold:
        return None
    fine, other_fine = (band_pass(image.float()[None], 2, 8, 16)[0] for image in (one, other))
    value, down, right = _best(fine, other_fine, 2 * down, 2 * right, reach=3)
    if value < threshold:
        return None
    for angle in (math.pi * step / 8 for step in range(16)):
        elsewhere = down + round(_RING * math.sin(angle)), right + round(_RING * math.cos(angle))
        if correlation(fine, other_fine, *elsewhere) > _RIDGE * value:
            return None
    rows, columns = overlap_box(one.shape, other.shape, down, right)
    overlap = (rows.stop - rows.start) * (columns.stop - columns.start) / min(one.numel(), other.numel())
    return min(1.0, value), down, right, overlap


def _middle(image: Tensor) -> Tensor:
    return band_pass(F.avg_pool2d(image.float()[None], 2), 0.7, 4, 8)[0]


def _best(one: Tensor, other: Tensor, down: int, right: int, reach: int) -> tuple[float, int, int]:
    """The best correlation within so many pixels of a shift, and where."""
    rows, columns = (range(shift - reach, shift + reach + 1) for shift in (down, right))
    return max((correlation(one, other, *shift), *shift) for shift in product(rows, columns))
