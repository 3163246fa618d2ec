"""Results of several methods side by side: from their metrics.json to one table in Markdown, CSV or LaTeX."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cloudkit.errors import UserError
from cloudkit.images import natural_key
from cloudkit.scoring.measures import MEASURES
from cloudkit.scoring.tables import number

Format = Literal["markdown", "csv", "latex"]
UNTOUCHED = "untouched input"
_METRICS = ("psnr", "ssim", "ssim_gaussian", *MEASURES)
_SMALLER_IS_BETTER = {name for name, measure in MEASURES.items() if not measure.larger_is_better}
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}


@dataclass(frozen=True)
class Line:
    """What one method scored under one protocol."""

    dataset: str
    images: str
    """Digest of the images that were scored; two lines compare only where it is equal."""
    protocol: str
    method: str
    count: int
    scores: Mapping[str, float | None]
    interval: Mapping[str, Sequence[float] | None]
    """95 % intervals of the means."""

    @property
    def compares_with(self) -> tuple[str, str, str]:
        """Equal for lines that may be compared."""
        return self.dataset, self.images, self.protocol


def read_lines(paths: Sequence[Path]) -> list[Line]:
    """The lines of several metrics.json in a fixed order: by data set, images and protocol, first the untouched input.

    Raises:
        UserError: a file is no metrics.json of test.py, or two methods have one name.
    """
    lines: dict[tuple[str, ...], Line] = {}
    for path in paths:
        for summary in _read(path):
            for method, side in ((UNTOUCHED, "input"), (summary["method"], "restored")):
                line = Line(
                    summary["dataset"],
                    summary["images"],
                    summary["protocol"],
                    method,
                    summary["count"],
                    {metric: summary[side][metric] for metric in _METRICS if metric in summary[side]},
                    summary["interval"][side],
                )
                key = (*line.compares_with, method)
                if key in lines and method != UNTOUCHED:
                    raise UserError(
                        f"{path} is the second file with the method {method} on {line.dataset}; give each its name with "
                        "--method of test.py, and each file once."
                    )
                lines.setdefault(key, line)
    protocols = list(dict.fromkeys(line.protocol for line in lines.values()))
    return sorted(
        lines.values(),
        key=lambda line: (natural_key(line.dataset), line.images, protocols.index(line.protocol), line.method != UNTOUCHED),
    )


def doubts(lines: Sequence[Line]) -> list[str]:
    """What a reader of the table must know: data sets of which the methods were scored on different images."""
    seen: dict[str, dict[str, set[str]]] = {}
    for line in lines:
        seen.setdefault(line.dataset, {}).setdefault(line.images, set()).add(line.method)
    return [
        f"{dataset}: {' and '.join(', '.join(sorted(methods - {UNTOUCHED})) for methods in digests.values())} were scored on "
        "different images (other files, or another split), so their numbers do not compare."
        for dataset, digests in seen.items()
        if len(digests) > 1
    ]


def render(lines: Sequence[Line], format: Format, *, intervals: bool = False) -> str:
    """One table; in Markdown and LaTeX the best of the lines that compare is bold, in CSV values have all their digits."""
    metrics = [metric for metric in _METRICS if any(metric in line.scores for line in lines)]
    titles = [metric.upper().replace("_GAUSSIAN", " Gaussian") for metric in metrics]
    header = ["method", "data set", "images", "protocol", *titles]
    if format == "csv":
        return _csv(lines, metrics, intervals)
    escape, bold = (_escape_latex, r"\textbf{{{}}}") if format == "latex" else (_escape_markdown, "**{}**")
    best = _best(lines, metrics)
    rows = []
    for line in lines:
        cells = [escape(cell) for cell in (line.method, line.dataset, str(line.count), line.protocol)]
        for metric in metrics:
            value = line.scores.get(metric)
            text = number(metric, value)
            if value is not None and text == best.get((*line.compares_with, metric)):
                text = bold.format(text)
            ends = line.interval.get(metric)
            cells.append(text + (f" [{number(metric, ends[0])}, {number(metric, ends[1])}]" if intervals and ends else ""))
        rows.append(cells)
    if format == "latex":
        return _latex([escape(cell) for cell in header], rows)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * 4 + ["---:"] * len(metrics), *rows))


def _read(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics.json, one for each protocol."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        summaries = content if isinstance(content, list) else [content]
        for summary in summaries:
            _check(summary)
    except KeyError as error:
        raise UserError(f"{path} is no metrics.json of test.py: it has no {error}; name files that test.py wrote.") from error
    except (OSError, ValueError, TypeError) as error:
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else error
        raise UserError(f"{path} cannot be read as metrics.json of test.py: {reason}; name files that it wrote.") from error
    return summaries


def _check(summary: Any) -> None:
    """Raise KeyError, TypeError or ValueError unless this is an object as `cloudkit.scoring.results.summarise` makes it."""
    if not isinstance(summary, dict):
        raise TypeError(f"it holds {summary!r:.40}, expected an object for each protocol")
    for name in ("protocol", "method", "dataset", "images"):
        if not isinstance(summary[name], str):
            raise TypeError(f"{name} is {summary[name]!r:.40}, expected text")
    if type(summary["count"]) is not int or summary["count"] < 0:
        raise ValueError(f"count is {summary['count']!r:.40}, expected the number of images")
    for side in ("input", "restored"):
        scores, intervals = summary[side], summary["interval"][side]
        if not isinstance(scores, dict) or not isinstance(intervals, dict) or "psnr" not in scores:
            raise TypeError(f"{side} holds no scores")
        for metric, value in scores.items():
            ends = intervals.get(metric)
            if not _is_number(value) or not (
                ends is None or (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends)))
            ):
                raise TypeError(f"{metric} of {side} is {value!r:.40} with the interval {ends!r:.40}, expected numbers")


def _is_number(value: object) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))  # type: ignore[arg-type]


def _best(lines: Sequence[Line], metrics: Sequence[str]) -> dict[tuple[str, ...], str]:
    """The best value as it is shown, of each metric among lines that compare, where at least two methods do."""
    best: dict[tuple[str, ...], str] = {}
    for key in {line.compares_with for line in lines}:
        methods = [line for line in lines if line.compares_with == key and line.method != UNTOUCHED]
        for metric in metrics:
            values = [value for line in methods if (value := line.scores.get(metric)) is not None and math.isfinite(value)]
            if len(values) > 1:
                choose: Callable[[Sequence[float]], float] = min if metric in _SMALLER_IS_BETTER else max
                best[*key, metric] = number(metric, choose(values))
    return best


def _csv(lines: Sequence[Line], metrics: Sequence[str], intervals: bool) -> str:
    ends = [f"{metric}_{end}" for metric in metrics for end in ("low", "high")] if intervals else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "dataset", "images", "images_sha256", "protocol", *metrics, *ends])
    for line in lines:
        values = [line.scores.get(metric) for metric in metrics]
        if intervals:
            values += [end for metric in metrics for end in (line.interval.get(metric) or (None, None))]
        shown = ["" if value is None else repr(value) for value in values]
        writer.writerow([line.method, line.dataset, line.count, line.images, line.protocol, *shown])
    return text.getvalue().rstrip("\n")


def _latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [" & ".join(cells) + r" \\" for cells in rows]
    columns = "l" * 4 + "r" * (len(header) - 4)
    top = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", " & ".join(header) + r" \\", r"\hline"]
    return "\n".join([*top, *body, r"\hline", r"\end{tabular}"])


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _escape_markdown(text: str) -> str:
    text = " ".join(text.split())  # a line break would end the row
    return re.sub(r"([|*_`\\])", r"\\\1", text)
