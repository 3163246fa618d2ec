"""Options of the ablation: the help, and contradictions that are refused before any work."""

from pathlib import Path

import pytest

from prior_ablation.options import AblationOptions
from tests.helpers import ABLATION, assert_one_error, run_script, squeezed
from tests.scripts.test_every_script import documented_fields


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--root DIR is missing"),
        (
            ["--root", "x", "--epochs-inversion", 1, "--no-residual"],
            "--epochs-inversion needs --residual",
        ),
        (["--root", "x", "--preset", "fast"], "--preset is fast, expected one of paper"),
        (["--folds", "0"], "--folds is 0, expected more than 0."),
        (["--jobs", "0"], "--jobs is 0, expected more than 0."),
        (["--epochs", "1"], "--epochs is 1, expected at least 2."),
        (["--arms", "unet", "unet"], "--arms is unet unet, expected at least one, each once."),
        (["--seeds", "1", "1"], "--seeds is 1 1, expected at least one, each once."),
        (["--seeds", "-1"], "--seeds is -1, expected 0 or more."),
        (["--seeds", "1", str(2**63)], f"--seeds is {2**63}, expected at most {2**63 - 1}."),
        (["--arms", "tuned"], "tuned"),
        (["--crop", "20"], "--crop is 20, expected a multiple of 8"),
        (["--batch", "0"], "--batch is 0, expected more than 0."),
        (["--root", "absent"], "absent is no folder"),
    ],
)
def test_contradictions_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(ABLATION, *arguments, "--out", tmp_path / "out") == 2
    shown = capsys.readouterr()
    assert message in squeezed(shown.err + shown.out)
    assert "Traceback" not in shown.err
    assert not (tmp_path / "out").exists()


def test_results_do_not_go_among_the_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(ABLATION, "--root", tmp_path, "--out", tmp_path / "out") == 2
    assert "results would be read as images the next time" in squeezed(capsys.readouterr().err)


def test_torchrun_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_script(ABLATION, "--root", tmp_path, "--out", tmp_path.parent / "out") == 2
    assert_one_error(capsys.readouterr().err, "expected one: start python without it")


def test_help_shows_each_option_with_its_help_and_the_preset_s_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_script(ABLATION, "--preset", "quick", "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    for name, text in documented_fields(AblationOptions):
        assert f"--{name.replace('_', '-')}" in shown
        assert len(text) > 5
        assert text[:25] in shown
    assert "(default: 28)" in shown  # epochs of both phases
