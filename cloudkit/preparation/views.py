"""Pairs as an audit sees them, and what of them is alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from cloudkit.images import ImageError, read_image, to_unit
from cloudkit.pairs import Pair
from cloudkit.preparation.correlation import overlap_box, own_threads
from cloudkit.preparation.duplicates import TURNS, Match, digests, has_room, search, thumbnail
from cloudkit.preparation.leaks import Box, Finding, Role

ROLES: tuple[Role, ...] = ("clear", "cloudy")
_NEAR = 0.9  # overlap from which two images are called near, not overlapping


@dataclass(frozen=True)
class View:
    """What is compared of one pair."""

    digests: dict[Role, tuple[bytes, ...]]
    """As `duplicates.digests` gives them, of the images that can be read."""
    thumb: Tensor | None = None
    """Of the clear image, if it can be read and has room enough."""
    size: tuple[int, int] = (0, 0)
    """Height and width of the clear image."""


Views = Mapping[Pair, View]


def look(pairs: Sequence[Pair]) -> tuple[dict[Pair, View], list[str]]:
    """Read every pair once.

    Returns:
        The views, and why an image is left out, for each that cannot be read.
    """
    views, unread = {}, []
    every = list(dict.fromkeys(pairs))
    with own_threads() as threads:
        for pair, (view, reasons) in zip(tqdm(every, desc="reading", unit="pair"), threads.map(_view, every), strict=True):
            views[pair] = view
            unread += reasons
    return views, unread


def _view(pair: Pair) -> tuple[View, list[str]]:
    sums: dict[Role, tuple[bytes, ...]] = {}
    thumb, size, unread = None, (0, 0), []
    for role in ROLES:
        path = getattr(pair, role)
        try:
            pixels = read_image(path)
            image = to_unit(pixels)
        except (ImageError, OSError) as error:
            unread.append(str(error))
            continue
        except ValueError as error:
            unread.append(f"{path}: {error}")
            continue
        sums[role] = digests(pixels)
        if role == "clear":
            size = (image.shape[1], image.shape[2])
            thumb = thumbnail(image) if has_room(image) else None
    return View(sums, thumb, size), unread


def compare(
    test: Sequence[Pair],
    training: Sequence[Pair] | None,
    views: Views,
    *,
    threshold: float,
    device: torch.device | str = "cpu",
    title: str = "",
) -> list[Finding]:
    """What of the test part training has seen too.

    Args:
        test: pairs of the test part.
        training: pairs of the training part; None compares `test` with itself, each two once.
        views: of all these pairs.
        threshold: correlation from which two clear images show the same place.
        device: where the correlations are computed.
        title: what is compared, for the progress bar.

    Returns:
        Equal pairs, then turned, near and overlapping ones, the highest correlation of each first.
    """
    equal = list(equal_pairs(test, training, views))
    known = {(finding.test, finding.training) for finding in equal if ("clear", "clear") in finding.images}
    placed = [
        [pair for pair in pairs if views[pair].thumb is not None] for pairs in (test, test if training is None else training)
    ]
    thumbs = [[thumb for pair in pairs if (thumb := views[pair].thumb) is not None] for pairs in placed]
    count = len(thumbs[0]) * (len(thumbs[0]) - 1) // 2 if training is None else len(thumbs[0]) * len(thumbs[1])
    with tqdm(total=count, desc=f"comparing {title}".strip(), unit="pair", unit_scale=True) as bar:
        matches = search(
            thumbs[0], None if training is None else thumbs[1], threshold=threshold, device=device, progress=bar.update
        )
    places = [_place(placed[0][match.first], placed[1][match.second], match, views) for match in matches]
    places = [finding for finding in places if (finding.test, finding.training) not in known]
    return [
        *sorted(equal, key=lambda finding: finding.kind),  # stable, and "equal" comes before "turned"
        *sorted(places, key=lambda finding: (finding.kind, -finding.correlation)),
    ]


def equal_pairs(test: Sequence[Pair], training: Sequence[Pair] | None, views: Views) -> Iterator[Finding]:
    """Images of equal pixels, also turned or mirrored: clear and clear, cloudy and cloudy, clear and cloudy."""
    others = test if training is None else training
    holders: dict[bytes, list[tuple[int, Role]]] = {}
    for number, pair in enumerate(others):
        for role, sums in views[pair].digests.items():
            holders.setdefault(min(sums), []).append((number, role))
    for number, pair in enumerate(test):
        alike: dict[tuple[int, int], list[tuple[Role, Role]]] = {}  # {(number, turn): roles}
        for role, sums in views[pair].digests.items():
            for other, its_role in holders.get(min(sums), []):
                if training is not None or number < other:
                    turn = views[others[other]].digests[its_role].index(sums[0])
                    alike.setdefault((other, turn), []).append((role, its_role))
        for (other, turn), roles in sorted(alike.items()):
            yield Finding("turned" if turn else "equal", pair, others[other], tuple(roles), TURNS[turn])


def _place(test: Pair, training: Pair, match: Match, views: Views) -> Finding:
    """A match of thumbnails in the words and pixels of the test image."""
    shapes = [thumb.shape for pair in (test, training) if (thumb := views[pair].thumb) is not None]
    frames = (
        _shares(overlap_box(shapes[0], shapes[1], match.down, match.right), shapes[0]),
        _shares(overlap_box(shapes[1], shapes[0], -match.down, -match.right), shapes[1]),
    )
    near = match.overlap >= _NEAR
    height, width = views[test].size
    return Finding(
        "near" if near else "overlapping",
        test,
        training,
        (("clear", "clear"),),
        correlation=match.correlation,
        right=round(match.right * width / shapes[0][1]),
        down=round(match.down * height / shapes[0][0]),
        overlap=match.overlap,
        frames=None if near else frames,
    )


def _shares(box: tuple[slice, slice], shape: Sequence[int]) -> Box:
    rows, columns = box
    return rows.start / shape[0], rows.stop / shape[0], columns.start / shape[1], columns.stop / shape[1]
