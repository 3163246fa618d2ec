import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.scenes import Scene
from cloudkit.scoring.results import GROUPS, Collector, ImageScores, read_scores, summarise, versus, write_scores
from tests.helpers import noise


def row(name: str, before: float, after: float) -> ImageScores:
    """Scores of an image; SSIM follows PSNR."""
    return ImageScores(name, *({"plain": {"psnr": value, "ssim": min(value, 100) / 100}} for value in (before, after)))


ROWS = [row("a", 12.0, 20.0), row("b", 10.0, 30.0), row("c", 11.0, 40.0), row("d", math.inf, math.inf)]


def test_means_leave_infinite_values_out_and_count_them() -> None:
    (summary,) = summarise(ROWS)
    assert summary["count"] == 4
    assert summary["input"] == {"psnr": 11.0, "ssim": pytest.approx((0.12 + 0.10 + 0.11 + 1) / 4), "psnr_infinite": 1}
    assert summary["restored"]["psnr"] == 30.0
    assert summary["interval"]["restored"]["psnr"][0] == 20.0  # of three values the lowest possible mean is among the 2.5 %
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


def test_means_without_what_training_has_seen() -> None:
    (summary,) = summarise(ROWS[:3], duplicates=["a", "x"], about={"method": "ours"})
    assert summary["without_duplicates"]["count"] == 2
    assert summary["without_duplicates"]["restored"]["psnr"] == 35.0
    assert summary["restored"]["psnr"] == 30.0
    assert summary["method"] == "ours"
    assert summarise(ROWS[:1], duplicates=["a"])[0]["without_duplicates"] == {"count": 0, "input": {}, "restored": {}}


def test_files(tmp_path: Path) -> None:
    rows = [
        ImageScores(name, *({"plain": {"psnr": p, "ssim": 0.5}, "sui": {"psnr": p + 1, "ssim": 0.6}} for p in (20.0, 30.0)))
        for name in ("a", "b")
    ]
    write_scores(tmp_path, summarise(rows, ("plain", "sui")), rows)
    assert [summary["protocol"] for summary in json.loads((tmp_path / "metrics.json").read_text())] == ["plain", "sui"]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    plain = ["input_psnr", "input_ssim", "restored_psnr", "restored_ssim"]
    assert lines[0] == ["name", *plain, *(f"sui_{column}" for column in plain)]
    assert lines[1] == ["a", "20.0", "0.5", "30.0", "0.5", "21.0", "0.6", "31.0", "0.6"]
    assert read_scores(tmp_path / "metrics.csv")["b"]["restored_psnr"] == 30.0
    write_scores(tmp_path, summarise(ROWS), ROWS)
    assert json.loads((tmp_path / "metrics.json").read_text())["protocol"] == "plain"  # an object, no list, for plain alone
    assert read_scores(tmp_path / "metrics.csv")["d"]["restored_psnr"] == math.inf


def test_differences_from_another_run() -> None:
    other = {
        name: {"input_psnr": p, "restored_psnr": q} for name, p, q in (("a", 12.0, 18.0), ("b", 10.0, 29.0), ("x", 1.0, 1.0))
    }
    found = versus(ROWS, Path("metrics.csv"), other)
    assert found["count"] == 2
    assert found["psnr"] == {"difference": 1.5, "low": 1.0, "high": 2.0, "count": 2}
    assert "ssim" not in found  # the other run lacks it
    other["d"] = {"input_psnr": math.inf, "restored_psnr": 50.0}
    assert versus(ROWS, Path("metrics.csv"), other)["psnr"]["count"] == 2


def test_no_difference_from_itself(tmp_path: Path) -> None:
    rows = [ImageScores(name, *({"plain": {"psnr": 20 + value / 3}} for _ in range(2))) for name, value in (("a", 1), ("b", 2))]
    write_scores(tmp_path, summarise(rows), rows)
    found = versus(rows, tmp_path / "metrics.csv", read_scores(tmp_path / "metrics.csv"))
    assert found["psnr"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "count": 2}


def test_other_images_do_not_compare() -> None:
    with pytest.raises(UserError, match=r"m\.csv has 13.0000 dB for the cloudy input a, here it is 12.0000"):
        versus(ROWS, Path("m.csv"), {"a": {"input_psnr": 13.0, "restored_psnr": 18.0}})
    with pytest.raises(UserError, match=r"no image of the name of one here \(a, ...\)"):
        versus(ROWS, Path("m.csv"), {"x": {"input_psnr": 13.0, "restored_psnr": 18.0}})


@pytest.mark.parametrize(
    "content", ["", "name,input_psnr\n", "a,b\n1,2\n", "name,input_psnr\na,x\n", "name,b\na,2\n", "name,b\na\n"]
)
def test_no_scores(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(UserError, match=r"m\.csv .*metrics\.csv of test\.py"):
        read_scores(tmp_path / "m.csv")
    with pytest.raises(UserError, match=r"absent\.csv cannot be read"):
        read_scores(tmp_path / "absent.csv")


def scene(name: str, seed: int = 0, size: int = 16) -> Scene:
    return Scene(name, noise(seed, height=size, width=size), noise(seed + 1, height=size, width=size))


def test_the_network_s_raw_output_reaches_protocols_that_do_not_clamp() -> None:
    collector = Collector(["geocr"])
    row = collector.add(scene("a"), 1.5 * torch.ones(3, 16, 16))
    clear = scene("a").truth.double().numpy()
    assert row.restored["geocr"]["psnr"] == pytest.approx(-10 * np.log10(np.mean((1.5 - clear) ** 2)))
    assert row.restored["plain"]["psnr"] == pytest.approx(-10 * np.log10(np.mean((1 - clear) ** 2)))
    assert collector.protocols == ["plain", "geocr"]


def test_measures_stand_with_plain_and_see_clamped_values() -> None:
    row = Collector(measures=["mae"]).add(scene("a"), 1.5 * torch.ones(3, 16, 16))
    assert row.restored["plain"]["mae"] == pytest.approx(float((1 - scene("a").truth).mean()))
    assert list(row.restored) == ["plain"]


def test_all_protocols_but_those_that_cannot_score_an_image() -> None:
    collector = Collector(None)
    collector.add(scene("large", size=140), noise(3, height=140, width=140))
    assert len(collector.protocols) == 8
    row = collector.add(scene("small"), noise(3))
    assert "rsdformer" not in collector.protocols
    assert "rsdformer" not in row.restored
    assert collector.left_out["rsdformer"].startswith("small: the protocol rsdformer cannot score 16x16")
    assert "rsdformer" not in [summary["protocol"] for summary in summarise(collector.rows, collector.protocols)]
    with pytest.raises(UserError, match="small cannot be scored: the protocol rsdformer"):
        Collector(["rsdformer"]).add(scene("small"), noise(3))
    with pytest.raises(UserError, match=r"a cannot be scored: .* 9x9"):
        Collector(None).add(scene("a", size=9), noise(3, height=9, width=9))


@pytest.mark.parametrize("small", [0, 1, 2])
def test_shares_of_two_processes_are_gathered_as_if_one_had_scored_all(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    scenes = [scene(f"{n}", n, size=16 if n in (small, 3) else 140) for n in range(5)]
    alone, *shares = (Collector(None, ["mae"]) for _ in range(3))
    for number, each in enumerate(scenes):
        for collector in (alone, shares[number % 2]):
            collector.add(each, each.truth)
    parts = [list(share._records) for share in shares]
    monkeypatch.setattr(dist, "all_gather_object", lambda gathered, mine: gathered.__setitem__(slice(None), parts))
    for rank, share in enumerate(shares):
        share.gather(World(rank, 2, torch.device("cpu")))
        assert share.protocols == alone.protocols
        assert [row.name for row in share.rows] == [row.name for row in alone.rows]
        assert list(share.left_out.items()) == list(alone.left_out.items())
        assert share.images == alone.images
        assert summarise(share.rows, share.protocols) == summarise(alone.rows, alone.protocols)
    assert list(alone.left_out) == ["rsdformer"]
    assert alone.left_out["rsdformer"].startswith(f"{small}: ")


def test_the_digest_knows_the_images_not_their_order_or_what_was_restored() -> None:
    def digest(*scenes: Scene, restored: int = 5) -> str:
        collector = Collector()
        for each in scenes:
            collector.add(each, noise(restored))
        return collector.images

    one = digest(scene("a"), scene("b", 7))
    assert digest(scene("b", 7), scene("a"), restored=9) == one
    assert digest(scene("a"), scene("b", 8)) != one
    assert digest(scene("a"), scene("c", 7)) != one
    assert digest(scene("a")) != one
