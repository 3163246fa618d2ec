"""ThiefCloud/test.py, run as its user runs it."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from cloudkit.imaging.images import read_unit, write_image
from cloudkit.scoring.protocols import PROTOCOLS
from cloudkit.scoring.results import GROUPS
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
from thiefcloud import UNet
from thiefcloud.baselines.dark_channel import remove_haze

NAMES = ["0", "10", "20"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs", 3, height=19, width=26)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(pairs: Path, out: Path, *arguments: object) -> int:
    """Run the script on a folder of pairs. Returns its exit status."""
    data = ("--dataset", "folder", "--root", pairs, "--device", "cpu")
    return run_script(TEST, *data, *arguments, "--out", out)


def reference(image: Tensor, clear: Tensor) -> list[float]:
    """Return PSNR, SSIM and Gaussian SSIM by scikit-image."""
    x, y = image.permute(1, 2, 0).double().numpy(), clear.permute(1, 2, 0).double().numpy()
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return [
        peak_signal_noise_ratio(y, x, data_range=1),
        structural_similarity(y, x, channel_axis=-1, data_range=1),
        structural_similarity(y, x, channel_axis=-1, data_range=1, **gaussian),
    ]


def means(rows: list[list[float]]) -> dict[str, object]:
    psnr, ssim, gaussian = np.mean(rows, 0)
    expected = {"psnr": psnr, "ssim": ssim, "ssim_gaussian": gaussian}
    return {name: pytest.approx(float(value), abs=1e-4) for name, value in expected.items()}


def read(out: Path) -> tuple[dict, list[dict[str, str]]]:
    with (out / "metrics.csv").open(newline="") as file:
        return json.loads((out / "metrics.json").read_text()), list(csv.DictReader(file))


def read_pair(pairs: Path, name: str) -> tuple[Tensor, Tensor]:
    return read_unit(pairs / "cloudy" / f"{name}.png"), read_unit(pairs / "clear" / f"{name}.png")


def assert_8_bits(found: Tensor, expected: Tensor) -> None:
    """Assert that an image was read from an 8-bit file of another."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0.51 / 255)


def test_scores_pictures_and_files(
    pairs: Path, checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pairs, out, "--checkpoint", checkpoint, "--panels", 2) == 0
    model = thiefcloud.load(checkpoint)
    before, after = [], []
    for name in NAMES:
        cloudy, clear = read_pair(pairs, name)
        restored = thiefcloud.restore(model, cloudy)
        before.append(reference(cloudy, clear))
        after.append(reference(restored, clear))
        assert_8_bits(read_unit(out / "restored" / f"{name}.png"), restored)

    metrics, rows = read(out)
    assert (metrics["protocol"], metrics["count"]) == ("plain", 3)
    assert (metrics["dataset"], metrics["method"]) == ("folder", str(checkpoint))
    assert metrics["input"] == means(before)
    assert metrics["restored"] == means(after)

    low, high = metrics["interval"]["restored"]["psnr"]
    assert low < metrics["restored"]["psnr"] < high
    assert [metrics["groups"][title]["count"] for title in GROUPS] == [1, 1, 1]

    assert [row["name"] for row in rows] == NAMES
    for row, scores in zip(rows, np.concatenate((before, after), 1), strict=True):
        assert [float(value) for value in list(row.values())[1:]] == pytest.approx(scores, abs=2e-5)
    columns = [f"{side}_{metric}" for side in ("input", "restored") for metric in metrics["input"]]
    assert list(rows[0]) == ["name", *columns]

    assert sorted(path.name for path in (out / "panels").iterdir()) == ["0.png", "10.png"]
    panel, (cloudy, clear) = read_unit(out / "panels" / "0.png"), read_pair(pairs, "0")
    torch.testing.assert_close(panel[:, -19:, :26], cloudy)
    torch.testing.assert_close(panel[:, -19:, -26:], clear)
    table = capsys.readouterr().out
    assert f"{np.mean(after, 0)[0]:.2f}" in table
    assert "all: 3" in table


def test_images_that_another_method_restored(pairs: Path, tmp_path: Path, out: Path) -> None:
    rows = []
    for seed, name in enumerate(NAMES):
        path = tmp_path / "other" / f"{name}.tif"
        write_image(path, noise(seed + 50, height=19, width=26), bits=16)
        rows.append(reference(read_unit(path), read_pair(pairs, name)[1]))

    assert run(pairs, out, "--restored", tmp_path / "other", "--panels", -1) == 0
    assert read(out)[0]["restored"] == means(rows)
    assert not (out / "restored").exists()
    assert len(list((out / "panels").iterdir())) == 3


def test_the_dark_channel_prior(pairs: Path, out: Path) -> None:
    image = read_unit(pairs / "cloudy" / "20.png")
    image[:, 8:10, 8:10] = 0  # so dark in its haze that the restored values leave [0, 1]
    write_image(pairs / "cloudy" / "20.png", image)
    assert run(pairs, out, "--baseline", "dark-channel") == 0

    rows = []
    for name in NAMES:
        cloudy, clear = read_pair(pairs, name)
        restored, thickness = remove_haze(cloudy)
        rows.append(reference(restored, clear))
        assert_8_bits(read_unit(out / "restored" / f"{name}.png"), restored)
        panel = read_unit(out / "panels" / f"{name}.png")
        # the map is right of the cloudy image and a gap
        assert_8_bits(panel[:, -19:, 30:56], thickness.expand(3, -1, -1))

    metrics = read(out)[0]
    assert metrics["method"] == "dark channel prior"
    assert metrics["restored"] == means(rows)

    method = ("--baseline", "dark-channel", "--method", "DCP")
    assert run(pairs, out, *method, "--protocol", "geocr") == 0
    plain, raw = read(out)[0]
    assert plain["method"] == "DCP"
    # values outside [0, 1] reach a protocol that does not clamp
    assert raw["restored"]["psnr"] != pytest.approx(plain["restored"]["psnr"], abs=1e-3)


def test_a_network_without_prior_has_no_thickness_to_show(
    pairs: Path, tmp_path: Path, out: Path
) -> None:
    model = UNet(residual=True)
    save_checkpoint(tmp_path / "unet.pt", model.kind, model.config, {"model": model.state_dict()})
    assert run(pairs, out, "--checkpoint", tmp_path / "unet.pt", "--panels", 1) == 0
    panel, (cloudy, _) = read_unit(out / "panels" / "0.png"), read_pair(pairs, "0")
    assert panel.shape[2] == 3 * 26 + 2 * 4
    # an untrained residual network adds nothing
    torch.testing.assert_close(panel[:, -19:, 30:56], cloudy)


def test_restored_images_may_carry_their_role_in_the_name(
    pairs: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "other").mkdir()
    for path in (pairs / "clear").iterdir():
        shutil.copy(path, tmp_path / "other" / f"{path.stem}-inputs{path.suffix}")
    assert run(pairs, out, "--restored", tmp_path / "other") == 0
    assert read(out)[0]["restored"]["psnr_infinite"] == 3


def test_an_infinite_psnr_is_null_and_counted_apart(
    pairs: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pairs, out, "--restored", pairs / "clear") == 0
    metrics, rows = read(out)
    expected = {"psnr": None, "ssim": 1.0, "ssim_gaussian": 1.0, "psnr_infinite": 3}
    assert metrics["restored"] == expected
    assert "psnr_infinite" not in metrics["input"]
    assert [row["restored_psnr"] for row in rows] == ["inf"] * 3
    assert "inf" in capsys.readouterr().out


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
    pairs: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pairs, out, "--restored", pairs / "clear", "--protocol", "all") == 0
    protocols = [summary["protocol"] for summary in read(out)[0]]
    assert protocols == [name for name in PROTOCOLS if name != "rsdformer"]
    assert "without rsdformer, which cannot score every image: 0: " in capsys.readouterr().out


def test_only_the_images_of_a_list_are_scored(pairs: Path, tmp_path: Path, out: Path) -> None:
    split = listed(tmp_path, "20", "0")
    assert run(pairs, out, "--restored", pairs / "cloudy", "--split", split) == 0
    assert [row["name"] for row in read(out)[1]] == ["20", "0"]


def test_with_and_without_duplicates_of_training_images(
    pairs: Path, tmp_path: Path, out: Path
) -> None:
    duplicates = listed(tmp_path, "10", "7")
    assert run(pairs, out, "--restored", pairs / "cloudy", "--duplicates", duplicates) == 0
    metrics, rows = read(out)
    assert metrics["count"] == 3
    clean = metrics["without_duplicates"]
    assert clean["count"] == 2
    others = [float(row["restored_psnr"]) for row in rows if row["name"] != "10"]
    assert clean["restored"]["psnr"] == pytest.approx(np.mean(others), abs=1e-5)


def test_against_another_run(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(NAMES):
        better = read_pair(pairs, name)[1] + 0.05 * noise(seed, height=19, width=26)
        write_image(tmp_path / "better" / f"{name}.png", better.clamp(0, 1))
    assert run(pairs, tmp_path / "one", "--restored", pairs / "cloudy") == 0

    method = ("--restored", tmp_path / "better", "--versus", tmp_path / "one" / "metrics.csv")
    assert run(pairs, tmp_path / "two", *method) == 0

    found = json.loads((tmp_path / "two" / "versus.json").read_text())
    gains = []
    for ours, theirs in zip(read(tmp_path / "two")[1], read(tmp_path / "one")[1], strict=True):
        gains.append(float(ours["restored_psnr"]) - float(theirs["restored_psnr"]))

    assert found["psnr"]["difference"] == pytest.approx(np.mean(gains), abs=1e-5)
    assert found["psnr"]["low"] > 0
    assert f"psnr: +{np.mean(gains):.2f}" in capsys.readouterr().out

    # other images under the names of the other run
    write_images(pairs / "cloudy", ["0.png"], height=19, width=26)
    assert run(pairs, tmp_path / "two", *method) == 2
    parts = ("for the cloudy input 0, here it is", "Score both methods on the same files")
    assert_one_error(capsys.readouterr().err, *parts)


def test_simulated_clouds_are_the_same_every_time(checkpoint: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "chips" / "test", ["a.png", "b.png"])
    write_images(tmp_path / "chips" / "train", ["c.png"])
    common = ("--root", tmp_path / "chips", "--checkpoint", checkpoint, "--device", "cpu")
    for out in ("one", "other"):
        assert run_script(TEST, *common, "--out", tmp_path / out) == 0
    assert read(tmp_path / "one") == read(tmp_path / "other")
    assert [row["name"] for row in read(tmp_path / "one")[1]] == ["a", "b"]


def test_flips_change_the_scored_images(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    plain, flips = tmp_path / "plain", tmp_path / "flips"
    assert run(pairs, plain, "--checkpoint", checkpoint) == 0
    assert run(pairs, flips, "--checkpoint", checkpoint, "--flips") == 0
    model, (cloudy, _) = thiefcloud.load(checkpoint), read_pair(pairs, "10")
    expected = thiefcloud.restore(model, cloudy, flips=True)
    assert_8_bits(read_unit(flips / "restored" / "10.png"), expected)
    assert (plain / "metrics.csv").read_bytes() != (flips / "metrics.csv").read_bytes()


def test_options_that_contradict(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, part in (
        (["--method", "untouched input"], "is the name of the cloudy images"),
        (["--baseline", "dark-channel", "--restored", tmp_path], "score one at a time"),
        (["--flips", "--restored", tmp_path], "--flips is for networks"),
        (["--dataset", "clear", "--root", pairs, "--out", pairs / "scores"], "lies inside"),
    ):
        assert run_script(TEST, *arguments) == 2
        assert part in squeezed(capsys.readouterr().err)

    assert run(pairs, pairs / "clear" / "scores", "--restored", pairs / "clear") == 2
    assert_one_error(capsys.readouterr().err, "lies inside", "choose another")


def test_mistakes_are_one_line(
    pairs: Path,
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
    missing = "holds no restored image for 1 of 3 test images (20, ...); expected 20.png"
    for option, value, part in (
        ("--restored", tmp_path / "some", missing),
        ("--restored", tmp_path / "sizes", "0.png is 16x16 and the clear image 0 is 19x26 pixels"),
        ("--restored", tmp_path / "absent", "absent does not exist"),
        ("--root", tmp_path / "train only", "there is no image for test"),
        ("--root", small, "10 cannot be scored: it is 10x16 pixels, expected at least 11x11"),
        (
            "--protocol",
            "rsdformer",
            "0 cannot be scored: it is 19x26 pixels, expected at least 139",
        ),
        ("--split", tmp_path / "absent.txt", "absent.txt cannot be read as a list of names"),
        ("--duplicates", listed(tmp_path, "77"), "names no image that is there"),
        ("--versus", pairs / "clear" / "0.png", "0.png cannot be read as metrics.csv"),
        ("--checkpoint", prior, "prior.pt holds the network 'scpm', expected 'thiefcloud'"),
        ("--checkpoint", tmp_path / "absent.pt", "ThiefCloud/train.py trains ThiefCloud"),
    ):
        assert run(pairs, out, "--checkpoint", checkpoint, option, value) == 2
        assert_one_error(capsys.readouterr().err, part)
        assert not (out / "metrics.json").exists()
