"""The report of the ablation: ablation.json for programs, ablation.md for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudkit.errors import UserError
from cloudkit.files import write_json, write_text
from thiefcloud.ablation.differences import Mean
from thiefcloud.ablation.results import METRICS, Results

JSON, MARKDOWN = "ablation.json", "ablation.md"
_PAPER = (  # what the paper claims: the first is better than the second
    ("trained-frozen", "untrained-frozen"),
    ("trained-then-tunable", "trained-frozen"),
    ("trained-frozen", "no-prior"),
    ("trained-then-tunable", "no-prior"),
)
_DECIMALS = {"psnr": 2, "ssim": 4}
_TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM"}
_INTERVALS = """\
Square brackets: 95 % bootstrap interval over blocks of ten neighbouring file numbers within a fold, since neighbours are alike;
seeds are averaged first. "helps" and "harms": the interval lies on one side of 0; "not resolved": it holds 0. It covers the
choice of test images alone. The images of a fold share one training, so what another seed would have changed is not in it: look
whether folds and seeds agree."""
_SIGHT = """\
Correlation (Pearson) of SCPM's thickness map with the opacity estimated from the real test pairs. Within: pixels of one image,
mean over images. Between: pixels of all test images of a run together, mean over runs; an even veil shows only there. The
thickness head stays as it was while SCPM is tuned, so maps after tuning are not calibrated: the numbers say what is left."""


def summary(out: Path, reference: str) -> dict[str, Any]:
    """The content of ablation.json, from all finished runs in a folder.

    Args:
        out: the ablation's folder.
        reference: the arm that all others are compared with; where it is not finished, these comparisons are left out.

    Raises:
        UserError: no run is finished, or arms scored other images under one name.
    """
    results = Results(out)
    first = results.arms[0]
    return {
        "folds": results.folds,
        "seeds": results.seeds,
        "runs": len(results.runs),
        "unfinished": results.unfinished,
        "reference": results.named(reference),
        "input": {metric: _mean_of(results, first, f"input_{metric}") for metric in METRICS},
        "arms": {arm: _arm(results, arm) for arm in results.arms},
        "differences": [
            {"arm": arm, "against": other, **{metric: results.difference(arm, other, metric) for metric in METRICS}}
            for arm, other in _comparisons(results, reference)
        ],
        "sight": {arm: found for arm in results.arms if (found := results.sight(arm)) is not None},
    }


def render(report: Mapping[str, Any]) -> str:
    """ablation.md, from the content of ablation.json."""
    lines = ["# What the cloud prior is worth", "", _header(report), "", *_table(_arm_rows(report))]
    if report["differences"]:
        lines += ["", "## Differences", "", *_table([_difference_row(found) for found in report["differences"]]), "", _INTERVALS]
    if report["sight"]:
        lines += ["", "## Does SCPM see real clouds?", "", *_table(_sight_rows(report["sight"])), "", _SIGHT]
    return "\n".join(lines) + "\n"


def write(out: Path, report: Mapping[str, Any]) -> str:
    """Write ablation.json and ablation.md; returns the latter."""
    write_json(out / JSON, report)
    text = render(report)
    write_text(out / MARKDOWN, text)
    return text


def check_reference(reference: str, arms: Sequence[str]) -> None:
    """Raise UserError unless the reference is one of the arms, or trained-frozen where there are some."""
    if not any(arm == reference or (reference == "trained-frozen" and arm.startswith(f"{reference}-")) for arm in arms):
        raise UserError(f"--reference is {reference}, expected one of the arms: {', '.join(arms)}.")


def _comparisons(results: Results, reference: str) -> list[tuple[str, str]]:
    """Pairs of finished arms: all against the reference, then the paper's that are not among them."""
    base = results.named(reference)
    pairs = [(arm, base) for arm in results.arms if base is not None and arm != base]
    for ours, theirs in _PAPER:
        arm, other = results.named(ours), results.named(theirs)
        if arm is not None and other is not None and (arm, other) not in pairs and (other, arm) not in pairs:
            pairs.append((arm, other))
    return [pair for pair in pairs if results.difference(*pair, METRICS[0]) is not None]


def _arm(results: Results, arm: str) -> dict[str, Any]:
    runs = results.of(arm)
    return {
        "runs": len(runs),
        "steps": sorted({run.steps for run in runs}),
        **{metric: _mean_of(results, arm, f"restored_{metric}") for metric in METRICS},
    }


def _mean_of(results: Results, arm: str, column: str) -> dict[str, Any] | None:
    mean = results.mean(results.column(arm, column))
    return None if mean is None else mean._asdict()


def _header(report: Mapping[str, Any]) -> str:
    counts = f"{report['runs']} runs: folds {_joined(report['folds'])}; seeds {_joined(report['seeds'])}."
    if report["unfinished"]:
        counts += f" Not finished, so left out: {'; '.join(report['unfinished'])}."
    return f"{counts} Means of arms compare only over equal images; differences are taken over the runs that both arms have."


def _arm_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = [{"arm": "cloudy input", "runs": "", "steps": "", "images": "", **_means(report["input"])}]
    for name, arm in report["arms"].items():
        steps = _joined(arm["steps"])
        images = "" if arm["psnr"] is None else str(arm["psnr"]["images"])
        rows.append({"arm": name, "runs": str(arm["runs"]), "steps": steps, "images": images, **_means(arm)})
    return rows


def _means(found: Mapping[str, Any]) -> dict[str, str]:
    return {_TITLES[metric]: _with_interval(found[metric], _DECIMALS[metric]) for metric in METRICS}


def _difference_row(found: Mapping[str, Any]) -> dict[str, str]:
    row = {"arm": found["arm"], "against": found["against"]}
    for metric in METRICS:
        decimals = _DECIMALS[metric]
        row[_TITLES[metric]] = _with_interval(found[metric], decimals, sign="+")
        row[f"{metric.upper()} says"] = "-" if found[metric] is None else found[metric]["verdict"]
    row |= {"PSNR by fold": _each(found["psnr"]["by_fold"]), "PSNR by seed": _each(found["psnr"]["by_seed"])}
    return row


def _sight_rows(sight: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "arm": arm,
            **{
                f"{moment} tuning, {where}": text
                for moment in ("before", "after")
                for where, text in (
                    ("within", _with_interval(found[moment]["within"], 3)),
                    ("between", f"{found[moment]['between']:.3f}"),
                )
            },
        }
        for arm, found in sight.items()
    ]


def _with_interval(found: Mapping[str, Any] | None, decimals: int, sign: str = "") -> str:
    if found is None:
        return "-"
    mean = Mean(**{name: found[name] for name in Mean._fields})
    ends = "" if mean.low is None else f" [{mean.low:{sign}.{decimals}f}, {mean.high:{sign}.{decimals}f}]"
    return f"{mean.mean:{sign}.{decimals}f}{ends}"


def _each(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name}: {'-' if value is None else f'{value:+.2f}'}" for name, value in values.items())


def _joined(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    names = list(rows[0])
    cells = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in cells]
