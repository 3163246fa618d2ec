"""Report of the ablation: ablation.json for programs, ablation.md for people."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from cloudkit.errors import UserError
from cloudkit.files import write_json, write_text
from prior_ablation.results import METRICS, Results

JSON, MARKDOWN = "ablation.json", "ablation.md"
_PAPER = (  # claims of the paper: the first arm is better than the second
    ("trained-frozen", "untrained-frozen"),
    ("trained-then-tunable", "trained-frozen"),
    ("trained-frozen", "no-prior"),
    ("trained-then-tunable", "no-prior"),
)
_DECIMALS = {"psnr": 2, "ssim": 4}
_TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM"}
_INTERVALS = """\
Square brackets: 95 % bootstrap interval over blocks of ten neighbouring file numbers within a fold,
because neighbours are alike. Seeds are averaged first. "helps" and "harms": the interval lies on
one side of 0; "not resolved": it holds 0. It covers the choice of test images alone. The images of
a fold have one training in common, so what another seed would have changed is not in it: check
whether folds and seeds agree."""
_THICKNESS = """\
Correlation (Pearson) of SCPM's thickness map with the opacity estimated from the test pairs.
Within: pixels of one image, mean over images. Between: pixels of all test images of a run together,
mean over runs; only this shows an even veil. Tuning keeps SCPM's thickness head, so maps after
tuning are not calibrated: the numbers say what is left."""


def summarize(out: Path, reference: str) -> dict[str, Any]:
    """Return the content of ablation.json, from all finished runs in a folder.

    Args:
        out: Folder of the ablation.
        reference: Arm that all others are compared with. If it is not finished, these comparisons
            are left out.

    Raises:
        UserError: No run is finished, or two arms scored different images under one name.
    """
    results = Results(out)
    inputs = _means(results, results.arms[0], "input")

    arms, thickness = {}, {}
    for arm in results.arms:
        runs = results.runs_of(arm)
        steps = sorted({run.steps for run in runs})
        arms[arm] = {"runs": len(runs), "steps": steps, **_means(results, arm, "restored")}
        found = results.thickness(arm)
        if found is not None:
            thickness[arm] = found

    return {
        "folds": results.folds,
        "seeds": results.seeds,
        "runs": len(results.runs),
        "unfinished": results.unfinished,
        "reference": results.find_arm(reference),
        "input": inputs,
        "arms": arms,
        "differences": _differences(results, reference),
        "sight": thickness,
    }


def render(report: Mapping[str, Any]) -> str:
    """Return ablation.md for the content of ablation.json."""
    header = (
        f"{report['runs']} runs: folds {_join(report['folds'])}; seeds {_join(report['seeds'])}."
    )
    if report["unfinished"]:
        header += f" Not finished, so left out: {'; '.join(report['unfinished'])}."
    header += (
        " Means of arms compare only over equal images;"
        " differences are taken over the runs that both arms have."
    )

    parts = ["# What the cloud prior is worth", header, _table(_arm_rows(report))]
    if report["differences"]:
        rows = map(_difference_row, report["differences"])
        parts += ["## Differences", _table(rows), _INTERVALS]
    if report["sight"]:
        rows = map(_thickness_row, report["sight"].items())
        parts += ["## Does SCPM see the clouds?", _table(rows), _THICKNESS]
    return "\n\n".join(parts) + "\n"


def write(out: Path, report: Mapping[str, Any]) -> str:
    """Write ablation.json and ablation.md, and return the latter."""
    write_json(out / JSON, report)
    text = render(report)
    write_text(out / MARKDOWN, text)
    return text


def check_reference(reference: str, arms: Sequence[str]) -> None:
    """Raise UserError unless the reference is an arm, or trained-frozen if there are such arms."""
    if reference in arms:
        return
    if reference == "trained-frozen" and any(arm.startswith("trained-frozen-") for arm in arms):
        return
    expected = ", ".join(dict.fromkeys(arms))  # each once, in their order
    raise UserError(f"--reference is {reference}, expected one of the arms: {expected}.")


def _means(results: Results, arm: str, side: str) -> dict[str, Any]:
    means = {}
    for metric in METRICS:
        mean = results.mean(results.column(arm, f"{side}_{metric}"))
        means[metric] = None if mean is None else mean._asdict()
    return means


def _differences(results: Results, reference: str) -> list[dict[str, Any]]:
    """Compare all arms with the reference, then those of the paper's claims that are left."""
    pairs = [(arm, results.find_arm(reference)) for arm in results.arms]
    for better, worse in _PAPER:
        pairs.append((results.find_arm(better) or "", results.find_arm(worse)))

    differences: dict[tuple[str, str], dict[str, Any]] = {}
    for arm, other in pairs:
        if not arm or other is None or arm == other:
            continue
        if (arm, other) in differences or (other, arm) in differences:
            continue
        found = {metric: results.difference(arm, other, metric) for metric in METRICS}
        if found["psnr"] is not None:
            differences[arm, other] = {"arm": arm, "against": other, **found}
    return list(differences.values())


def _arm_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    blank = dict.fromkeys(("runs", "steps", "images"), "")
    rows = [{"arm": "cloudy input", **blank, **_mean_cells(report["input"])}]
    for name, arm in report["arms"].items():
        row = {"arm": name, "runs": str(arm["runs"]), "steps": _join(arm["steps"])}
        row["images"] = "" if arm["psnr"] is None else str(arm["psnr"]["images"])
        rows.append(row | _mean_cells(arm))
    return rows


def _mean_cells(means: Mapping[str, Any]) -> dict[str, str]:
    return {_TITLES[metric]: _format(means[metric], _DECIMALS[metric]) for metric in METRICS}


def _difference_row(found: Mapping[str, Any]) -> dict[str, str]:
    row = {"arm": found["arm"], "against": found["against"]}
    for metric in METRICS:
        row[_TITLES[metric]] = _format(found[metric], _DECIMALS[metric], sign="+")
        row[f"{metric.upper()} says"] = found[metric]["verdict"] if found[metric] else "-"

    for group in ("fold", "seed"):
        cells = []
        for name, value in found["psnr"][f"by_{group}"].items():
            cells.append(f"{name}: -" if value is None else f"{name}: {value:+.2f}")
        row[f"PSNR by {group}"] = _join(cells)
    return row


def _thickness_row(item: tuple[str, Mapping[str, Any]]) -> dict[str, str]:
    arm, found = item
    row = {"arm": arm}
    for moment in ("before", "after"):
        row[f"{moment} tuning, within"] = _format(found[moment]["within"], 3)
        row[f"{moment} tuning, between"] = f"{found[moment]['between']:.3f}"
    return row


def _format(mean: Mapping[str, Any] | None, decimals: int, sign: str = "") -> str:
    """Return a mean with its interval, or "-"."""
    if mean is None:
        return "-"
    form = f"{sign}.{decimals}f"
    text = format(mean["mean"], form)
    if mean["low"] is None:
        return text
    return f"{text} [{mean['low']:{form}}, {mean['high']:{form}}]"


def _join(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _table(rows: Iterable[Mapping[str, str]]) -> str:
    return tabulate(list(rows), headers="keys", tablefmt="github", disable_numparse=True)
