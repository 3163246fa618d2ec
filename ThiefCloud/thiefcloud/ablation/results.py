"""What the finished runs of an ablation say, gathered from its folder."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cloudkit.errors import UserError
from cloudkit.runs import HISTORY
from cloudkit.scoring.results import read_scores
from thiefcloud.ablation import sight
from thiefcloud.ablation.arms import in_order
from thiefcloud.ablation.differences import Mean, block_mean, over_seeds
from thiefcloud.ablation.folds import block_of
from thiefcloud.ablation.runs import RUN, SCORES, SIGHT, is_finished, is_scored

METRICS = ("psnr", "ssim")
_SAME = 1e-3  # dB by which equal inputs may differ, which a file holds with six digits


class Scored(NamedTuple):
    """A finished run."""

    arm: str
    fold: int
    seed: int
    prior: str | None
    steps: int
    scores: Mapping[str, Mapping[str, float]]
    """{image: {column of metrics.csv: value}}."""
    sight: sight.Sight | None


class Results:
    """All finished runs of a folder.

    Args:
        out: the ablation's folder.

    Raises:
        UserError: no run is finished, or two scored other images under one name.
    """

    def __init__(self, out: Path) -> None:
        folders = [path.parent for path in sorted(out.glob(f"fold-*/*/{RUN}"))]
        self.runs = [_read(folder) for folder in folders if is_finished(folder) and is_scored(folder)]
        finished = {(run.fold, run.arm, run.seed) for run in self.runs}
        self.unfinished = [
            f"{about['arm']} of fold {about['fold']}, seed {about['seed']}"
            for about in (json.loads((folder / RUN).read_text(encoding="utf-8")) for folder in folders)
            if (about["fold"], about["arm"], about["seed"]) not in finished
        ]
        if not self.runs:
            raise UserError(f"{out} holds no finished run to report; start the ablation without --report-only.")
        self.arms = in_order(list({run.arm for run in self.runs}))
        self.folds = sorted({run.fold for run in self.runs})
        self.seeds = sorted({run.seed for run in self.runs})
        self._fold_of = {name: run.fold for run in self.runs for name in run.scores}
        _check_inputs(self.runs)

    def of(self, arm: str) -> list[Scored]:
        """The runs of an arm."""
        return [run for run in self.runs if run.arm == arm]

    def named(self, arm: str) -> str | None:
        """The finished arm of that name, or of that kind: of several trained-frozen the one with the prior that is tuned too."""
        if arm in self.arms:
            return arm
        of_kind = [name for name in self.arms if name.startswith(f"{arm}-")] if arm == "trained-frozen" else []
        tuned = {run.prior for run in self.runs if run.arm.endswith("-tunable")}
        same = [name for name in of_kind if {run.prior for run in self.of(name)} & tuned]
        return next(reversed(same or of_kind), None)

    def mean(self, values: Mapping[int, Mapping[str, float]]) -> Mean | None:
        """The mean over images of {seed: {image: value}}, seeds averaged first; blocks end where a fold does."""
        return block_mean(over_seeds(values), lambda name: (self._fold_of[name], block_of(name)))

    def column(self, arm: str, name: str) -> dict[int, dict[str, float]]:
        """A column of metrics.csv: {seed: {image: value}}."""
        values: dict[int, dict[str, float]] = {}
        for run in self.of(arm):
            values.setdefault(run.seed, {}).update({image: scores[name] for image, scores in run.scores.items()})
        return values

    def difference(self, arm: str, other: str, metric: str) -> dict[str, Any] | None:
        """How much better an arm restores the images than another, where both are finished; None where they share no run."""
        ours, theirs = (self.column(name, f"restored_{metric}") for name in (arm, other))
        common = {
            seed: {name: ours[seed][name] - theirs[seed][name] for name in ours[seed].keys() & theirs[seed].keys()}
            for seed in ours.keys() & theirs.keys()
        }
        mean = self.mean(common)
        if mean is None:
            return None
        images = over_seeds(common)
        by_fold = {fold: {name: value for name, value in images.items() if self._fold_of[name] == fold} for fold in self.folds}
        return {
            **mean._asdict(),
            "verdict": mean.verdict,
            "by_fold": {str(fold): _plain_mean(values) for fold, values in by_fold.items() if values},
            "by_seed": {str(seed): _plain_mean(values) for seed, values in sorted(common.items()) if values},
        }

    def sight(self, arm: str) -> dict[str, Any] | None:
        """How far the arm's thickness maps go with the opacity of the real pairs; None where it has no prior."""
        runs = [(run, run.sight) for run in self.of(arm) if run.sight is not None]
        if not runs:
            return None
        found = {}
        for moment in ("before", "after"):
            within: dict[int, dict[str, float]] = {}
            for run, seen in runs:
                within.setdefault(run.seed, {}).update({name: sight.pearson([part]) for name, part in seen[moment].items()})
            mean = self.mean(within)
            assert mean is not None
            between = [sight.pearson(seen[moment].values()) for _, seen in runs]
            found[moment] = {"within": mean._asdict(), "between": math.fsum(between) / len(between), "between_by_run": between}
        return found


def _read(folder: Path) -> Scored:
    about = json.loads((folder / RUN).read_text(encoding="utf-8"))
    history = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
    seen = sight.read(folder / SIGHT) if (folder / SIGHT).exists() else None
    scores = read_scores(folder / SCORES)
    return Scored(about["arm"], about["fold"], about["seed"], about["prior"], history[-1]["step"], scores, seen)


def _check_inputs(runs: Sequence[Scored]) -> None:
    first: dict[str, tuple[float, Scored]] = {}
    for run in runs:
        for name, scores in run.scores.items():
            here = scores["input_psnr"]
            there, other = first.setdefault(name, (here, run))
            if here != there and not math.isclose(here, there, abs_tol=_SAME):
                raise UserError(
                    f"the cloudy image {name} has {there:.4f} dB for {other.arm} and {here:.4f} dB for {run.arm} in fold "
                    f"{run.fold}: the images differ, so the arms do not compare. Remove the runs on wrong ones and start again."
                )


def _plain_mean(values: Mapping[str, float]) -> float | None:
    finite = [value for value in values.values() if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None
