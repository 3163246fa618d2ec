"""Scores of a set of restored images: collected image by image, summed up, written to metrics.json and metrics.csv."""

import csv
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.files import write_atomically, write_json
from cloudkit.scenes import Scene
from cloudkit.scoring.measures import MeasureName, measurer
from cloudkit.scoring.protocols import PROTOCOLS, Protocol, score
from cloudkit.scoring.statistics import interval, paired, thirds

Scores = Mapping[str, float]
PLAIN: Protocol = "plain"
SIDES = ("input", "restored")
GROUPS = ("cloudiest third", "middle third", "clearest third")


class ImageScores(NamedTuple):
    """What one image scored, by protocol; the optional measures stand with plain."""

    name: str
    input: Mapping[str, Scores]
    """The cloudy image against the clear one."""
    restored: Mapping[str, Scores]
    """The restored image against the clear one."""


class _Record(NamedTuple):
    """All that scoring one image left."""

    scores: ImageScores
    digest: str
    refused: dict[str, str]
    """Why protocols could not score it."""


class Collector:
    """Scores images one after the other.

    Args:
        protocols: which, beside plain; None: all. Of all, those are left out that cannot score an image (it is too small).
        measures: optional measures, computed on clamped images.

    Raises:
        UserError: a measure cannot be had; the message says what to do.
    """

    def __init__(self, protocols: Iterable[Protocol] | None = (), measures: Sequence[MeasureName] = ()) -> None:
        self._lenient = protocols is None
        self.protocols: list[Protocol] = [PLAIN, *(p for p in (PROTOCOLS if protocols is None else protocols) if p != PLAIN)]
        self._measure = measurer(measures)
        self._records: list[_Record] = []

    @property
    def smallest(self) -> int:
        """Side in pixels of the smallest image that can be scored."""
        return max(PROTOCOLS[protocol].smallest for protocol in ([PLAIN] if self._lenient else self.protocols))

    def add(self, scene: Scene, restored: Tensor) -> ImageScores:
        """Score one image, (3, H, W) as the network returned it or in [0, 1]. Raises UserError where it cannot be scored."""
        refused: dict[str, str] = {}
        row = ImageScores(scene.name, *(self._score(scene, image, refused) for image in (scene.cloudy, restored)))
        content = b"".join(image.contiguous().numpy().tobytes() for image in (scene.cloudy, scene.truth))
        self._records.append(_Record(row, hashlib.sha256(content).hexdigest(), refused))
        return row

    def gather(self, world: World) -> None:
        """Take in what the collectors of all processes scored, each its `World.share` of the images; call in every process."""
        self._records = world.gather(self._records)
        left_out = self.left_out
        self.protocols = [protocol for protocol in self.protocols if protocol not in left_out]

    @property
    def rows(self) -> list[ImageScores]:
        """The scores of each image."""
        return [record.scores for record in self._records]

    @property
    def left_out(self) -> dict[str, str]:
        """Why protocols are left out, by the first image that they cannot score."""
        first: dict[str, str] = {}
        for record in self._records:
            for protocol, reason in record.refused.items():
                first.setdefault(protocol, reason)
        return first

    @property
    def images(self) -> str:
        """SHA-256 of the names and pixels of all cloudy and clear images, so that two results can be told comparable."""
        seen = sorted({record.scores.name: record.digest for record in self._records}.items())
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def _score(self, scene: Scene, image: Tensor, refused: dict[str, str]) -> dict[str, Scores]:
        scores: dict[str, Scores] = {}
        for protocol in list(self.protocols):
            try:
                scores[protocol] = score(protocol, image, scene.truth)
            except ValueError as error:
                if protocol == PLAIN or not self._lenient:
                    raise UserError(f"{scene.name} cannot be scored: {error}") from error
                refused[protocol] = f"{scene.name}: {error}"
                self.protocols.remove(protocol)
        try:
            scores[PLAIN] = {**scores[PLAIN], **self._measure(image, scene.truth)}
        except ValueError as error:
            raise UserError(f"{scene.name} cannot be scored: {error}") from error
        return scores


def summarise(
    rows: Sequence[ImageScores],
    protocols: Iterable[Protocol] = (PLAIN,),
    *,
    about: Mapping[str, Any] | None = None,
    duplicates: Collection[str] = (),
) -> list[dict[str, Any]]:
    """The content of metrics.json: an object for each protocol.

    Args:
        rows: the scores of every image.
        protocols: which.
        about: what else to note, for example the method and the data set.
        duplicates: names of images that training has seen too; means without them are added.
    """
    order = thirds([row.input[PLAIN]["psnr"] for row in rows])
    groups = {title: [row for row, group in zip(rows, order, strict=True) if group == n] for n, title in enumerate(GROUPS)}
    clean = [row for row in rows if row.name not in duplicates]
    summaries = []
    for protocol in protocols:
        summary: dict[str, Any] = {"protocol": protocol, **_means(rows, protocol), **(about or {})}
        summary["interval"] = {side: _intervals(_column(rows, side, protocol)) for side in SIDES}
        if all(groups.values()):
            summary["groups"] = {title: _means(members, protocol) for title, members in groups.items()}
        if duplicates:
            summary["without_duplicates"] = _means(clean, protocol)
        summaries.append(summary)
    return summaries


def versus(rows: Sequence[ImageScores], file: Path, other: Mapping[str, Scores]) -> dict[str, Any]:
    """Mean differences between what `rows` restored and what another run did (`read_scores`), under plain, image by image.

    Returns:
        {"file", "count", metric: {"difference", "low", "high", "count"}}: ours minus theirs over the images of equal names, with
        the bootstrap 95 % interval (None for a single image).

    Raises:
        UserError: no name is common, or the other run scored other images under these names.
    """
    common = {row.name: row for row in rows if row.name in other}
    if not common:
        raise UserError(f"{file} has no image of the name of one here ({rows[0].name}, ...): it is of another data set.")
    for name, row in common.items():
        here, there = row.input[PLAIN]["psnr"], other[name]["input_psnr"]
        if here != there and not math.isclose(here, there, abs_tol=1e-3):
            raise UserError(
                f"{file} has {there:.4f} dB for the cloudy input {name}, here it is {here:.4f}: the images differ, so the "
                "restored ones do not compare. Score both methods on the same files."
            )
    result: dict[str, Any] = {"file": str(file), "count": len(common)}
    for metric in next(iter(common.values())).restored[PLAIN]:
        ours = {name: row.restored[PLAIN][metric] for name, row in common.items()}
        theirs = {name: scores[f"restored_{metric}"] for name, scores in other.items() if f"restored_{metric}" in scores}
        if theirs:
            result[metric] = paired(ours, theirs)._asdict()
    return result


def write_scores(folder: Path, summaries: Sequence[Mapping[str, Any]], rows: Sequence[ImageScores]) -> None:
    """Write metrics.json, an object for plain alone and a list for several protocols, and metrics.csv, a line an image.

    In metrics.csv an infinite PSNR is "inf"; columns of plain have no protocol in their name.
    """
    content = summaries[0] if len(summaries) == 1 else list(summaries)
    write_json(folder / "metrics.json", content)
    protocols = [summary["protocol"] for summary in summaries]
    lines = [
        {"name": row.name, **{name: repr(value) for protocol in protocols for name, value in _cells(row, protocol).items()}}
        for row in rows
    ]

    def write_csv(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)

    write_atomically(folder / "metrics.csv", write_csv)


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Read a metrics.csv: {name: {column: value}}. Raises UserError where it is none."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
        scores = {line.pop("name"): {name: float(value) for name, value in line.items()} for line in lines}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as metrics.csv of test.py ({error!r}); name such a file.") from error
    if not scores or not {"input_psnr", "restored_psnr"} <= next(iter(scores.values())).keys():
        raise UserError(f"{path} holds no scores, expected metrics.csv of test.py: columns name, input_psnr, restored_psnr, ...")
    return scores


def _cells(row: ImageScores, protocol: str) -> dict[str, float]:
    prefix = "" if protocol == PLAIN else f"{protocol}_"
    return {f"{prefix}{side}_{metric}": value for side in SIDES for metric, value in getattr(row, side)[protocol].items()}


def _column(rows: Sequence[ImageScores], side: str, protocol: str) -> dict[str, list[float]]:
    """The values of each metric over the images."""
    scores = [getattr(row, side)[protocol] for row in rows]
    return {metric: [row[metric] for row in scores] for metric in scores[0]} if scores else {}


def _means(rows: Sequence[ImageScores], protocol: str) -> dict[str, Any]:
    """Count and means; infinite values (PSNR of equal images) are left out and counted, and a mean of nothing is None."""
    means: dict[str, Any] = {"count": len(rows)}
    for side in SIDES:
        columns = _column(rows, side, protocol)
        finite = {metric: [value for value in values if math.isfinite(value)] for metric, values in columns.items()}
        means[side] = {metric: math.fsum(values) / len(values) if values else None for metric, values in finite.items()}
        infinite = {metric: len(values) - len(finite[metric]) for metric, values in columns.items()}
        means[side] |= {f"{metric}_infinite": count for metric, count in infinite.items() if count}
    return means


def _intervals(columns: Mapping[str, Sequence[float]]) -> dict[str, list[float] | None]:
    """Bootstrap 95 % intervals of the means over images."""
    found = {metric: interval([value for value in values if math.isfinite(value)]) for metric, values in columns.items()}
    return {metric: None if ends is None else list(ends) for metric, ends in found.items()}
