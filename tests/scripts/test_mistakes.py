"""Mistakes on the command line of a script, each told in one line."""

from pathlib import Path

import pytest

import thiefcloud
from cloudkit.checkpoints import save_checkpoint
from preparation.sets import SETS
from scpm import SCPM
from tests.helpers import (
    ABLATION,
    APP,
    EXTRACT,
    FIT_OVERLAY,
    PREDICT,
    ROOT,
    SIMULATE,
    TEST,
    TEST_CD,
    TRAIN,
    TRAIN_CD,
    assert_one_error,
    run_script,
    squeezed,
    write_pairs,
)
from thiefcloud import ThiefCloud
from trainkit.data.datasets import DATASETS

PANELS = ROOT / "Figure" / "panels.py"
SCENES, SPEED = ROOT / "benchmarks" / "scenes.py", ROOT / "benchmarks" / "speed.py"


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (TRAIN_CD, ["--mixture", "a"], "--mixture FILE and --root DIR belong together"),
        (EXTRACT, ["--root", "a", "--dataset", "clear"], "--dataset clear holds no cloud"),
        (
            EXTRACT,
            ["--root", "a", "--opacity", "2"],
            "--opacity is 2.0, expected a fraction from 0 to 1",
        ),
        (
            TRAIN_CD,
            ["--clear", "a", "--pairs", "b"],
            "--clear, --mixture and --pairs exclude each other",
        ),
        (TRAIN_CD, ["--crop", "12"], "--crop is 12, expected a multiple of 8, for example 8."),
        (TRAIN_CD, ["--crop", "0"], "--crop is 0, expected more than 0."),
        (TRAIN_CD, ["--ema", "1.0"], "--ema is 1.0, expected 0 (none) or a decay below 1"),
        (TRAIN_CD, ["--ema", "-0.1"], "--ema is -0.1"),
        (TRAIN_CD, ["--steps", "0"], "--steps is 0, expected more than 0."),
        (TRAIN_CD, ["--save-every", "-1"], "--save-every is -1, expected more than 0."),
        (TRAIN_CD, ["--lr", "nan"], "--lr is nan, expected more than 0."),
        (TRAIN_CD, ["--preset", "fast"], "fast"),
        (
            TEST_CD,
            ["--clear", "a", "--images", "b"],
            "--images, --pairs and --clear exclude each other",
        ),
        (TRAIN, ["--crop", "20"], "--crop is 20, expected a multiple of 8, for example 16."),
        (TRAIN, ["--ema", "1"], "--ema is 1.0"),
        (TRAIN, ["--epochs-frozen", "-1"], "must not be negative"),
        (
            TRAIN,
            ["--epochs-inversion", "0", "--epochs-frozen", "0", "--epochs-tunable", "0"],
            "nor all 0",
        ),
        (TRAIN, ["--batch-tunable", "0"], "--batch-tunable is 0, expected more than 0."),
        (TRAIN, ["--perceptual", "-1"], "--perceptual is -1.0, expected 0 or more."),
        (TRAIN, ["--dataset", "rice1"], "--dataset rice1 needs --root DIR"),
        (TRAIN, ["--dataset", "rice3", "--root", "x"], "rice3"),
        (TEST, ["--dataset", "folder"], "--dataset folder needs --root DIR"),
        (PREDICT, ["a.png", "--peak", "0"], "--peak is 0.0, expected more than 0."),
        (PREDICT, ["a.png", "--peak", "-1"], "--peak is -1.0, expected more than 0."),
        (PREDICT, [], "no inputs are given"),
        (TRAIN_CD, ["--seed", "-1"], "--seed is -1, expected 0 or more."),
        (TRAIN, ["--seed", "-1"], "--seed is -1, expected 0 or more."),
        (TRAIN, ["--max-gradient", "inf"], "--max-gradient is inf, expected a finite number."),
        (
            TRAIN,
            ["--epochs-inversion", "0", "--hide-prior", "0.4"],
            "--hide-prior is 0.4, but it works in the phase",
        ),
        (TRAIN, ["--no-prior", "--hide-prior", "0.4"], "--hide-prior hides a prior"),
        (TRAIN, ["--hide-prior", "2"], "--hide-prior is 2.0"),
        (TRAIN, ["--no-prior", "--tune-with-inversion"], "--tune-with-inversion tunes a prior"),
        (
            TRAIN,
            ["--epochs-inversion", "0", "--tune-with-inversion"],
            "--tune-with-inversion works in the phase of the inversion alone",
        ),
        (TRAIN, ["--keep-overlay", "0.5"], "a new network removes no overlays"),
        (TRAIN, ["--keep-overlay", "-1"], "--keep-overlay is -1.0"),
        (
            TRAIN,
            ["--pretrained", "a.pt", "--epochs-inversion", "0", "--keep-overlay", "0.4"],
            "--keep-overlay is 0.4, but it works in the phase",
        ),
        (TRAIN, ["--max-gradient", "0"], "--max-gradient is 0.0, expected more than 0."),
        (TRAIN, ["--lr-end", "-1"], "--lr-end is -1.0, expected 0 or more."),
        (TRAIN_CD, ["--clouds.wavelengths", "0.6"], "expected three: of red, green and blue"),
        (TRAIN, ["--clouds.wavelengths", "0.6"], "expected three: of red, green and blue"),
        (
            TRAIN,
            ["--dataset", "rice1", "--root", "x", "--backend", "scg"],
            "have no effect here: no clouds are simulated",
        ),
        (
            TRAIN_CD,
            ["--backend", "scg", "--clouds.tint", "0.01"],
            "--clouds and --fields have no effect on --backend scg",
        ),
        (
            TEST_CD,
            ["--pairs", "x", "--clouds.tint", "0.01"],
            "have no effect here: no clouds are simulated",
        ),
    ],
)
def test_contradictions_are_refused(
    script: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    assert run_script(script, *arguments, "--out", out) == 2
    shown = capsys.readouterr()
    assert message in squeezed(shown.err + shown.out)
    assert "Traceback" not in shown.err
    assert not out.exists()


@pytest.mark.parametrize("script", [SIMULATE, TRAIN_CD, TEST_CD])
def test_pairs_are_not_taken_as_clear_images(
    script: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pairs = write_pairs(tmp_path / "pairs", 2)
    assert run_script(script, "--clear", pairs, "--out", tmp_path / "out") == 2
    advice = f"Name the folder of the clear images: {pairs / 'clear'}."
    assert_one_error(capsys.readouterr().err, "expected only clear ones", advice)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "option", "choices"),
    [
        (TRAIN, ["--dataset"], ["clear", "folder", "mixture", "simulated", *DATASETS]),
        (EXTRACT, ["--dataset"], ["clear", "folder", *DATASETS]),
        (ROOT / "data" / "prepare.py", ["verify"], ["folder", *SETS]),
        (TEST, ["--baseline"], ["None", "dark-channel"]),
    ],
)
def test_choices_are_listed_in_order(
    script: Path, option: list[str], choices: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(script, *option, "rice9") == 2
    shown = capsys.readouterr()
    listed = ", ".join(map(repr, sorted(choices)))
    assert f"Expected one of ({listed})" in squeezed(shown.err + shown.out)


@pytest.mark.parametrize(
    ("script", "option"), [(TEST_CD, "--images"), (TEST_CD, "--clear"), (TEST, "--root")]
)
def test_results_do_not_go_among_the_images(
    script: Path, option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_script(script, option, tmp_path, "--out", tmp_path / "out") == 2
    assert "results would be read as images the next time" in squeezed(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("script", "arguments", "parts"),
    [
        (SIMULATE, ["--clear", "absent"], ["absent"]),
        (TRAIN_CD, ["--clear", "absent"], ["absent is no folder"]),
        (
            TRAIN_CD,
            ["--pairs", "absent"],
            ["absent holds no thickness pairs", "T_Simulated/ and T_Cmask/"],
        ),
        (TRAIN_CD, ["--resume"], ["holds no run to resume"]),
        (TEST_CD, ["--images", "absent"], ["absent", "best.pt"]),
        (TRAIN, ["--dataset", "rice1", "--root", "absent"], ["absent is no folder; name the one"]),
        (TRAIN, ["--root", "absent", "--prior", "absent.pt"], ["absent is no folder"]),
        (TRAIN, ["--resume"], ["holds no run to resume"]),
        (
            TEST,
            ["--dataset", "tcloud", "--root", "."],
            ["no tcloud in .", "T-CLOUD/{train,test}/{cloud,reference}"],
        ),
        (PREDICT, ["absent.png"], ["there is no image or folder absent.png"]),
    ],
)
def test_missing_files_are_named_in_one_line(
    script: Path,
    arguments: list[str],
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if script == TEST_CD:
        parts = ["there are no weights", "SCPM/src/train_cd.py trains SCPM"]
        arguments = [*arguments, "--checkpoint", "absent.pt"]
    assert run_script(script, *arguments, "--out", tmp_path / "out") == 2
    assert_one_error(capsys.readouterr().err, *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "option"),
    [
        (TRAIN_CD, ["--clear", "pairs/clear"], "--pretrained"),
        (TEST_CD, ["--images", "pairs/cloudy"], "--checkpoint"),
        (TRAIN, ["--dataset", "folder", "--root", "pairs"], "--prior"),
        (TRAIN, ["--dataset", "folder", "--root", "pairs"], "--pretrained"),
        (FIT_OVERLAY, ["--dataset", "folder", "--root", "pairs", "--crop", "8"], "--checkpoint"),
        (TEST, ["--dataset", "folder", "--root", "pairs"], "--checkpoint"),
        (PREDICT, ["pairs/cloudy"], "--checkpoint"),
        (APP, [], "--checkpoint"),
        (ABLATION, ["--dataset", "folder", "--root", "pairs"], "--priors"),
        (PANELS, [], "--checkpoint"),
        (SCENES, ["--sides", "256"], "--checkpoint"),
        (SPEED, ["--sizes", "64"], "--checkpoint"),
    ],
)
def test_weights_for_other_bands_are_refused(
    script: Path,
    arguments: list[str],
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "pairs", 12)
    takes_prior = script in (TRAIN_CD, TEST_CD) or "prior" in option
    model = SCPM(4) if takes_prior else ThiefCloud(SCPM(4), 4)
    kind = "scpm" if takes_prior else "thiefcloud"
    save_checkpoint(Path("four.pt"), kind, model.config, {"model": model.state_dict()})

    out = [] if script in (APP, PANELS, SCENES, SPEED) else ["--out", "out"]
    assert run_script(script, *arguments, option, "four.pt", *out) == 2
    assert_one_error(
        capsys.readouterr().err, "four.pt takes images of 4 bands, expected 3", "red, green"
    )
    assert not Path("out").exists() or not any(Path("out").rglob("*.*"))


def test_an_exported_network_for_other_bands_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(thiefcloud, "load_onnx", lambda path: ThiefCloud(SCPM(4), 4))
    images, out = write_pairs(tmp_path / "pairs", 1) / "cloudy", tmp_path / "out"
    assert run_script(PREDICT, images, "--onnx", "four.onnx", "--out", out) == 2
    assert_one_error(capsys.readouterr().err, "four.onnx takes images of 4 bands, expected 3")
    assert not out.exists()
