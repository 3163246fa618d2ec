"""Reports of folders that hold what runs leave, made up so that every number is known."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cloudkit.errors import UserError
from cloudkit.files import digest, write_json, write_text
from prior_ablation.report import check_reference, render, summarize, write
from prior_ablation.runs import MEANS, RUN, SCORES, THICKNESS

IMAGES = {
    1: [str(10 * number) for number in range(12)],
    2: [str(10 * number) for number in range(12, 24)],
}  # each in its own block


def fake_run(
    out: Path,
    arm: str,
    fold: int,
    scores: Mapping[str, float],
    *,
    seed: int = 1,
    prior: str | None = None,
    epochs_done: int = 4,
    scored: bool = True,
    thickness: Mapping[str, Any] | None = None,
) -> Path:
    """Write the files of a run: PSNR as given, 20 dB for the input, SSIM a hundredth of PSNR."""
    folder = out / f"fold-{fold}" / f"{arm}-{seed}"
    write_json(folder / RUN, {"arm": arm, "fold": fold, "seed": seed, "prior": prior})
    write_json(
        folder / "options.json", {"epochs_inversion": 0, "epochs_frozen": 4, "epochs_tunable": 0}
    )
    write_json(
        folder / "history.json", [{"phase": 1, "epoch": epochs_done, "step": 10 * epochs_done}]
    )
    write_text(folder / "best.pt", "")
    made_from = {"weights": digest(folder / "best.pt")}
    if scored:
        lines = ["name,input_psnr,input_ssim,restored_psnr,restored_ssim"]
        lines += [f"{name},20.0,0.5,{value},{value / 100}" for name, value in scores.items()]
        write_text(folder / SCORES, "\n".join(lines))
        write_json(folder / MEANS, made_from)
    if thickness is not None:
        write_json(folder / THICKNESS, {**made_from, **thickness})
    return folder


def around(fold: int, centre: float, spread: float = 0.0) -> dict[str, float]:
    """A PSNR for each image of a fold, higher and lower in turn."""
    return {
        name: centre + (spread if index % 2 else -spread) for index, name in enumerate(IMAGES[fold])
    }


def two_folds(
    out: Path, arm: str, centres: tuple[float, float], spread: float = 0.0, **more: Any
) -> None:
    for fold, centre in enumerate(centres, start=1):
        fake_run(out, arm, fold, around(fold, centre, spread), **more)


def between(report: Mapping[str, Any], arm: str, against: str) -> Mapping[str, Any]:
    (found,) = [
        found
        for found in report["differences"]
        if (found["arm"], found["against"]) == (arm, against)
    ]
    return found


def test_arms_and_their_differences(tmp_path: Path) -> None:
    two_folds(tmp_path, "untrained-frozen", (25.0, 27.0))
    two_folds(tmp_path, "trained-frozen-500", (26.0, 28.5), 0.2, prior="a")
    two_folds(tmp_path, "no-prior", (25.0, 27.0), 3.0)
    two_folds(tmp_path, "unet", (24.5, 26.5), 0.1)
    report = summarize(tmp_path, "untrained-frozen")
    assert list(report["arms"]) == ["no-prior", "untrained-frozen", "trained-frozen-500", "unet"]
    assert (report["runs"], report["folds"], report["seeds"], report["unfinished"]) == (
        8,
        [1, 2],
        [1],
        [],
    )
    assert (report["input"]["psnr"]["mean"], report["input"]["psnr"]["images"]) == (20.0, 24)
    arm = report["arms"]["trained-frozen-500"]
    assert (arm["runs"], arm["steps"], arm["psnr"]["images"], arm["psnr"]["blocks"]) == (
        2,
        [40],
        24,
        24,
    )
    assert (arm["psnr"]["mean"], arm["ssim"]["mean"]) == pytest.approx((27.25, 0.2725))
    assert arm["psnr"]["low"] < 27.25 < arm["psnr"]["high"]

    trained = between(report, "trained-frozen-500", "untrained-frozen")
    assert (trained["psnr"]["mean"], trained["psnr"]["verdict"], trained["ssim"]["verdict"]) == (
        pytest.approx(1.25),
        "helps",
        "helps",
    )
    assert trained["psnr"]["by_fold"] == pytest.approx({"1": 1.0, "2": 1.5})
    assert trained["psnr"]["by_seed"] == pytest.approx({"1": 1.25})
    assert between(report, "unet", "untrained-frozen")["psnr"]["verdict"] == "harms"
    assert between(report, "no-prior", "untrained-frozen")["psnr"]["verdict"] == "not resolved"
    assert between(report, "trained-frozen-500", "no-prior")["psnr"]["mean"] == pytest.approx(
        1.25
    )  # a comparison of the paper


def test_blocks_of_neighbours_count_once(tmp_path: Path) -> None:
    names = [str(number) for number in range(40)]
    for arm, gain in (("untrained-frozen", 0.0), ("trained-tunable", 1.0)):
        fake_run(tmp_path, arm, 1, {name: 25 + gain * int(name) for name in names[:25]})
        fake_run(tmp_path, arm, 2, {name: 25 + gain * int(name) for name in names[25:]})
    found = between(summarize(tmp_path, "untrained-frozen"), "trained-tunable", "untrained-frozen")[
        "psnr"
    ]
    assert (found["images"], found["blocks"]) == (40, 5)  # 0-9, 10-19, 20-24 | 25-29, 30-39


def test_seeds_are_averaged_before_images_are_drawn(tmp_path: Path) -> None:
    for seed, gain in ((1, 0.5), (2, -0.5)):
        two_folds(tmp_path, "untrained-frozen", (25.0, 27.0), seed=seed)
        two_folds(tmp_path, "trained-tunable", (25.2 + gain, 27.2 + gain), seed=seed)
    two_folds(tmp_path, "trained-tunable", (40.0, 40.0), seed=3)  # the reference has no such seed
    found = between(summarize(tmp_path, "untrained-frozen"), "trained-tunable", "untrained-frozen")[
        "psnr"
    ]
    assert (found["mean"], found["images"], found["verdict"]) == (pytest.approx(0.2), 24, "helps")
    assert found["by_seed"] == pytest.approx({"1": 0.7, "2": -0.3})


def test_only_what_both_arms_have_is_compared(tmp_path: Path) -> None:
    two_folds(tmp_path, "untrained-frozen", (25.0, 27.0))
    fake_run(tmp_path, "trained-tunable", 2, around(2, 28.0))
    fake_run(tmp_path, "trained-tunable", 1, {}, epochs_done=3)
    fake_run(tmp_path, "unet", 1, {}, scored=False)
    report = summarize(tmp_path, "untrained-frozen")
    assert between(report, "trained-tunable", "untrained-frozen")["psnr"]["mean"] == pytest.approx(
        1.0
    )
    assert report["unfinished"] == ["trained-tunable of fold 1, seed 1", "unet of fold 1, seed 1"]
    assert list(report["arms"]) == ["untrained-frozen", "trained-tunable"]
    assert "Not finished, so left out: trained-tunable of fold 1, seed 1; unet" in render(report)


def test_arms_of_other_folds_are_not_compared(tmp_path: Path) -> None:
    fake_run(tmp_path, "untrained-frozen", 1, around(1, 25.0))
    fake_run(tmp_path, "unet", 2, around(2, 25.0))
    assert summarize(tmp_path, "untrained-frozen")["differences"] == []


def test_the_paper_compares_the_prior_that_is_tuned(tmp_path: Path) -> None:
    for label, prior in (("500", "short"), ("20000", "long")):
        two_folds(tmp_path, f"trained-frozen-{label}", (26.0, 26.0), prior=prior)
    two_folds(tmp_path, "trained-then-tunable", (27.0, 27.0), prior="short")
    pairs = [
        (found["arm"], found["against"]) for found in summarize(tmp_path, "no-prior")["differences"]
    ]
    assert pairs == [("trained-then-tunable", "trained-frozen-500")]
    report = summarize(tmp_path, "trained-frozen")  # of that kind
    assert report["reference"] == "trained-frozen-500"
    assert between(report, "trained-frozen-20000", "trained-frozen-500")["psnr"]["mean"] == 0


@pytest.mark.parametrize("content", ['{"weights": ', "[]", '{"weights": null}'])
def test_scores_that_do_not_name_the_weights_are_left_out(tmp_path: Path, content: str) -> None:
    two_folds(tmp_path, "no-prior", (25.0, 27.0))
    write_text(tmp_path / "fold-1" / "no-prior-1" / MEANS, content)
    assert summarize(tmp_path, "no-prior")["unfinished"] == ["no-prior of fold 1, seed 1"]


@pytest.mark.parametrize("name", [RUN, "options.json", "history.json"])
def test_a_damaged_run_is_named(tmp_path: Path, name: str) -> None:
    damaged = fake_run(tmp_path, "no-prior", 1, around(1, 25.0)) / name
    write_text(damaged, '{"arm": ')
    with pytest.raises(UserError, match=rf"{name} cannot be read \(.*; remove the folder"):
        summarize(tmp_path, "no-prior")


def test_other_images_under_one_name(tmp_path: Path) -> None:
    two_folds(tmp_path, "no-prior", (25.0, 27.0))
    folder = fake_run(tmp_path, "unet", 1, around(1, 25.0))
    write_text(folder / SCORES, (folder / SCORES).read_text().replace("20,20.0", "20,20.1"))
    values = r"20\.0000 dB for no-prior and 20\.1000 dB for unet in fold 1"
    with pytest.raises(UserError, match=f"the cloudy image 20 has {values}"):
        summarize(tmp_path, "untrained-frozen")


def test_nothing_to_report(tmp_path: Path) -> None:
    fake_run(tmp_path, "unet", 1, {}, scored=False)
    with pytest.raises(
        UserError,
        match=r"holds no finished run to report; start the ablation without --report-only",
    ):
        summarize(tmp_path, "untrained-frozen")


def test_thickness_within_and_between_images(tmp_path: Path) -> None:
    """Within is a mean over images with an interval, between a mean over runs."""
    for fold, between in ((1, 0.8), (2, 0.6)):
        even = {"within": dict.fromkeys(IMAGES[fold], 0.0), "between": between}
        steep = {"within": dict.fromkeys(IMAGES[fold], 0.1 * fold), "between": -between}
        tuning = {"before": even, "after": steep}
        fake_run(tmp_path, "trained-tunable", fold, around(fold, 25.0), thickness=tuning)
    found = summarize(tmp_path, "unet")["sight"]["trained-tunable"]
    assert found["before"]["between"] == pytest.approx(0.7)
    assert found["after"]["between_by_run"] == [-0.8, -0.6]
    assert (found["before"]["within"]["mean"], found["before"]["within"]["low"]) == (0, 0)
    assert found["after"]["within"]["mean"] == pytest.approx(0.15)
    assert found["after"]["within"]["images"] == 24


def test_what_people_read(tmp_path: Path) -> None:
    same = {"within": {"0": 1.0}, "between": 1.0}
    two_folds(tmp_path, "untrained-frozen", (25.0, 27.0))
    two_folds(
        tmp_path,
        "trained-tunable",
        (26.0, 28.5),
        thickness={"before": same, "after": same},
    )
    report = summarize(tmp_path, "untrained-frozen")
    text = write(tmp_path, report)
    assert (tmp_path / "ablation.md").read_text(encoding="utf-8") == text
    assert json.loads((tmp_path / "ablation.json").read_text()) == report
    squeezed = re.sub(" +", " ", text)  # without the padding of the columns
    row = next(
        line
        for line in squeezed.splitlines()
        if line.startswith("| trained-tunable | untrained-frozen |")
    )
    assert row.startswith("| trained-tunable | untrained-frozen | +1.25 [+1.")
    assert row.endswith("| helps | 1: +1.00, 2: +1.50 | 1: +1.25 |")
    assert "| cloudy input | | | | 20.00 [20.00, 20.00] | 0.5000 [0.5000, 0.5000] |" in squeezed
    assert "| trained-tunable | 1.000 | 1.000 | 1.000 | 1.000 |" in squeezed
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1
    for said in (
        "not resolved",
        "blocks of ten",
        "what another seed would have changed is not in it",
        "not calibrated",
    ):
        assert said in " ".join(text.split())


def test_the_reference_is_an_arm() -> None:
    check_reference("unet", ["unet", "no-prior"])
    check_reference("trained-frozen", ["trained-frozen-500"])
    with pytest.raises(
        UserError, match=r"--reference is unte, expected one of the arms: unet, no-prior\."
    ):
        check_reference("unte", ["unet", "no-prior"])
