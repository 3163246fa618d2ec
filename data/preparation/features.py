"""Comparison of pairs: which images of one part of a dataset another part shows, too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import read_image, to_unit
from cloudkit.progress import progress_bar
from cloudkit.script.each_image import LeftOut, attempt
from preparation.correlation import single_core_threads
from preparation.duplicates import Match, digests, is_comparable, search, thumbnail
from preparation.findings import Finding, Kind, Role
from trainkit.data.pairs import Pair

ROLES: tuple[Role, ...] = ("clear", "cloudy")
_NEAR = 0.9  # overlap from which two images are near, not overlapping


@dataclass(frozen=True)
class Features:
    """Features of one pair that are compared."""

    digests: dict[Role, dict[str, bytes]]
    """Results of `duplicates.digests` for the images that can be read."""
    thumbnail: Tensor | None = None
    """Thumbnail of the clear image, if it can be read and is large enough."""
    size: tuple[int, int] = (0, 0)
    """Height and width of the clear image in pixels."""


def read_features(pairs: Sequence[Pair]) -> tuple[dict[Pair, Features], list[str]]:
    """Read every pair once.

    Returns:
        The features, and a reason for each image that cannot be read.
    """
    features, errors = {}, []
    distinct = list(dict.fromkeys(pairs))
    with single_core_threads() as threads:
        results = progress_bar(
            threads.map(_read_pair, distinct), total=len(distinct), desc="reading", unit="pair"
        )
        for pair, (found, reasons) in zip(distinct, results, strict=True):
            features[pair] = found
            errors += reasons
    return features, errors


def _read_pair(pair: Pair) -> tuple[Features, list[str]]:
    sums: dict[Role, dict[str, bytes]] = {}
    thumb, size, errors = None, (0, 0), []
    for role in ROLES:
        path = getattr(pair, role)
        found = attempt(lambda path=path: _read_image(path, pair.peak), path)  # type: ignore[misc]
        if isinstance(found, LeftOut):
            errors.append(found.reason)
            continue

        sums[role] = found.digests
        if role == "clear":
            thumb, size = found.thumbnail, found.size
    return Features(sums, thumb, size), errors


class _ImageFeatures(NamedTuple):
    digests: dict[str, bytes]
    thumbnail: Tensor | None
    size: tuple[int, int]


def _read_image(path: Path, peak: float | None) -> _ImageFeatures:
    pixels = read_image(path)
    try:
        image = to_unit(pixels, peak=peak)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    thumb = thumbnail(image) if is_comparable(image) else None
    return _ImageFeatures(digests(pixels), thumb, (image.shape[1], image.shape[2]))


def compare(
    test: Sequence[Pair],
    training: Sequence[Pair] | None,
    features: Mapping[Pair, Features],
    *,
    threshold: float,
    device: torch.device | str = "cpu",
    title: str = "",
) -> list[Finding]:
    """Find the images of the test part that are also in training.

    Args:
        test: pairs of the test part.
        training: pairs of the training part. None compares `test` with itself, each two once.
        features: features of all these pairs.
        threshold: correlation from which two clear images show the same place.
        device: device for the correlations.
        title: title of the progress bar.

    Returns:
        Equal pairs, then turned, near and overlapping ones, each with high correlations first.
    """
    equal = sorted(equal_pairs(test, training, features), key=lambda finding: finding.kind)
    known = set()
    for finding in equal:
        if ("clear", "clear") in finding.images:
            known.add((finding.test, finding.training))

    first = _thumbnails(test, features)
    second = None if training is None else _thumbnails(training, features)
    others = first if second is None else second
    matches = search(
        list(first.values()),
        None if second is None else list(second.values()),
        threshold=threshold,
        device=device,
        title=title,
    )

    first_pairs, other_pairs = list(first), list(others)
    places = []
    for match in matches:
        one, other = first_pairs[match.first], other_pairs[match.second]
        if (one, other) not in known:
            places.append(_finding(one, other, match, first[one].shape, features[one].size))
    places.sort(key=lambda finding: (finding.kind, -finding.correlation))
    return equal + places


def equal_pairs(
    test: Sequence[Pair], training: Sequence[Pair] | None, features: Mapping[Pair, Features]
) -> Iterator[Finding]:
    """Yield images of equal pixels, also flipped or rotated, in any combination of roles.

    `training` is as in `compare`.
    """
    others = test if training is None else training
    owners: dict[bytes, list[tuple[int, Role]]] = {}
    for number, pair in enumerate(others):
        for role, sums in features[pair].digests.items():
            owners.setdefault(min(sums.values()), []).append((number, role))

    for number, pair in enumerate(test):
        equal: dict[tuple[int, str], list[tuple[Role, Role]]] = {}
        for role, sums in features[pair].digests.items():
            for other, other_role in owners.get(min(sums.values()), []):
                if training is None and other <= number:
                    continue
                for transform, digest in features[others[other]].digests[other_role].items():
                    if digest == sums[""]:
                        equal.setdefault((other, transform), []).append((role, other_role))
                        break
        for (other, transform), roles in sorted(equal.items()):
            kind: Kind = "turned" if transform else "equal"
            yield Finding(kind, pair, others[other], tuple(roles), transform)


def _thumbnails(pairs: Sequence[Pair], features: Mapping[Pair, Features]) -> dict[Pair, Tensor]:
    thumbnails = {}
    for pair in pairs:
        image = features[pair].thumbnail
        if image is not None:
            thumbnails[pair] = image
    return thumbnails


def _finding(
    test: Pair, training: Pair, match: Match, shape: Sequence[int], size: tuple[int, int]
) -> Finding:
    """Convert a match of a thumbnail of this shape to pixels of the test image of this size."""
    return Finding(
        "near" if match.overlap >= _NEAR else "overlapping",
        test,
        training,
        (("clear", "clear"),),
        correlation=match.correlation,
        right=round(match.right * size[1] / shape[1]),
        down=round(match.down * size[0] / shape[0]),
        overlap=match.overlap,
    )
