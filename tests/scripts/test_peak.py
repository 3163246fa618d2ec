"""The option --peak: images of one range give the results of the same images of another."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from cloudkit.checkpoints import read_file
from cloudkit.imaging.images import read_unit
from tests.helpers import (
    ABLATION,
    EXTRACT,
    PREDICT,
    ROOT,
    SIMULATE,
    TEST,
    TEST_CD,
    TRAIN,
    TRAIN_CD,
    assert_one_error,
    noise,
    run_script,
    squeezed,
    write_images,
)
from tests.scripts.conftest import ONE_EPOCH, SMALL
from tests.scripts.scoring import read, run
from trainkit.data.crops import CropDataset
from trainkit.data.sampling import SampleIndex

PEAK = 10000
CPU = torch.device("cpu")
PREPARE = ROOT / "data" / "prepare.py"
COMPARE = ROOT / "ThiefCloud" / "compare.py"


def write_reflectance(root: Path, kind: str, *, count: int = 4, size: int = 16) -> Path:
    """Write pairs of values up to 4000: as uint16, as floats of them, or as floats in [0, 1]."""
    for index in range(count):
        clear = (noise(index, height=size, width=size).numpy() * 4000).round()
        for role, stored in (("clear", clear), ("cloudy", (0.5 * clear + 3000).round())):
            pixels = stored.transpose(1, 2, 0).astype(np.float32)
            if kind == "unit":
                pixels = pixels / np.float32(PEAK)
            (root / role).mkdir(parents=True, exist_ok=True)
            path = root / role / f"{10 * index}.tif"
            tifffile.imwrite(path, pixels.astype(np.uint16) if kind == "uint16" else pixels)
    return root


def scores(folder: Path) -> dict[str, Any]:
    metrics, rows = read(folder)
    return {"input": metrics["input"], "restored": metrics["restored"], "rows": rows}


@pytest.fixture(scope="module")
def scored(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of scores of one kind of files, with or without --peak; made once."""

    @cache
    def score(kind: str, *peak: object) -> Path:
        folder = tmp_path_factory.mktemp("scored")
        stored = write_reflectance(folder / "data", kind)
        name = "b" if peak else "a"
        method = ["--checkpoint", checkpoint, "--method", name, *peak]
        assert run(stored, folder / "out", *method) == 0
        return folder / "out"

    return score


@pytest.mark.parametrize("kind", ["uint16", "float"])
def test_reflectance_scores_as_its_floats(scored: Callable[..., Path], kind: str) -> None:
    unit, stored = scored("unit"), scored(kind, "--peak", PEAK)
    expected, found = scores(unit), scores(stored)
    for side in ("input", "restored"):
        assert found[side] == pytest.approx(expected[side], abs=1e-5)
    assert read(stored)[0]["peak"] == PEAK
    assert read(unit)[0]["peak"] is None


def test_without_the_peak_16_bits_score_otherwise(scored: Callable[..., Path]) -> None:
    folders = (scored("uint16"), scored("uint16", "--peak", PEAK))
    without, given = (read(folder)[0]["input"]["psnr"] for folder in folders)
    assert without > given + 10


@pytest.fixture(scope="module")
def trained(prior: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of one kind of files with data/ and run/, a training on it; made once."""

    @cache
    def train(kind: str, *peak: object) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        data = write_reflectance(folder / "data", kind)
        out = ["--out", folder / "run", "--prior", prior]
        arguments = ["--dataset", "folder", "--root", data, *SMALL, *ONE_EPOCH, *peak, *out]
        assert run_script(TRAIN, *arguments) == 0
        return folder

    return train


def test_training_step_is_that_of_the_floats(trained: Callable[..., Path]) -> None:
    runs = [trained("unit") / "run", trained("uint16", "--peak", PEAK) / "run"]
    weights = [read_file(run / "last.pt") for run in runs]
    for name, tensor in weights[0]["model"].items():
        torch.testing.assert_close(weights[1]["model"][name], tensor, rtol=1e-4, atol=1e-5)
    assert weights[1]["options"]["peak"] == PEAK
    saved = json.loads((runs[1] / "options.json").read_text())
    assert saved["peak"] == PEAK


def test_a_checkpoint_of_another_peak_is_named(
    trained: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("uint16", "--peak", PEAK)
    data, run = folder / "data", folder / "run"
    source = ["--dataset", "folder", "--root", data]
    best = run / "best.pt"

    warned = f"{best} was trained with --peak 10000 and is used with no --peak"
    for script, arguments in (
        (TEST, [*source, "--checkpoint", best, "--device", "cpu"]),
        (PREDICT, [data / "cloudy", "--checkpoint", best, "--device", "cpu"]),
        (TRAIN, [*source, *SMALL, *ONE_EPOCH, "--pretrained", best]),
    ):
        for peak, expected in (([], True), (["--peak", PEAK], False)):
            capsys.readouterr()
            out = tmp_path / f"{script.stem}-{len(peak)}"
            assert run_script(script, *arguments, *peak, "--out", out) == 0
            assert (warned in capsys.readouterr().out) == expected

    assert run_script(TRAIN, "--resume", "--peak", 5000, "--out", run) == 2
    assert_one_error(capsys.readouterr().err, "the run has peak = 10000.0, which --resume cannot")


@pytest.mark.parametrize("kind", ["uint16", "float", "unit", "8 bits"])
def test_restored_images_of_any_range(tmp_path: Path, kind: str) -> None:
    """The peak is that of restored images, too; 8 bits and floats in [0, 1] have their own."""
    stored = write_reflectance(tmp_path / "data", "uint16")
    if kind == "8 bits":
        for path in (stored / "clear").iterdir():
            image = read_unit(path, peak=PEAK)
            pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
            (tmp_path / "other").mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / "other" / path.name, pixels)
        other = tmp_path / "other"
    else:
        other = write_reflectance(tmp_path / "other", kind) / "clear"
    assert run(stored, tmp_path / "out", "--restored", other, "--peak", PEAK) == 0
    restored = read(tmp_path / "out")[0]["restored"]
    assert restored["ssim"] > 0.999


def test_compare_says_that_peaks_differ(
    scored: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = (scored("uint16"), scored("uint16", "--peak", PEAK))
    files = [folder / "metrics.json" for folder in folders]
    capsys.readouterr()
    assert run_script(COMPARE, *files) == 0
    shown = capsys.readouterr().err
    assert "read differently (a with no --peak, b with --peak 10000)" in shown
    assert run_script(COMPARE, files[1]) == 0
    assert "read differently" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (TRAIN, []),
        (TEST, []),
        (PREDICT, ["a.tif"]),
        (TRAIN_CD, []),
        (TEST_CD, []),
        (SIMULATE, []),
        (EXTRACT, ["--root", "."]),
        (ABLATION, []),
        (PREPARE, ["audit", "folder"]),
    ],
)
def test_every_script_that_reads_images_has_the_option(
    script: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(script, *arguments, "--peak", "-1") == 2
    assert "--peak is -1.0, expected more than 0." in squeezed(capsys.readouterr().err)
    assert run_script(script, *arguments, "--peak", "inf") == 2
    assert "--peak is inf, expected a finite number" in squeezed(capsys.readouterr().err)


def test_a_peak_that_would_make_images_black_is_an_error(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = write_reflectance(tmp_path / "unit", "unit")
    write_images(tmp_path / "eight" / "cloudy", ["0.png"])
    write_images(tmp_path / "eight" / "clear", ["0.png"])
    for data, reason in ((unit, "its floats reach only"), (tmp_path / "eight", "holds uint8")):
        code = run(data, tmp_path / "out", "--checkpoint", checkpoint, "--peak", PEAK)
        assert code == 2
        assert_one_error(capsys.readouterr().err, reason, "leave --peak out")


def test_thickness_maps_keep_their_own_range(tmp_path: Path, prior: Path) -> None:
    """Pairs of a cloudy image with a peak and a map, for train_cd.py and test_cd.py."""
    data = write_reflectance(tmp_path / "data", "uint16")
    (data / "thickness").mkdir()
    for path in (data / "cloudy").iterdir():
        values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
        tifffile.imwrite(data / "thickness" / path.name, values)

    files = [(data / "cloudy" / "0.tif", data / "thickness" / "0.tif")]
    crops = CropDataset(files, (3, 1), 16, CPU, peaks=[(PEAK, None)], show_progress=False)
    cloudy, thickness = crops[SampleIndex(0, (0,))]
    assert cloudy.mean() == pytest.approx(float(read_unit(files[0][0], peak=PEAK).mean()), abs=1e-6)
    assert (float(thickness.min()), float(thickness.max())) == (0, 1)

    arguments = ["--pairs", data, "--peak", PEAK, "--device", "cpu"]
    training = ["--preset", "quick", "--steps", 1, "--batch", 1, "--crop", 16, "--save-every", 1]
    assert run_script(TRAIN_CD, *arguments, *training, "--out", tmp_path / "run") == 0
    test = ["--checkpoint", prior, "--out", tmp_path / "maps"]
    assert run_script(TEST_CD, *arguments, *test) == 0
    assert json.loads((tmp_path / "maps" / "metrics.json").read_text())["peak"] == PEAK


def test_clear_images_with_a_peak_are_simulated_alike(tmp_path: Path) -> None:
    results = []
    for kind, peak in (("unit", []), ("uint16", ["--peak", PEAK])):
        clear = write_reflectance(tmp_path / kind, kind) / "clear"
        out = tmp_path / f"out-{kind}"
        assert run_script(SIMULATE, "--clear", clear, "--out", out, *peak) == 0
        results.append(read_unit(out / "cloudy" / "0.png"))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1.01 / 255)
