import csv
import json
import math
from pathlib import Path

import pytest

from cloudkit.errors import UserError
from trainkit.scoring.collector import ImageScores
from trainkit.scoring.results import GROUPS, read_scores, summarise, versus, write_scores
from trainkit.scoring.tables import mean_table, metric_lines


def row(name: str, before: float, after: float) -> ImageScores:
    """Return scores of an image; SSIM follows PSNR."""
    first = {"psnr": before, "ssim": min(before, 100) / 100}
    second = {"psnr": after, "ssim": min(after, 100) / 100}
    return ImageScores(name, {"plain": first}, {"plain": second})


ROWS = [
    row("a", 12.0, 20.0),
    row("b", 10.0, 30.0),
    row("c", 11.0, 40.0),
    row("d", math.inf, math.inf),
]


def test_means_leave_infinite_values_out_and_count_them() -> None:
    (summary,) = summarise(ROWS)
    assert summary["count"] == 4
    assert summary["input"] == {
        "psnr": 11.0,
        "ssim": pytest.approx((0.12 + 0.10 + 0.11 + 1) / 4),
        "psnr_infinite": 1,
    }
    assert summary["restored"]["psnr"] == 30.0
    # the lowest possible mean of three values is among the lowest 2.5 %
    assert summary["interval"]["restored"]["psnr"][0] == 20.0
    assert "psnr_infinite" not in summarise(ROWS[:3])[0]["input"]

    (nothing,) = summarise(ROWS[3:])
    assert nothing["input"]["psnr"] is None
    assert nothing["interval"]["input"]["psnr"] is None
    assert "groups" not in nothing


def test_groups_are_by_the_cloudiness_of_the_input() -> None:
    groups = summarise(ROWS)[0]["groups"]
    assert list(groups) == list(GROUPS)
    assert [groups[title]["count"] for title in GROUPS] == [2, 1, 1]
    assert groups["cloudiest third"]["restored"]["psnr"] == 35.0  # b and c
    assert groups["clearest third"]["restored"]["psnr_infinite"] == 1


def test_means_without_duplicates_of_training_images() -> None:
    (summary,) = summarise(ROWS[:3], duplicates=["a", "x"], about={"method": "ours"})
    assert summary["without_duplicates"]["count"] == 2
    assert summary["without_duplicates"]["restored"]["psnr"] == 35.0
    assert summary["restored"]["psnr"] == 30.0
    assert summary["method"] == "ours"
    (nothing,) = summarise(ROWS[:1], duplicates=["a"])
    assert nothing["without_duplicates"] == {"count": 0, "input": {}, "restored": {}}


def test_files(tmp_path: Path) -> None:
    before = {"plain": {"psnr": 20.0, "ssim": 0.5}, "sui": {"psnr": 21.0, "ssim": 0.6}}
    after = {"plain": {"psnr": 30.0, "ssim": 0.5}, "sui": {"psnr": 31.0, "ssim": 0.6}}
    rows = [ImageScores(name, before, after) for name in ("a", "b")]
    write_scores(tmp_path, summarise(rows, ("plain", "sui")), rows)
    summaries = json.loads((tmp_path / "metrics.json").read_text())
    assert [summary["protocol"] for summary in summaries] == ["plain", "sui"]

    with (tmp_path / "metrics.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    plain = ["input_psnr", "input_ssim", "restored_psnr", "restored_ssim"]
    assert lines[0] == ["name", *plain, *(f"sui_{column}" for column in plain)]
    assert lines[1] == ["a", "20.0", "0.5", "30.0", "0.5", "21.0", "0.6", "31.0", "0.6"]
    assert read_scores(tmp_path / "metrics.csv")["b"]["restored_psnr"] == 30.0


def test_plain_alone_is_an_object(tmp_path: Path) -> None:
    write_scores(tmp_path, summarise(ROWS), ROWS)
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"] == "plain"
    assert read_scores(tmp_path / "metrics.csv")["d"]["restored_psnr"] == math.inf


def test_differences_from_another_run() -> None:
    other = {
        "a": {"input_psnr": 12.0, "restored_psnr": 18.0},
        "b": {"input_psnr": 10.0, "restored_psnr": 29.0},
        "x": {"input_psnr": 1.0, "restored_psnr": 1.0},
    }
    found = versus(ROWS, Path("metrics.csv"), other)
    assert found["count"] == 2
    assert found["psnr"] == {"difference": 1.5, "low": 1.0, "high": 2.0, "count": 2}
    assert "ssim" not in found  # the other run lacks it

    other["d"] = {"input_psnr": math.inf, "restored_psnr": 50.0}
    assert versus(ROWS, Path("metrics.csv"), other)["psnr"]["count"] == 2


def test_no_difference_from_itself(tmp_path: Path) -> None:
    rows = []
    for name, value in (("a", 20 + 1 / 3), ("b", 20 + 2 / 3)):
        scores = {"plain": {"psnr": value}}
        rows.append(ImageScores(name, scores, scores))
    write_scores(tmp_path, summarise(rows), rows)
    found = versus(rows, tmp_path / "metrics.csv", read_scores(tmp_path / "metrics.csv"))
    assert found["psnr"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "count": 2}


def test_other_images_do_not_compare() -> None:
    scores = {"input_psnr": 13.0, "restored_psnr": 18.0}
    message = r"m\.csv has 13.0000 dB for the cloudy input a, here it is 12.0000"
    with pytest.raises(UserError, match=message):
        versus(ROWS, Path("m.csv"), {"a": scores})
    with pytest.raises(UserError, match=r"no image of the name of one here \(a, ...\)"):
        versus(ROWS, Path("m.csv"), {"x": scores})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "name,input_psnr\n",
        "a,b\n1,2\n",
        "name,input_psnr\na,x\n",
        "name,b\na,2\n",
        "name,b\na\n",
    ],
)
def test_no_scores(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(UserError, match=r"m\.csv .*metrics\.csv of test\.py"):
        read_scores(tmp_path / "m.csv")
    with pytest.raises(UserError, match=r"absent\.csv cannot be read"):
        read_scores(tmp_path / "absent.csv")


def test_tables_show_infinite_and_missing_values() -> None:
    before = {"plain": {"psnr": 20.0, "ssim": 0.5, "ergas": math.inf}}
    after = {"plain": {"psnr": math.inf, "ssim": 1.0, "ergas": 1.5}}
    summaries = summarise([ImageScores(name, before, after) for name in ("a", "b")])
    assert mean_table(summaries).splitlines()[1].split()[:6] == [
        "plain", "all:", "2", "20.00", "0.5000", "-"
    ]  # fmt: skip
    assert metric_lines(summaries[0]) == ["ergas: input -, restored 1.50 [1.50, 1.50]"]
