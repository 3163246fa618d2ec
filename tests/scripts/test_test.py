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
from cloudkit.images import read_unit, write_image
from cloudkit.scoring.protocols import PROTOCOLS
from cloudkit.scoring.results import GROUPS
from tests.helpers import TEST, assert_one_error, listed, noise, run_script, squeezed, write_images, write_pairs
from thiefcloud import UNet
from thiefcloud.dark_channel import remove_haze

NAMES = ["0", "10", "20"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs", 3, height=19, width=26)


def reference(image: Tensor, clear: Tensor) -> list[float]:
    """The scores of the issue, by scikit-image."""
    x, y = (t.permute(1, 2, 0).double().numpy() for t in (image, clear))
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return [
        peak_signal_noise_ratio(y, x, data_range=1),
        structural_similarity(y, x, channel_axis=-1, data_range=1),
        structural_similarity(y, x, channel_axis=-1, data_range=1, **gaussian),
    ]


def means(rows: list[list[float]]) -> dict[str, object]:
    return {
        name: pytest.approx(float(value), abs=1e-4)
        for name, value in zip(("psnr", "ssim", "ssim_gaussian"), np.mean(rows, 0), strict=True)
    }


def read(out: Path) -> tuple[dict, list[dict[str, str]]]:
    with (out / "metrics.csv").open(newline="") as file:
        return json.loads((out / "metrics.json").read_text()), list(csv.DictReader(file))


def test_scores_pictures_and_files(pairs: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["--dataset", "folder", "--root", pairs, "--checkpoint", checkpoint, "--device", "cpu", "--panels", 2]
    assert run_script(TEST, *arguments, "--out", out) == 0
    model = thiefcloud.load(checkpoint)
    before, after = [], []
    for name in NAMES:
        cloudy, clear = (read_unit(pairs / kind / f"{name}.png") for kind in ("cloudy", "clear"))
        restored = thiefcloud.restore(model, cloudy)
        before.append(reference(cloudy, clear))
        after.append(reference(restored, clear))
        torch.testing.assert_close(read_unit(out / "restored" / f"{name}.png"), restored, rtol=0, atol=0.51 / 255)
    metrics, rows = read(out)
    assert [metrics[name] for name in ("protocol", "count", "dataset", "method")] == ["plain", 3, "folder", str(checkpoint)]
    assert metrics["input"] == means(before)
    assert metrics["restored"] == means(after)
    low, high = metrics["interval"]["restored"]["psnr"]
    assert low < metrics["restored"]["psnr"] < high
    assert {title: group["count"] for title, group in metrics["groups"].items()} == dict.fromkeys(GROUPS, 1)
    assert [row["name"] for row in rows] == NAMES
    for row, scores in zip(rows, np.concatenate((before, after), 1), strict=True):
        assert [float(value) for value in list(row.values())[1:]] == pytest.approx(scores, abs=2e-5)
    assert list(rows[0]) == ["name", *(f"{kind}_{metric}" for kind in ("input", "restored") for metric in metrics["input"])]
    assert sorted(path.name for path in (out / "panels").iterdir()) == ["0.png", "10.png"]
    panel = read_unit(out / "panels" / "0.png")
    torch.testing.assert_close(panel[:, -19:, :26], read_unit(pairs / "cloudy" / "0.png"))
    torch.testing.assert_close(panel[:, -19:, -26:], read_unit(pairs / "clear" / "0.png"))
    table = capsys.readouterr().out
    assert f"{np.mean(after, 0)[0]:.2f}" in table
    assert "all: 3" in table


def test_images_that_another_method_restored(pairs: Path, tmp_path: Path) -> None:
    rows = []
    for seed, name in enumerate(NAMES):
        image = noise(seed + 50, height=19, width=26)
        write_image(tmp_path / "other" / f"{name}.tif", image, bits=16)
        rows.append(reference(read_unit(tmp_path / "other" / f"{name}.tif"), read_unit(pairs / "clear" / f"{name}.png")))
    out = tmp_path / "out"
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", tmp_path / "other", "--panels", -1, "--out", out]
    assert run_script(TEST, *arguments) == 0
    assert read(out)[0]["restored"] == means(rows)
    assert not (out / "restored").exists()
    assert len(list((out / "panels").iterdir())) == 3


def test_the_dark_channel_prior(pairs: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", []
    image = read_unit(pairs / "cloudy" / "20.png")
    image[:, 8:10, 8:10] = 0  # so dark in its haze that the restored values leave [0, 1]
    write_image(pairs / "cloudy" / "20.png", image)
    arguments = ["--dataset", "folder", "--root", pairs, "--baseline", "dark-channel", "--device", "cpu", "--out", out]
    assert run_script(TEST, *arguments) == 0
    for name in NAMES:
        cloudy, clear = (read_unit(pairs / kind / f"{name}.png") for kind in ("cloudy", "clear"))
        restored, thickness = remove_haze(cloudy)
        rows.append(reference(restored, clear))
        torch.testing.assert_close(read_unit(out / "restored" / f"{name}.png"), restored, rtol=0, atol=0.51 / 255)
        shown = read_unit(out / "panels" / f"{name}.png")[:, -19:, 30:56]  # right of the cloudy image and a gap
        torch.testing.assert_close(shown, thickness.expand(3, -1, -1), rtol=0, atol=0.51 / 255)
    metrics = read(out)[0]
    assert metrics["method"] == "dark channel prior"
    assert metrics["restored"] == means(rows)
    assert run_script(TEST, *arguments, "--method", "DCP", "--protocol", "geocr") == 0
    plain, raw = read(out)[0]
    assert plain["method"] == "DCP"
    assert raw["restored"]["psnr"] != pytest.approx(
        plain["restored"]["psnr"], abs=1e-3
    )  # not clamped for a protocol that does not


def test_a_network_without_prior_has_no_thickness_to_show(pairs: Path, tmp_path: Path) -> None:
    model, out = UNet(residual=True), tmp_path / "out"
    save_checkpoint(tmp_path / "unet.pt", model.kind, model.config, {"model": model.state_dict()})
    arguments = ["--dataset", "folder", "--root", pairs, "--checkpoint", tmp_path / "unet.pt", "--device", "cpu"]
    assert run_script(TEST, *arguments, "--panels", 1, "--out", out) == 0
    panel, cloudy = read_unit(out / "panels" / "0.png"), read_unit(pairs / "cloudy" / "0.png")
    assert panel.shape[2] == 3 * 26 + 2 * 4
    torch.testing.assert_close(panel[:, -19:, 30:56], cloudy)  # restored, by a network that has learnt nothing to add


def test_restored_images_may_carry_their_role_in_the_name(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for path in (pairs / "clear").iterdir():
        shutil.copy(path, tmp_path / "other" / f"{path.stem}-inputs{path.suffix}")
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", tmp_path / "other", "--out", tmp_path / "out"]
    assert run_script(TEST, *arguments) == 0
    assert read(tmp_path / "out")[0]["restored"]["psnr_infinite"] == 3


def test_an_infinite_psnr_is_null_and_counted_apart(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "clear", "--out", tmp_path / "out"]
    assert run_script(TEST, *arguments) == 0
    metrics, rows = read(tmp_path / "out")
    assert metrics["restored"] == {"psnr": None, "ssim": 1.0, "ssim_gaussian": 1.0, "psnr_infinite": 3}
    assert "psnr_infinite" not in metrics["input"]
    assert [row["restored_psnr"] for row in rows] == ["inf"] * 3
    assert "inf" in capsys.readouterr().out


def test_every_protocol_beside_plain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_pairs(tmp_path / "pairs", 2, height=140, width=140)
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "cloudy", "--out", tmp_path / "out"]
    assert run_script(TEST, *arguments, "--protocol", "thiefcloud", "--measures", "mae", "sam") == 0
    plain, thiefcloud = read(tmp_path / "out")[0]
    assert (plain["protocol"], thiefcloud["protocol"]) == ("plain", "thiefcloud")
    assert thiefcloud["restored"]["psnr"] == pytest.approx(plain["restored"]["psnr"] + 20 * math.log10(2), abs=1e-9)
    assert list(plain["restored"]) == ["psnr", "ssim", "ssim_gaussian", "mae", "sam"]
    assert run_script(TEST, *arguments, "--protocol", "all") == 0
    metrics, rows = read(tmp_path / "out")
    assert [summary["protocol"] for summary in metrics] == list(PROTOCOLS)
    assert float(rows[0]["restored_psnr"]) == pytest.approx(float(rows[0]["thiefcloud_restored_psnr"]) - 6.0206, abs=1e-4)
    table = capsys.readouterr().out
    assert all(f"\n{protocol} " in table for protocol in PROTOCOLS)


def test_all_leaves_out_what_cannot_score_small_images(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "clear", "--out", tmp_path / "out"]
    assert run_script(TEST, *arguments, "--protocol", "all") == 0
    assert [summary["protocol"] for summary in read(tmp_path / "out")[0]] == [name for name in PROTOCOLS if name != "rsdformer"]
    assert "without rsdformer, which cannot score every image: 0: " in capsys.readouterr().out


def test_only_what_a_list_names_is_scored(pairs: Path, tmp_path: Path) -> None:
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "cloudy", "--out", tmp_path / "out"]
    assert run_script(TEST, *arguments, "--split", listed(tmp_path, "20", "0")) == 0
    assert [row["name"] for row in read(tmp_path / "out")[1]] == ["20", "0"]


def test_with_and_without_what_training_has_seen(pairs: Path, tmp_path: Path) -> None:
    arguments = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "cloudy", "--out", tmp_path / "out"]
    assert run_script(TEST, *arguments, "--duplicates", listed(tmp_path, "10", "7")) == 0
    metrics, rows = read(tmp_path / "out")
    assert metrics["count"] == 3
    clean = metrics["without_duplicates"]
    assert clean["count"] == 2
    others = [float(row["restored_psnr"]) for row in rows if row["name"] != "10"]
    assert clean["restored"]["psnr"] == pytest.approx(np.mean(others), abs=1e-5)


def test_against_another_run(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--dataset", "folder", "--root", pairs]
    for seed, name in enumerate(NAMES):
        clear = read_unit(pairs / "clear" / f"{name}.png")
        write_image(tmp_path / "better" / f"{name}.png", (clear + 0.05 * noise(seed, height=19, width=26)).clamp(0, 1))
    assert run_script(TEST, *common, "--restored", pairs / "cloudy", "--out", tmp_path / "one") == 0
    other = tmp_path / "one" / "metrics.csv"
    assert run_script(TEST, *common, "--restored", tmp_path / "better", "--out", tmp_path / "two", "--versus", other) == 0
    found = json.loads((tmp_path / "two" / "versus.json").read_text())
    gains = [
        float(a["restored_psnr"]) - float(b["restored_psnr"])
        for a, b in zip(*(read(tmp_path / run)[1] for run in ("two", "one")), strict=True)
    ]
    assert found["psnr"]["difference"] == pytest.approx(np.mean(gains), abs=1e-5)
    assert found["psnr"]["low"] > 0
    assert f"psnr: +{np.mean(gains):.2f}" in capsys.readouterr().out
    write_images(pairs / "cloudy", ["0.png"], height=19, width=26)  # other images under the names of the other run
    assert run_script(TEST, *common, "--restored", tmp_path / "better", "--out", tmp_path / "two", "--versus", other) == 2
    assert_one_error(capsys.readouterr().err, "for the cloudy input 0, here it is", "Score both methods on the same files")


def test_simulated_clouds_are_the_same_every_time(checkpoint: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "chips" / "test", ["a.png", "b.png"])
    write_images(tmp_path / "chips" / "train", ["c.png"])
    for out in ("one", "other"):
        arguments = ["--root", tmp_path / "chips", "--checkpoint", checkpoint, "--device", "cpu", "--out", tmp_path / out]
        assert run_script(TEST, *arguments) == 0
    assert read(tmp_path / "one") == read(tmp_path / "other")
    assert [row["name"] for row in read(tmp_path / "one")[1]] == ["a", "b"]


def test_flips_change_what_is_scored(pairs: Path, checkpoint: Path, tmp_path: Path) -> None:
    common = ["--dataset", "folder", "--root", pairs, "--checkpoint", checkpoint, "--device", "cpu"]
    assert run_script(TEST, *common, "--out", tmp_path / "plain") == 0
    assert run_script(TEST, *common, "--flips", "--out", tmp_path / "flips") == 0
    model, cloudy = thiefcloud.load(checkpoint), read_unit(pairs / "cloudy" / "10.png")
    expected = thiefcloud.restore(model, cloudy, flips=True)
    torch.testing.assert_close(read_unit(tmp_path / "flips" / "restored" / "10.png"), expected, rtol=0, atol=0.003)
    assert (tmp_path / "plain" / "metrics.csv").read_bytes() != (tmp_path / "flips" / "metrics.csv").read_bytes()


def test_mistakes_are_one_line(
    pairs: Path, checkpoint: Path, prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "some", ["0.png", "10.png"], height=19, width=26)
    write_images(tmp_path / "sizes", ["0.png", "10.png", "20.png"])
    write_images(tmp_path / "train only" / "train" / "cloudy", ["0.png"])
    write_images(tmp_path / "train only" / "train" / "clear", ["0.png"])
    small = write_pairs(tmp_path / "small", 2)
    write_images(small / "cloudy", ["10.png"], height=10)  # the last one
    write_images(small / "clear", ["10.png"], height=10)
    assert run_script(TEST, "--method", "untouched input") == 2
    assert "is the name of the cloudy images" in squeezed(capsys.readouterr().err)
    assert run_script(TEST, "--baseline", "dark-channel", "--restored", tmp_path / "some") == 2
    assert "are two methods; score one at a time" in squeezed(capsys.readouterr().err)
    assert run_script(TEST, "--flips", "--restored", tmp_path / "some") == 2
    assert "--flips is for networks" in squeezed(capsys.readouterr().err)
    among_images = ["--dataset", "folder", "--root", pairs, "--restored", pairs / "clear", "--out", pairs / "clear" / "scores"]
    assert run_script(TEST, *among_images) == 2
    assert_one_error(capsys.readouterr().err, "lies inside", "choose another")
    assert run_script(TEST, "--dataset", "clear", "--root", pairs, "--out", pairs / "scores") == 2
    assert "lies inside" in squeezed(capsys.readouterr().err)
    for arguments, parts in (
        (["--restored", tmp_path / "some"], ["holds no restored image for 1 of 3 test images (20, ...); expected 20.png"]),
        (["--restored", tmp_path / "sizes"], ["0.png is 16x16 and the clear image 0 is 19x26 pixels"]),
        (["--restored", tmp_path / "absent"], ["absent does not exist"]),
        (["--root", tmp_path / "train only"], ["there is no image for test"]),
        (["--root", small], ["10 cannot be scored: it is 10x16 pixels, expected at least 11x11"]),
        (["--protocol", "rsdformer"], ["0 cannot be scored: it is 19x26 pixels, expected at least 139x139"]),
        (["--split", tmp_path / "absent.txt"], ["absent.txt cannot be read as a list of names"]),
        (["--duplicates", listed(tmp_path, "77")], ["names no image that is there"]),
        (["--versus", pairs / "clear" / "0.png"], ["0.png cannot be read as metrics.csv"]),
        (["--checkpoint", prior], ["prior.pt holds the network 'scpm', expected 'thiefcloud'"]),
        (["--checkpoint", tmp_path / "absent.pt"], ["ThiefCloud/train.py trains ThiefCloud"]),
    ):
        common = ["--dataset", "folder", "--root", pairs, "--checkpoint", checkpoint, "--device", "cpu"]
        assert run_script(TEST, *common, *arguments, "--out", tmp_path / "out") == 2
        assert_one_error(capsys.readouterr().err, *parts)
        assert not (tmp_path / "out" / "metrics.json").exists()
