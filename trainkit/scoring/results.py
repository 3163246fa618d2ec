"""Summaries of scores, and the files metrics.json and metrics.csv."""

import csv
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudkit.errors import UserError
from cloudkit.files import write_atomically, write_json
from trainkit.scoring.collector import PLAIN, SIDES, ImageScores, Scores
from trainkit.scoring.protocols import Protocol
from trainkit.scoring.statistics import interval, paired, thirds

GROUPS = ("cloudiest third", "middle third", "clearest third")


def summarise(
    rows: Sequence[ImageScores],
    protocols: Iterable[Protocol] = (PLAIN,),
    *,
    about: Mapping[str, Any] | None = None,
    duplicates: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the content of metrics.json, one object for each protocol.

    Args:
        rows: the scores of every image.
        protocols: names of the protocols.
        about: further entries, for example the method and the dataset.
        duplicates: names of images that are also in training. If any are given, means without them
            are added.
    """
    groups: dict[str, list[ImageScores]] = defaultdict(list)
    clearness = [row.input[PLAIN]["psnr"] for row in rows]
    for row, third in zip(rows, thirds(clearness), strict=True):
        groups[GROUPS[third]].append(row)
    without_duplicates = [row for row in rows if row.name not in duplicates]

    summaries = []
    for protocol in protocols:
        summary: dict[str, Any] = {"protocol": protocol, **_means(rows, protocol), **(about or {})}
        summary["interval"] = _intervals(rows, protocol)
        if len(groups) == len(GROUPS):
            summary["groups"] = {title: _means(groups[title], protocol) for title in GROUPS}
        if duplicates:
            summary["without_duplicates"] = _means(without_duplicates, protocol)
        summaries.append(summary)
    return summaries


def versus(rows: Sequence[ImageScores], file: Path, other: Mapping[str, Scores]) -> dict[str, Any]:
    """Compare our restored images with those of another run, image by image, under plain.

    Args:
        rows: our scores.
        file: the metrics.csv of the other run.
        other: its content, see `read_scores`.

    Returns:
        {"file", "count", metric: {"difference", "low", "high", "count"}}, see `paired`.

    Raises:
        UserError: no name is common, or the other run scored other images under these names.
    """
    common = []
    for row in rows:
        if row.name not in other:
            continue
        here, there = row.input[PLAIN]["psnr"], other[row.name]["input_psnr"]
        if here != there and not math.isclose(here, there, abs_tol=1e-3):
            raise UserError(
                f"{file} has {there:.4f} dB for the cloudy input {row.name}, here it is "
                f"{here:.4f}: the images or their --peak differ, so the restored ones do not "
                "compare. Score both methods on the same files with the same --peak."
            )
        common.append(row)
    if not common:
        raise UserError(
            f"{file} has no image of the name of one here ({rows[0].name}, ...): "
            "it is of another dataset."
        )

    result: dict[str, Any] = {"file": str(file), "count": len(common)}
    for metric in common[0].restored[PLAIN]:
        column = f"restored_{metric}"
        ours, theirs = {}, {}
        for row in common:
            if column in other[row.name]:
                ours[row.name] = row.restored[PLAIN][metric]
                theirs[row.name] = other[row.name][column]
        if theirs:
            result[metric] = paired(ours, theirs)._asdict()
    return result


def write_scores(
    folder: Path, summaries: Sequence[Mapping[str, Any]], rows: Sequence[ImageScores]
) -> None:
    """Write metrics.json and metrics.csv.

    metrics.json holds one object if plain is the only protocol, else a list. metrics.csv has a row
    for each image. Its columns of plain have no protocol in their name; an infinite PSNR is "inf".
    metrics.json comes last: where it is that of a run, metrics.csv is, too.
    """
    lines = []
    for row in rows:
        line = {"name": row.name}
        for summary in summaries:
            protocol = summary["protocol"]
            prefix = "" if protocol == PLAIN else f"{protocol}_"
            for side in SIDES:
                for metric, value in getattr(row, side)[protocol].items():
                    line[f"{prefix}{side}_{metric}"] = repr(value)
        lines.append(line)

    def write_csv(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)

    write_atomically(folder / "metrics.csv", write_csv)
    write_json(folder / "metrics.json", summaries[0] if len(summaries) == 1 else list(summaries))


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """Read a metrics.csv.

    Returns:
        {name: {column: value}}.

    Raises:
        UserError: the file is no metrics.csv of test.py.
    """
    scores: dict[str, dict[str, float]] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            for line in csv.DictReader(file):
                name = line.pop("name")
                scores[name] = dict(zip(line, map(float, line.values()), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as metrics.csv of test.py ({error!r}); name such a file."
        ) from error
    if not scores or not {"input_psnr", "restored_psnr"} <= next(iter(scores.values())).keys():
        raise UserError(
            f"{path} holds no scores, expected metrics.csv of test.py: "
            "columns name, input_psnr, restored_psnr, ..."
        )
    return scores


def _finite_columns(
    rows: Sequence[ImageScores], side: str, protocol: str
) -> dict[str, list[float]]:
    """Return the finite values of each metric over the images."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for metric, value in getattr(row, side)[protocol].items():
            column = columns.setdefault(metric, [])
            if math.isfinite(value):
                column.append(value)
    return columns


def _means(rows: Sequence[ImageScores], protocol: str) -> dict[str, Any]:
    """Return the number of images and the means of each side.

    Infinite values (PSNR of equal images) are left out and counted. A mean of nothing is None.
    """
    means: dict[str, Any] = {"count": len(rows)}
    for side in SIDES:
        columns = _finite_columns(rows, side, protocol)
        infinite = {}
        means[side] = {}
        for metric, values in columns.items():
            means[side][metric] = math.fsum(values) / len(values) if values else None
            if len(values) < len(rows):
                infinite[f"{metric}_infinite"] = len(rows) - len(values)
        means[side] |= infinite
    return means


def _intervals(
    rows: Sequence[ImageScores], protocol: str
) -> dict[str, dict[str, list[float] | None]]:
    """Return the bootstrap 95 % intervals of the means of each side."""
    intervals: dict[str, dict[str, list[float] | None]] = {}
    for side in SIDES:
        intervals[side] = {}
        for metric, values in _finite_columns(rows, side, protocol).items():
            ends = interval(values)
            intervals[side][metric] = None if ends is None else list(ends)
    return intervals
