"""The results as tables in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
_UNITS = {"percent": ("{:.0f} %", 100.0), "x": ("{:.2f} x", 1.0), "small": ("{:.1e}", 1.0)}
# key of the results: title of the column, and how its numbers are written
_COLUMNS = {
    "what": ("what", ""),
    "part": ("part", ""),
    "setting": ("setting", ""),
    "scpm": ("SCPM", ""),
    "precision": ("precision", ""),
    "size": ("size", ""),
    "crop": ("crop", ""),
    "batch": ("batch", ""),
    "gflops": ("GFLOP/s", "number"),
    "gb_per_s": ("GB/s", "number"),
    "speedup": ("default : naive", "x"),
    "default_images_per_s": ("default images/s", "number"),
    "naive_images_per_s": ("naive images/s", "number"),
    "default_gflops": ("default GFLOP/s", "number"),
    "default_share_of_ceiling": ("of the ceiling", "percent"),
    "naive_share_of_ceiling": ("naive of the ceiling", "percent"),
    "max_difference": ("largest difference", "small"),
    "psnr_db": ("PSNR between", "number"),
    "psnr_to_fp32_db": ("PSNR to fp32", "number"),
    "default_peak_mb": ("default peak MB", "whole"),
    "naive_peak_mb": ("naive peak MB", "whole"),
    "default_before_mb": ("before it ran MB", "whole"),
    "sustained_images_per_s": ("sustained images/s", "number"),
    "schedule_hours": ("paper's schedule, hours", "number"),
    "peak_mb": ("peak MB", "whole"),
    "before_mb": ("before it ran MB", "whole"),
    "seconds": ("seconds, first run", "number"),
    "default_share": ("default share", "percent"),
    "naive_share": ("naive share", "percent"),
    "default_ms": ("default ms", "number"),
    "naive_ms": ("naive ms", "number"),
}


def markdown(rows: Rows) -> str:
    """One table with the columns that any row has."""
    keys = [key for key in _COLUMNS if any(key in row for row in rows)]
    header = [_COLUMNS[key][0] for key in keys]
    rules = ["---:" if _COLUMNS[key][1] else "---" for key in keys]
    body = [[written(row.get(key), _COLUMNS[key][1]) for key in keys] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rules, *body))


def written(value: object, unit: str) -> str:
    """A value as the table shows it: three digits that count, "-" where there is none."""
    if value is None:
        return "-"
    if not unit or not isinstance(value, int | float):
        return str(value)
    if unit in _UNITS:
        form, factor = _UNITS[unit]
        return form.format(factor * value)
    if unit == "whole" or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
