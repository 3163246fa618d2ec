"""Options of ThiefCloud/test.py: protocols, lists, another run to compare with, and mistakes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloudkit.imaging.images import write_image
from tests.helpers import (
    TEST,
    assert_one_error,
    listed,
    noise,
    run_script,
    squeezed,
    write_images,
    write_pairs,
)
from tests.scripts.scoring import NAMES, read, read_pair, run
from thiefcloud import scoring_options
from trainkit.scoring.protocols import PROTOCOLS


def test_every_protocol_beside_plain(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs", 2, height=140, width=140)
    method = ("--restored", pairs / "cloudy")
    assert run(pairs, out, *method, "--protocol", "thiefcloud", "--measures", "mae", "sam") == 0
    plain, official = read(out)[0]
    assert (plain["protocol"], official["protocol"]) == ("plain", "thiefcloud")

    expected = plain["restored"]["psnr"] + 20 * math.log10(2)
    assert official["restored"]["psnr"] == pytest.approx(expected, abs=1e-9)
    assert list(plain["restored"]) == ["psnr", "ssim", "ssim_gaussian", "mae", "sam"]

    assert run(pairs, out, *method, "--protocol", "all") == 0
    metrics, rows = read(out)
    assert [summary["protocol"] for summary in metrics] == list(PROTOCOLS)
    difference = float(rows[0]["thiefcloud_restored_psnr"]) - float(rows[0]["restored_psnr"])
    assert difference == pytest.approx(6.0206, abs=1e-4)

    table = capsys.readouterr().out
    assert all(f"\n{protocol} " in table for protocol in PROTOCOLS)


def test_all_leaves_out_protocols_that_cannot_score_small_images(
    scenes: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scenes, out, "--restored", scenes / "clear", "--protocol", "all") == 0
    protocols = [summary["protocol"] for summary in read(out)[0]]
    assert protocols == [name for name in PROTOCOLS if name != "rsdformer"]
    assert "without rsdformer, which cannot score every image: 0: " in capsys.readouterr().out


def test_only_the_images_of_a_list_are_scored(scenes: Path, tmp_path: Path, out: Path) -> None:
    split = listed(tmp_path, "20", "0")
    assert run(scenes, out, "--restored", scenes / "cloudy", "--split", split) == 0
    assert [row["name"] for row in read(out)[1]] == ["20", "0"]


def test_with_and_without_duplicates_of_training_images(
    scenes: Path, tmp_path: Path, out: Path
) -> None:
    duplicates = listed(tmp_path, "10", "7")
    assert run(scenes, out, "--restored", scenes / "cloudy", "--duplicates", duplicates) == 0
    metrics, rows = read(out)
    assert metrics["count"] == 3
    clean = metrics["without_duplicates"]
    assert clean["count"] == 2
    others = [float(row["restored_psnr"]) for row in rows if row["name"] != "10"]
    assert clean["restored"]["psnr"] == pytest.approx(np.mean(others), abs=1e-5)


def test_against_another_run(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(NAMES):
        better = read_pair(scenes, name)[1] + 0.05 * noise(seed, height=19, width=26)
        write_image(tmp_path / "better" / f"{name}.png", better.clamp(0, 1))
    assert run(scenes, tmp_path / "one", "--restored", scenes / "cloudy") == 0

    method = ("--restored", tmp_path / "better", "--versus", tmp_path / "one" / "metrics.csv")
    assert run(scenes, tmp_path / "two", *method) == 0

    found = json.loads((tmp_path / "two" / "versus.json").read_text())
    gains = []
    for ours, theirs in zip(read(tmp_path / "two")[1], read(tmp_path / "one")[1], strict=True):
        gains.append(float(ours["restored_psnr"]) - float(theirs["restored_psnr"]))

    assert found["psnr"]["difference"] == pytest.approx(np.mean(gains), abs=1e-5)
    assert found["psnr"]["low"] > 0
    assert f"psnr: +{np.mean(gains):.2f}" in capsys.readouterr().out

    # other images under the names of the other run
    write_images(scenes / "cloudy", ["0.png"], height=19, width=26)
    assert run(scenes, tmp_path / "two", *method) == 2
    parts = ("for the cloudy input 0, here it is", "Score both methods on the same files")
    assert_one_error(capsys.readouterr().err, *parts)


def test_options_that_contradict(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, part in (
        (["--method", "untouched input"], "is the name of the cloudy images"),
        (
            ["--baseline", "dark-channel", "--restored", tmp_path],
            "are two methods; score one at a time",
        ),
        (["--flips", "--restored", tmp_path], "--flips is for networks"),
        (["--fast", "--baseline", "dark-channel"], "--fast is for networks"),
        (["--checkpoint", "rice1", "--baseline", "dark-channel"], "--checkpoint is for networks"),
        (["--checkpoint", "rice1", "--restored", tmp_path], "--checkpoint is for networks"),
        (["--blend", "--baseline", "dark-channel"], "--blend is for networks"),
        (["--dataset", "clear", "--root", scenes, "--out", scenes / "scores"], "lies inside"),
    ):
        assert run_script(TEST, *arguments) == 2
        assert part in squeezed(capsys.readouterr().err)

    assert run(scenes, scenes / "clear" / "scores", "--restored", scenes / "clear") == 2
    assert_one_error(capsys.readouterr().err, "lies inside", "choose another")


def test_mistakes_are_one_line(
    scenes: Path,
    checkpoint: Path,
    prior: Path,
    tmp_path: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path / "some", ["0.png", "10.png"], height=19, width=26)
    write_images(tmp_path / "sizes", ["0.png", "10.png", "20.png"])
    write_images(tmp_path / "train only" / "train" / "cloudy", ["0.png"])
    write_images(tmp_path / "train only" / "train" / "clear", ["0.png"])
    small = write_pairs(tmp_path / "small", 2)
    write_images(small / "cloudy", ["10.png"], height=10)  # the last one
    write_images(small / "clear", ["10.png"], height=10)
    smallest = "it is 19x26 pixels, expected at least 139x139"
    missing = "holds no restored image for 1 of 3 test images (20, ...); expected 20.png"
    for option, value, part in (
        ("--restored", tmp_path / "some", missing),
        ("--restored", tmp_path / "sizes", "0.png is 16x16 and the clear image 0 is 19x26 pixels"),
        ("--restored", tmp_path / "absent", "absent does not exist"),
        ("--root", tmp_path / "train only", "there is no image for test"),
        ("--root", small, "image 10 cannot be scored: it is 10x16 pixels, expected at least 11x11"),
        ("--protocol", "rsdformer", f"image 0 cannot be scored: {smallest}"),
        ("--split", tmp_path / "absent.txt", "absent.txt cannot be read as a list of names"),
        ("--duplicates", listed(tmp_path, "77"), "names no image that is there"),
        ("--versus", scenes / "clear" / "0.png", "0.png cannot be read as metrics.csv"),
        ("--checkpoint", prior, "prior.pt holds the network 'scpm', expected 'thiefcloud'"),
        ("--checkpoint", tmp_path / "absent.pt", "ThiefCloud/train.py trains ThiefCloud"),
    ):
        method = () if option == "--restored" else ("--checkpoint", checkpoint)
        assert run(scenes, out, *method, option, value) == 2
        assert_one_error(capsys.readouterr().err, part)
        assert not (out / "metrics.json").exists()


def test_the_name_of_a_method_tells_all_that_changes_its_scores() -> None:
    """Else compare.py could not tell the runs of one checkpoint apart."""
    general = scoring_options.TestOptions(checkpoint=Path("w.pt"))
    assert general.title == "w.pt"
    assert replace(general, fast=True).title == "w.pt, fast"
    assert replace(general, blend=True).title == "w.pt, blend"
    assert replace(general, fast=True, blend=True, flips=True).title == "w.pt, flips, blend, fast"
    assert replace(general, blend=True, method="Ours").title == "Ours"
