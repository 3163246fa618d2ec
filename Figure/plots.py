"""Plot the training curves and the ablation from the records in checkpoints/records.

python Figure/plots.py    # needs matplotlib: pip install -e ".[figures]"
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloudkit.errors import UserError
from cloudkit.files import read_json, write_atomically
from cloudkit.script.command_line import ROOT, parser, run_script


@dataclass(frozen=True)
class PlotOptions:
    """Folders of the records and the plots."""

    records: Path = ROOT / "checkpoints" / "records"
    """Folder with NAME-history.json of trainings, and with ablation*.json."""
    out: Path = ROOT / "Figure"
    """Folder for training.svg and ablation.svg."""


def main(options: PlotOptions) -> None:
    """Make both plots."""
    plt.rcParams |= {
        "svg.hashsalt": "thiefcloud",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    histories = read_records(options.records, "*-history.json", check_history)
    if not histories:
        raise UserError(
            f"{options.records} holds no NAME-history.json, expected one for each training; name "
            "the folder of the records with --records."
        )
    ablations = read_records(options.records, "ablation*.json", check_ablation)
    save(plot_training(histories), options.out / "training.svg")
    if ablations:
        save(plot_ablations(ablations), options.out / "ablation.svg")


def read_records(folder: Path, pattern: str, check: Callable[[Any], object]) -> dict[str, Any]:
    """Read records by the part of their file names that says what they are of."""
    records = {}
    for path in sorted(folder.glob(pattern)):
        try:
            record = read_json(path)
            check(record)
        except (ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{path} is damaged or no such record ({error!r}), expected a file as train.py or "
                "ablation.py writes it; take it away or write it again."
            ) from error
        records[path.stem.removesuffix("-history").removeprefix("ablation").lstrip("-")] = record
    return records


def check_history(record: Any) -> None:
    """Raise an error unless a record has the step and the score of each validation."""
    for validation in record:
        float(validation["step"]), float(validation["val/psnr"])


def check_ablation(record: Any) -> None:
    """Raise an error unless a record has the differences between arms."""
    for difference in record["differences"]:
        difference["arm"], difference["against"], difference["psnr"]


def plot_training(histories: dict[str, list[dict[str, float]]]) -> Figure:
    """Plot the validation PSNR of runs, each of which resumed from the one before it."""
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    end: list[tuple[float, float]] = []
    for name, history in histories.items():
        before = end[0][0] if end else 0.0
        points = end + [(before + record["step"], record["val/psnr"]) for record in history]
        axes.plot(
            *zip(*points, strict=True),
            marker=".",
            label=name,
            markevery=range(len(end), len(points)),
        )
        end = points[-1:]

    axes.set(xlabel="optimizer steps of all runs", ylabel="validation PSNR, dB")
    low, high = axes.get_ylim()
    margin = max(0.0, 2 - (high - low)) / 2  # so that tenths of a decibel do not look large
    axes.set(xlim=(0, None), ylim=(low - margin, high + margin))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def plot_ablations(ablations: dict[str, dict[str, Any]]) -> Figure:
    """Plot the differences between arms, one panel for each ablation."""
    rows = sum(len(ablation["differences"]) for ablation in ablations.values())
    figure, panels = plt.subplots(
        len(ablations),
        figsize=(6, 0.7 * len(ablations) + 0.4 * rows),
        layout="constrained",
        sharex=True,
        squeeze=False,
        height_ratios=[len(ablation["differences"]) or 1 for ablation in ablations.values()],
    )
    for axes, (title, ablation) in zip(panels[:, 0], ablations.items(), strict=True):
        plot_differences(axes, ablation["differences"])
        axes.set_title(title)
    panels[-1, 0].set_xlabel("difference of PSNR, dB, with 95 % interval")
    return figure


def plot_differences(axes: Axes, differences: list[dict[str, Any]]) -> None:
    """Plot the difference of each pair of arms with its 95 % interval."""
    labels: list[str] = []
    for difference in reversed(differences):
        psnr = difference["psnr"]
        if psnr is None or psnr["low"] is None:
            continue
        xerr = [[psnr["mean"] - psnr["low"]], [psnr["high"] - psnr["mean"]]]
        axes.errorbar(psnr["mean"], len(labels), xerr=xerr, fmt="o", color="#4a78b0", capsize=3)
        labels.append(f"{difference['arm']}\n- {difference['against']}")

    axes.axvline(0, color="gray", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, with equal bytes for equal records."""
    metadata = {"Date": None}
    write_atomically(path, lambda file: figure.savefig(file, format="svg", metadata=metadata))
    print(f"written to {path}")


if __name__ == "__main__":
    run_script(main, parser(PlotOptions, __doc__))
