"""Results of the finished runs of an ablation, collected from its folder."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cloudkit.errors import UserError
from prior_ablation.arms import sort_arms
from prior_ablation.differences import Mean, average_seeds, block_mean
from prior_ablation.runs import (
    RUN,
    SCORES,
    THICKNESS,
    is_compared,
    is_scored,
    is_trained,
    read_part,
)
from prior_ablation.thickness import Correlations
from trainkit.data.splits import block_of
from trainkit.scoring.results import read_scores
from trainkit.training.run import HISTORY

METRICS = ("psnr", "ssim")
_TOLERANCE = 1e-3  # dB; metrics.csv holds six digits


class FinishedRun(NamedTuple):
    """Training that is finished and scored."""

    arm: str
    fold: int
    seed: int
    prior: str | None
    """SHA-256 of the weights of SCPM that it started from."""
    steps: int
    scores: Mapping[str, Mapping[str, float]]
    """{image: {column of metrics.csv: value}}."""
    thickness: Mapping[str, Correlations] | None


class Results:
    """All finished runs of a folder.

    Args:
        out: Folder of the ablation.

    Raises:
        UserError: No run is finished, or two runs scored different images under one name.
    """

    def __init__(self, out: Path) -> None:
        self.runs: list[FinishedRun] = []
        self.unfinished: list[str] = []
        for path in sorted(out.glob(f"fold-*/*/{RUN}")):
            about = read_part(path)
            if is_trained(path.parent) and is_scored(path.parent):
                self.runs.append(_read_run(path.parent, about))
            else:
                self.unfinished.append("{arm} of fold {fold}, seed {seed}".format(**about))
        if not self.runs:
            raise UserError(
                f"{out} holds no finished run to report; start the ablation without --report-only."
            )
        _check_inputs(self.runs)

        self.arms = sort_arms({run.arm for run in self.runs})
        self.folds = sorted({run.fold for run in self.runs})
        self.seeds = sorted({run.seed for run in self.runs})
        self._fold_of: dict[str, int] = {}
        for run in self.runs:
            self._fold_of |= dict.fromkeys(run.scores, run.fold)

    def runs_of(self, arm: str) -> list[FinishedRun]:
        """Return the runs of an arm."""
        return [run for run in self.runs if run.arm == arm]

    def find_arm(self, name: str) -> str | None:
        """Return the finished arm of a name or kind, or None.

        Of several trained-frozen arms it is the last, if possible with the prior that is tuned.
        """
        if name in self.arms:
            return name
        if name != "trained-frozen":
            return None

        tuned = {run.prior for run in self.runs if run.arm.endswith("-tunable")}
        best = None
        for run in self.runs:
            if run.arm.startswith("trained-frozen-"):
                candidate = (run.prior in tuned, self.arms.index(run.arm), run.arm)
                best = candidate if best is None else max(best, candidate)
        return best[-1] if best else None

    def mean(self, values: Mapping[int, Mapping[str, float]]) -> Mean | None:
        """Return the mean over images of {seed: {image: value}}, seeds averaged first.

        Blocks of images end at the end of a fold.
        """
        return block_mean(average_seeds(values), lambda name: (self._fold_of[name], block_of(name)))

    def column(self, arm: str, name: str) -> dict[int, dict[str, float]]:
        """Return {seed: {image: value}} of a column of metrics.csv."""
        column: dict[int, dict[str, float]] = defaultdict(dict)
        for run in self.runs_of(arm):
            for image, scores in run.scores.items():
                column[run.seed][image] = scores[name]
        return column

    def difference(self, arm: str, other: str, metric: str) -> dict[str, Any] | None:
        """Return the mean gain of an arm over another in the runs that both have, if any."""
        ours = self.column(arm, f"restored_{metric}")
        theirs = self.column(other, f"restored_{metric}")
        by_seed: dict[int, dict[str, float]] = defaultdict(dict)
        for seed in sorted(ours.keys() & theirs.keys()):
            for image in ours[seed].keys() & theirs[seed].keys():
                by_seed[seed][image] = ours[seed][image] - theirs[seed][image]

        mean = self.mean(by_seed)
        if mean is None:
            return None

        by_fold: dict[int, list[float]] = defaultdict(list)
        for image, value in average_seeds(by_seed).items():
            by_fold[self._fold_of[image]].append(value)

        return {
            **mean._asdict(),
            "verdict": mean.verdict,
            "by_fold": {str(fold): _finite_mean(by_fold[fold]) for fold in sorted(by_fold)},
            "by_seed": {str(seed): _finite_mean(by_seed[seed].values()) for seed in by_seed},
        }

    def thickness(self, arm: str) -> dict[str, Any] | None:
        """Return the correlation of an arm's thickness maps with opacity, if it has a prior."""
        runs = [(run.seed, run.thickness) for run in self.runs_of(arm) if run.thickness]
        if not runs:
            return None

        found = {}
        for moment in ("before", "after"):
            within: dict[int, dict[str, float]] = defaultdict(dict)
            between = []
            for seed, thickness in runs:
                within[seed] |= thickness[moment]["within"]
                between.append(thickness[moment]["between"])
            mean = self.mean(within)
            assert mean is not None  # correlations are finite
            found[moment] = {
                "within": mean._asdict(),
                "between": _finite_mean(between),
                "between_by_run": between,
            }
        return found


def _read_run(folder: Path, about: Mapping[str, Any]) -> FinishedRun:
    return FinishedRun(
        **about,
        steps=read_part(folder / HISTORY)[-1]["step"],
        scores=read_scores(folder / SCORES),
        thickness=read_part(folder / THICKNESS) if is_compared(folder) else None,
    )


def _check_inputs(runs: Sequence[FinishedRun]) -> None:
    """Raise UserError if two runs scored different images under one name."""
    first: dict[str, tuple[float, FinishedRun]] = {}
    for run in runs:
        for name, scores in run.scores.items():
            here = scores["input_psnr"]
            there, other = first.setdefault(name, (here, run))

            if here != there and not math.isclose(here, there, abs_tol=_TOLERANCE):
                raise UserError(
                    f"the cloudy image {name} has {there:.4f} dB for {other.arm} and {here:.4f} dB "
                    f"for {run.arm} in fold {run.fold}: the images differ, so the arms do not "
                    "compare. Remove the runs on wrong images and start again."
                )


def _finite_mean(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None
