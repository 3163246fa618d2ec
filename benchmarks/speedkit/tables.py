"""Results as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

# Key of the results: title and format of the column. "" is text, "3" three significant digits.
_COLUMNS = {
    "what": ("what", ""),
    "part": ("part", ""),
    "side": ("side", ""),
    "setting": ("setting", ""),
    "restored": ("tiles restored", ""),
    "scpm": ("SCPM", ""),
    "precision": ("precision", ""),
    "size": ("size", ""),
    "crop": ("crop", ""),
    "batch": ("batch", ""),
    "gflops": ("GFLOP/s", "3"),
    "gb_per_s": ("GB/s", "3"),
    "speedup": ("default : naive", "{:.2f} x"),
    "default_images_per_s": ("default images/s", "3"),
    "naive_images_per_s": ("naive images/s", "3"),
    "default_gflops": ("default GFLOP/s", "3"),
    "default_fraction_of_ceiling": ("of the ceiling", "{:.0%}"),
    "naive_fraction_of_ceiling": ("naive of the ceiling", "{:.0%}"),
    "max_difference": ("largest difference", "{:.1e}"),
    "psnr_db": ("PSNR between", "3"),
    "psnr_to_fp32_db": ("PSNR to fp32", "3"),
    "default_peak_mb": ("default peak MB", "{:,.0f}"),
    "naive_peak_mb": ("naive peak MB", "{:,.0f}"),
    "default_before_mb": ("before it ran MB", "{:,.0f}"),
    "sustained_images_per_s": ("sustained images/s", "3"),
    "schedule_hours": ("paper's schedule, hours", "3"),
    "cpu_per_mp": ("CPU s/megapixel", "3"),
    "wall_per_mp": ("wall s/megapixel", "3"),
    "reading_fraction": ("reading", "{:.1%}"),
    "measuring_fraction": ("measuring", "{:.1%}"),
    "network_fraction": ("network", "{:.1%}"),
    "writing_fraction": ("writing", "{:.1%}"),
    "peak_mb": ("peak MB", "{:,.0f}"),
    "before_mb": ("before it ran MB", "{:,.0f}"),
    "seconds": ("seconds, first run", "3"),
    "default_fraction": ("default fraction", "{:.0%}"),
    "naive_fraction": ("naive fraction", "{:.0%}"),
    "default_ms": ("default ms", "3"),
    "naive_ms": ("naive ms", "3"),
}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with the columns that any row has."""
    columns: dict[str, list[str]] = {}
    alignment = []
    for key, (title, form) in _COLUMNS.items():
        if any(key in row for row in rows):
            columns[title] = [format_value(row.get(key), form) for row in rows]
            alignment.append("right" if form else "left")

    return tabulate(
        columns, headers="keys", tablefmt="pipe", disable_numparse=True, colalign=alignment
    )


def format_value(value: Any, form: str) -> str:
    """Return the text of a table cell, "-" for a missing value."""
    if value is None:
        return "-"
    if form == "3":
        decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        form = f"{{:,.{decimals}f}}"
    return form.format(value) if form else str(value)
