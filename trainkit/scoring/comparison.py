"""Comparison of methods: from their metrics.json to one table in Markdown, CSV or LaTeX."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tabulate import tabulate

from cloudkit.errors import UserError, describe_error
from cloudkit.files import read_json
from cloudkit.imaging.finding import natural_key
from cloudkit.script.peak import describe
from trainkit.scoring.collector import SIDES
from trainkit.scoring.measures import METRICS
from trainkit.scoring.tables import format_interval, format_value

Format = Literal["markdown", "csv", "latex"]
UNTOUCHED = "untouched input"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}  # others get a backslash


@dataclass(frozen=True)
class Result:
    """Scores of one method under one protocol."""

    dataset: str
    images: str
    """Digest of the images that were scored. Results of different images do not compare."""
    protocol: str
    method: str
    count: int
    """Number of images."""
    scores: Mapping[str, float | None]
    intervals: Mapping[str, Sequence[float] | None]
    """95 % intervals of the means."""
    peak: float | None = None
    """Stored value that meant 1 in the images."""

    @property
    def group(self) -> tuple[str, str, str]:
        """Key that is equal for results that may be compared."""
        return self.dataset, self.images, self.protocol


def read_results(paths: Sequence[Path]) -> list[Result]:
    """Read several metrics.json.

    Returns:
        The results by dataset, images and protocol, with the untouched input first.

    Raises:
        UserError: a file is no metrics.json of test.py, or two methods have one name.
    """
    results: dict[tuple[str, ...], Result] = {}
    for path in paths:
        for summary in _read(path):
            for side, method in zip(SIDES, (UNTOUCHED, summary["method"]), strict=True):
                result = Result(
                    summary["dataset"],
                    summary["images"],
                    summary["protocol"],
                    method,
                    summary["count"],
                    summary[side],
                    summary["interval"][side],
                    summary.get("peak"),
                )
                key = (*result.group, method)
                if key in results and method != UNTOUCHED:
                    raise UserError(
                        f"{path} is the second file with the method {method} on {result.dataset}; "
                        "give each its name with --method of test.py, and each file once."
                    )
                results.setdefault(key, result)

    protocols = list(dict.fromkeys(result.protocol for result in results.values()))

    def order(result: Result) -> tuple[Any, ...]:
        dataset, protocol = natural_key(result.dataset), protocols.index(result.protocol)
        return dataset, result.images, protocol, result.method != UNTOUCHED

    return sorted(results.values(), key=order)


def find_doubts(results: Sequence[Result]) -> list[str]:
    """Return a warning for each dataset of which methods were scored on different images.

    The images also differ if they were read with different peaks.
    """
    doubts = []
    for dataset, by_images in _methods_by(results, lambda result: result.images).items():
        named = " and ".join(", ".join(sorted(listed)) for listed in by_images.values())
        doubts.append(
            f"{dataset}: {named} were scored on different images (other files, or another "
            "split), so their numbers do not compare."
        )
    for dataset, by_peak in _methods_by(results, lambda result: describe(result.peak)).items():
        named = ", ".join(f"{', '.join(sorted(by_peak[peak]))} with {peak}" for peak in by_peak)
        doubts.append(
            f"{dataset}: the images were read differently ({named}), so the numbers do not "
            "compare; score all methods with one --peak."
        )
    return doubts


def _methods_by(
    results: Sequence[Result], value_of: Callable[[Result], str]
) -> dict[str, dict[str, list[str]]]:
    """Return {dataset: {value: methods}} for the datasets with more than one value."""
    methods: dict[str, dict[str, list[str]]] = {}
    for result in results:
        listed = methods.setdefault(result.dataset, {}).setdefault(value_of(result), [])
        if result.method not in (UNTOUCHED, *listed):
            listed.append(result.method)
    return {dataset: by_value for dataset, by_value in methods.items() if len(by_value) > 1}


def render(results: Sequence[Result], format: Format, *, intervals: bool = False) -> str:
    """Return one table.

    In Markdown and LaTeX the best of the results that compare is bold. In CSV values have all
    their digits.
    """
    present = set().union(*(result.scores for result in results))
    metrics = [metric for metric in METRICS if metric in present]
    if format == "csv":
        return _render_csv(results, metrics, intervals)

    escape, bold = _escape_markdown, "**{}**"
    if format == "latex":
        escape, bold = _escape_latex, r"\textbf{{{}}}"
    header = ["method", "dataset", "images", "protocol"]
    for metric in metrics:
        header.append(escape(metric.upper().replace("_GAUSSIAN", " Gaussian")))

    best = _best_values(results, metrics)
    rows = []
    for result in results:
        about = (result.method, result.dataset, str(result.count), result.protocol)
        cells = list(map(escape, about))
        for metric in metrics:
            value = result.scores.get(metric)
            text = format_value(metric, value)
            if value is not None and text == best.get((*result.group, metric)):
                text = bold.format(text)
            if intervals:
                text += format_interval(metric, result.intervals.get(metric))
            cells.append(text)
        rows.append(cells)

    return tabulate(
        rows,
        headers=header,
        tablefmt="latex_raw" if format == "latex" else "pipe",
        colalign=["left"] * 4 + ["right"] * len(metrics),
        disable_numparse=True,
    )


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a metrics.json, one for each protocol."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        example = path / "metrics.json" if path.is_dir() else "runs/test/metrics.json"
        raise UserError(f"{path} {problem}; expected a metrics.json of test.py, such as {example}.")
    try:
        content = read_json(Path(path))
        summaries = content if isinstance(content, list) else [content]
        for summary in summaries:
            _check(summary)
    except KeyError as error:
        raise UserError(
            f"{path} is no metrics.json of test.py: it has no {error}; "
            "name files that test.py wrote."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        reason = describe_error(error)
        if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
            reason = "it is no JSON"
        raise UserError(
            f"{path} cannot be read as metrics.json of test.py: {reason}; name files that it wrote."
        ) from error
    return summaries


def _check(summary: Any) -> None:
    """Raise KeyError, TypeError or ValueError unless `summarise` could have made this object."""
    if not isinstance(summary, dict):
        raise TypeError(f"it holds {summary!r:.40}, expected an object for each protocol")
    for name in ("protocol", "method", "dataset", "images"):
        if not isinstance(summary[name], str):
            raise TypeError(f"{name} is {summary[name]!r:.40}, expected text")
    if not _is_number(summary.get("peak")):
        raise TypeError(f"peak is {summary['peak']!r:.40}, expected a number")
    if type(summary["count"]) is not int or summary["count"] < 0:
        raise ValueError(f"count is {summary['count']!r:.40}, expected the number of images")

    for side in SIDES:
        scores, intervals = summary[side], summary["interval"][side]
        if not isinstance(scores, dict) or not isinstance(intervals, dict) or "psnr" not in scores:
            raise TypeError(f"{side} holds no scores")
        for metric, value in scores.items():
            ends = intervals.get(metric) or (None, None)
            if len(ends) != 2 or not all(map(_is_number, (value, *ends))):
                raise TypeError(
                    f"{metric} of {side} is {value!r:.40} with the interval {ends!r:.40}, "
                    "expected numbers"
                )


def _is_number(value: object) -> bool:
    """Return True for a finite number or None, which stands for a mean of nothing."""
    return value is None or (type(value) in (int, float) and math.isfinite(value))  # type: ignore[arg-type]


def _best_values(results: Sequence[Result], metrics: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Return {(*group, metric): best value as it is shown} if at least two methods have one."""
    values: dict[tuple[str, ...], list[float]] = {}
    for result in results:
        for metric in metrics:
            value = result.scores.get(metric)
            if value is not None and result.method != UNTOUCHED:
                values.setdefault((*result.group, metric), []).append(value)

    best = {}
    for key, found in values.items():
        if len(found) > 1:
            choose = max if METRICS[key[-1]].larger_is_better else min
            best[key] = format_value(key[-1], choose(found))
    return best


def _render_csv(results: Sequence[Result], metrics: Sequence[str], intervals: bool) -> str:
    header = ["method", "dataset", "images", "images_sha256", "protocol", *metrics]
    if intervals:
        for metric in metrics:
            header += [f"{metric}_low", f"{metric}_high"]

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for result in results:
        values = list(map(result.scores.get, metrics))
        if intervals:
            for metric in metrics:
                values += result.intervals.get(metric) or (None, None)
        about = [result.method, result.dataset, result.count, result.images, result.protocol]
        writer.writerow(about + values)
    return text.getvalue().rstrip("\n")


def _escape_latex(text: str) -> str:
    return re.sub(r"[&%$#_{}~\\]", lambda match: _LATEX.get(match[0], f"\\{match[0]}"), text)


def _escape_markdown(text: str) -> str:
    text = " ".join(text.split())  # a line break would end the row
    return re.sub(r"([|*_`\\])", r"\\\1", text)
