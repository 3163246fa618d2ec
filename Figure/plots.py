"""Draw the training curves and the ablation from the records in checkpoints/records.

python Figure/plots.py       # needs matplotlib: pip install -e ".[figures]"
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from cloudkit.cli import ROOT, parser, run
from cloudkit.errors import UserError
from cloudkit.files import write_atomically


@dataclass(frozen=True)
class PlotOptions:
    """Where from, and where to."""

    records: Path = ROOT / "checkpoints" / "records"
    """Folder with NAME-history.json of trainings and ablation.json."""
    out: Path = ROOT / "Figure"
    """Folder for training.svg and ablation.svg."""


def main(options: PlotOptions) -> None:
    """Draw both."""
    plt.rcParams |= {"svg.hashsalt": "thiefcloud", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    histories = {
        path.stem.removesuffix("-history"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(options.records.glob("*-history.json"))
    }
    if not histories:
        raise UserError(f"{options.records} holds no NAME-history.json; name the folder of the records with --records.")
    save(training_curves(histories), options.out / "training.svg")
    ablation = options.records / "ablation.json"
    if ablation.exists():
        save(ablation_bars(json.loads(ablation.read_text(encoding="utf-8"))), options.out / "ablation.svg")


def training_curves(histories: dict[str, list[dict[str, float]]]) -> Figure:
    """Validation PSNR over the steps of runs of which each went on from the one before, in the order of their names."""
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    ends: list[tuple[float, float]] = []
    for name, history in histories.items():
        before = ends[-1][0] if ends else 0.0
        points = ends[-1:] + [(before + record["step"], record["val/psnr"]) for record in history]
        axes.plot(*zip(*points, strict=True), marker=".", label=name, markevery=range(len(points) - len(history), len(points)))
        ends.append(points[-1])
    axes.set(xlabel="optimizer steps of all runs", ylabel="validation PSNR, dB")
    low, high = axes.get_ylim()
    blank = max(0.0, 2 - (high - low)) / 2  # lest tenths of a decibel look like much
    axes.set(xlim=(0, None), ylim=(low - blank, high + blank))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def ablation_bars(ablation: dict[str, Any]) -> Figure:
    """Differences of each pair of arms with their 95 % intervals."""
    differences = [
        difference
        for difference in ablation["differences"]
        if difference["psnr"] is not None and difference["psnr"]["low"] is not None
    ]
    figure, axes = plt.subplots(figsize=(6, 0.6 + 0.4 * len(differences)), layout="constrained")
    for row, difference in enumerate(reversed(differences)):
        mean, low, high = (difference["psnr"][key] for key in ("mean", "low", "high"))
        axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color="#4a78b0", capsize=3)
    axes.axvline(0, color="gray", linewidth=0.8)
    axes.set_yticks(range(len(differences)), [f"{pair['arm']}\n- {pair['against']}" for pair in reversed(differences)])
    axes.set_xlabel("difference of PSNR, dB, with 95 % interval")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, equal bytes for equal records."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))
    print(f"written to {path}")


if __name__ == "__main__":
    run(main, parser(PlotOptions, __doc__))
