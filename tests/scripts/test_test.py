"""ThiefCloud/test.py, run as its user runs it: scores, images and panels of each method."""

import hashlib
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
from tests.helpers import TEST, assert_one_error, noise, run_script, write_images
from tests.scripts.scoring import NAMES, read, read_pair, run
from thiefcloud import UNet
from thiefcloud.baselines.dark_channel import remove_haze
from trainkit.scoring.results import GROUPS


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


def assert_8_bits(found: Tensor, expected: Tensor) -> None:
    """Assert that an image was read from an 8-bit file of another."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0.51 / 255)


def test_scores_pictures_and_files(
    scenes: Path, checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scenes, out, "--checkpoint", checkpoint, "--panels", 2) == 0
    model = thiefcloud.load(checkpoint)
    before, after = [], []
    for name in NAMES:
        cloudy, clear = read_pair(scenes, name)
        restored = thiefcloud.restore(model, cloudy)
        before.append(reference(cloudy, clear))
        after.append(reference(restored, clear))
        assert_8_bits(read_unit(out / "restored" / f"{name}.png"), restored)

    metrics, rows = read(out)
    assert (metrics["protocol"], metrics["count"]) == ("plain", 3)
    assert (metrics["dataset"], metrics["method"]) == ("folder", str(checkpoint))
    assert metrics["weights"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert metrics["input"] == means(before)
    assert metrics["restored"] == means(after)

    low, high = metrics["interval"]["restored"]["psnr"]
    assert low < metrics["restored"]["psnr"] < high
    counts = {title: group["count"] for title, group in metrics["groups"].items()}
    assert counts == dict.fromkeys(GROUPS, 1)

    assert [row["name"] for row in rows] == NAMES
    for row, scores in zip(rows, np.concatenate((before, after), 1), strict=True):
        assert [float(value) for value in list(row.values())[1:]] == pytest.approx(scores, abs=2e-5)
    columns = [f"{side}_{metric}" for side in ("input", "restored") for metric in metrics["input"]]
    assert list(rows[0]) == ["name", *columns]

    assert sorted(path.name for path in (out / "panels").iterdir()) == ["0.png", "10.png"]
    panel, (cloudy, clear) = read_unit(out / "panels" / "0.png"), read_pair(scenes, "0")
    torch.testing.assert_close(panel[:, -19:, :26], cloudy)
    torch.testing.assert_close(panel[:, -19:, -26:], clear)
    table = capsys.readouterr().out
    assert f"{np.mean(after, 0)[0]:.2f}" in table
    assert "all: 3" in table


def test_images_that_another_method_restored(scenes: Path, tmp_path: Path, out: Path) -> None:
    rows = []
    for seed, name in enumerate(NAMES):
        path = tmp_path / "other" / f"{name}.tif"
        write_image(path, noise(seed + 50, height=19, width=26), bits=16)
        rows.append(reference(read_unit(path), read_pair(scenes, name)[1]))

    assert run(scenes, out, "--restored", tmp_path / "other", "--panels", -1) == 0
    metrics, _ = read(out)
    assert metrics["restored"] == means(rows)
    assert metrics["weights"] is None
    assert not (out / "restored").exists()
    assert len(list((out / "panels").iterdir())) == 3


def test_the_dark_channel_prior(scenes: Path, out: Path) -> None:
    image = read_unit(scenes / "cloudy" / "20.png")
    image[:, 8:10, 8:10] = 0  # so dark in its haze that the restored values leave [0, 1]
    write_image(scenes / "cloudy" / "20.png", image)
    assert run(scenes, out, "--baseline", "dark-channel") == 0

    rows = []
    for name in NAMES:
        cloudy, clear = read_pair(scenes, name)
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
    assert run(scenes, out, *method, "--protocol", "geocr") == 0
    plain, raw = read(out)[0]
    assert plain["method"] == "DCP"
    # values outside [0, 1] reach a protocol that does not clamp
    assert raw["restored"]["psnr"] != pytest.approx(plain["restored"]["psnr"], abs=1e-3)


def test_a_network_without_prior_has_no_thickness_to_show(
    scenes: Path, tmp_path: Path, out: Path
) -> None:
    model = UNet(residual=True)
    save_checkpoint(tmp_path / "unet.pt", model.kind, model.config, {"model": model.state_dict()})
    assert run(scenes, out, "--checkpoint", tmp_path / "unet.pt", "--panels", 1) == 0
    panel, (cloudy, _) = read_unit(out / "panels" / "0.png"), read_pair(scenes, "0")
    assert panel.shape[2] == 3 * 26 + 2 * 4
    # an untrained residual network adds nothing
    torch.testing.assert_close(panel[:, -19:, 30:56], cloudy)


def test_restored_images_may_carry_their_role_in_the_name(
    scenes: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "other").mkdir()
    for path in (scenes / "clear").iterdir():
        shutil.copy(path, tmp_path / "other" / f"{path.stem}-inputs{path.suffix}")
    assert run(scenes, out, "--restored", tmp_path / "other") == 0
    assert read(out)[0]["restored"]["psnr_infinite"] == 3


def test_an_infinite_psnr_is_null_and_counted_apart(
    scenes: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scenes, out, "--restored", scenes / "clear") == 0
    metrics, rows = read(out)
    expected = {"psnr": None, "ssim": 1.0, "ssim_gaussian": 1.0, "psnr_infinite": 3}
    assert metrics["restored"] == expected
    assert "psnr_infinite" not in metrics["input"]
    assert [row["restored_psnr"] for row in rows] == ["inf"] * 3
    assert "inf" in capsys.readouterr().out


def test_simulated_clouds_are_the_same_every_time(checkpoint: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "chips" / "test", ["a.png", "b.png"])
    write_images(tmp_path / "chips" / "train", ["c.png"])
    common = ("--root", tmp_path / "chips", "--checkpoint", checkpoint, "--device", "cpu")
    for out in ("one", "other"):
        assert run_script(TEST, *common, "--out", tmp_path / out) == 0
    assert read(tmp_path / "one") == read(tmp_path / "other")
    assert [row["name"] for row in read(tmp_path / "one")[1]] == ["a", "b"]


def test_fast_scores_are_those_of_the_fast_restoration(
    scenes: Path, inverting: Path, out: Path
) -> None:
    assert run(scenes, out, "--checkpoint", inverting, "--fast") == 0
    assert read(out)[0]["method"] == f"{inverting}, fast"
    model = thiefcloud.load(inverting)
    rows = []
    for name in NAMES:
        cloudy, clear = read_pair(scenes, name)
        rows.append(reference(thiefcloud.restore(model, cloudy, fast=True), clear))
    assert read(out)[0]["restored"] == means(rows)


def test_fast_scores_need_an_inversion(
    scenes: Path, checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(scenes, out, "--checkpoint", checkpoint, "--fast") == 2
    assert_one_error(capsys.readouterr().err, "which this network lacks: leave out fast")


def test_blending_changes_the_scored_images(
    scenes: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thiefcloud.inference.blending.CLEAR", 0.4)
    monkeypatch.setattr("thiefcloud.inference.blending.CLOUD", 0.6)
    assert run(scenes, tmp_path / "out", "--checkpoint", checkpoint, "--blend") == 0
    model, (cloudy, _) = thiefcloud.load(checkpoint), read_pair(scenes, "10")
    expected = thiefcloud.blend(cloudy, *thiefcloud.restore_and_detect(model, cloudy))
    assert_8_bits(read_unit(tmp_path / "out" / "restored" / "10.png"), expected)


def test_flips_change_the_scored_images(scenes: Path, checkpoint: Path, tmp_path: Path) -> None:
    plain, flips = tmp_path / "plain", tmp_path / "flips"
    assert run(scenes, plain, "--checkpoint", checkpoint) == 0
    assert run(scenes, flips, "--checkpoint", checkpoint, "--flips") == 0
    model, (cloudy, _) = thiefcloud.load(checkpoint), read_pair(scenes, "10")
    expected = thiefcloud.restore(model, cloudy, flips=True)
    assert_8_bits(read_unit(flips / "restored" / "10.png"), expected)
    assert (plain / "metrics.csv").read_bytes() != (flips / "metrics.csv").read_bytes()
