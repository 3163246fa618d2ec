"""Scores as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from cloudkit.cli import format_table
from cloudkit.scoring.results import PLAIN, SIDES, ImageScores
from cloudkit.scoring.statistics import Comparison

_DECIMALS = {"psnr": 2, "sam": 2, "ergas": 2}  # four for the others


def number(metric: str, value: float | None) -> str:
    """A value as tables show it: "-" where there is none."""
    return "-" if value is None else f"{value:.{_DECIMALS.get(metric, 4)}f}"


def image_table(rows: Sequence[ImageScores]) -> str:
    """The plain scores of each image."""
    return format_table(
        [
            {"image": row.name}
            | {f"{side} {metric}": number(metric, value) for side in SIDES for metric, value in getattr(row, side)[PLAIN].items()}
            for row in rows
        ]
    )


def mean_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """The means under each protocol, with their 95 % intervals; under plain also of each group of images."""
    lines = []
    for summary in summaries:
        lines.append(_line(summary["protocol"], "all", summary, summary["interval"]))
        if "without_duplicates" in summary:
            lines.append(_line("", "not in training", summary["without_duplicates"]))
        if summary["protocol"] == PLAIN:
            lines += [_line("", title, group) for title, group in summary.get("groups", {}).items()]
    return format_table(lines)


def measure_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line for each metric of plain that the table of means does not hold."""
    return [
        f"{metric}: input {number(metric, value)}, restored {number(metric, summary['restored'][metric])}"
        + _range(metric, summary["interval"]["restored"][metric])
        for metric, value in summary["input"].items()
        if metric not in ("psnr", "ssim", "psnr_infinite")
    ]


def versus_lines(versus: Mapping[str, Any]) -> list[str]:
    """How much better or worse than another run, in words."""
    lines = [f"against {versus['file']}, over {versus['count']} images of equal names:"]
    for metric, found in versus.items():
        if isinstance(found, Mapping):
            difference = Comparison(**found)
            ends = None if difference.low is None or difference.high is None else (difference.low, difference.high)
            verdict = "" if difference.excludes_zero else ", not resolved"
            lines.append(f"  {metric}: {difference.difference:+.{_DECIMALS.get(metric, 4)}f}{_range(metric, ends)}{verdict}")
    return lines


def _line(protocol: str, images: str, means: Mapping[str, Any], interval: Mapping[str, Any] | None = None) -> dict[str, str]:
    line = {"protocol": protocol, "images": f"{images}: {means['count']}"}
    for side in SIDES:
        for metric in ("psnr", "ssim"):
            ends = interval[side].get(metric) if interval is not None and side == "restored" else None
            line[f"{side} {metric}"] = number(metric, means[side].get(metric)) + _range(metric, ends)
    return line


def _range(metric: str, ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" [{number(metric, ends[0])}, {number(metric, ends[1])}]"
