"""Tables of scores for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from cloudkit.script.command_line import format_table
from trainkit.scoring.collector import PLAIN, SIDES, ImageScores
from trainkit.scoring.measures import METRICS
from trainkit.scoring.statistics import Comparison

_MAIN_METRICS = ("psnr", "ssim")  # in the table of means; the others follow below it


def format_value(metric: str, value: float | None, *, sign: str = "") -> str:
    """Return a value with the decimals of its metric, "-" for None; `sign` "+" shows all signs."""
    return "-" if value is None else format(value, f"{sign}.{METRICS[metric].decimals}f")


def format_interval(metric: str, ends: Sequence[float] | None) -> str:
    """Return an interval as it follows its value, "" for None."""
    if not ends:
        return ""
    return f" [{format_value(metric, ends[0])}, {format_value(metric, ends[1])}]"


def image_table(rows: Sequence[ImageScores]) -> str:
    """Return the plain scores of each image."""
    lines = []
    for row in rows:
        line = {"image": row.name}
        for side in SIDES:
            for metric, value in getattr(row, side)[PLAIN].items():
                line[f"{side} {metric}"] = format_value(metric, value)
        lines.append(line)
    return format_table(lines)


def mean_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Return the means under each protocol with the 95 % intervals of the restored images.

    Under plain the means of each group of images follow.
    """
    lines = []
    for summary in summaries:
        ends = summary["interval"]["restored"]
        lines.append(_mean_line(summary["protocol"], "all", summary, ends))
        if "without_duplicates" in summary:
            lines.append(_mean_line("", "not in training", summary["without_duplicates"], {}))
        if summary["protocol"] == PLAIN:
            for title, group in summary.get("groups", {}).items():
                lines.append(_mean_line("", title, group, {}))
    return format_table(lines)


def metric_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return a line for each metric of plain that the table of means does not hold."""
    before, after, ends = summary["input"], summary["restored"], summary["interval"]["restored"]

    lines = []
    for metric in METRICS:
        if metric in after and metric not in _MAIN_METRICS:
            first = format_value(metric, before[metric])
            second = format_value(metric, after[metric]) + format_interval(metric, ends[metric])
            lines.append(f"{metric}: input {first}, restored {second}")
    return lines


def versus_lines(versus: Mapping[str, Any]) -> list[str]:
    """Return in words how much better or worse the metrics are than those of another run."""
    lines = [f"against {versus['file']}, over {versus['count']} images of equal names:"]
    for metric in METRICS:
        if metric in versus:
            found = Comparison(**versus[metric])
            ends = None if found.low is None or found.high is None else (found.low, found.high)
            verdict = "" if found.excludes_zero else ", not resolved"
            difference = format_value(metric, found.difference, sign="+")
            lines.append(f"  {metric}: {difference}{format_interval(metric, ends)}{verdict}")
    return lines


def _mean_line(
    protocol: str, images: str, means: Mapping[str, Any], ends: Mapping[str, Any]
) -> dict[str, str]:
    """Return a row of the table of means; `ends` are those of the restored images."""
    line = {"protocol": protocol, "images": f"{images}: {means['count']}"}
    for metric in _MAIN_METRICS:
        line[f"input {metric}"] = format_value(metric, means["input"].get(metric))
    for metric in _MAIN_METRICS:
        text = format_value(metric, means["restored"].get(metric))
        line[f"restored {metric}"] = text + format_interval(metric, ends.get(metric))
    return line
