import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import extract_clouds
import fit_overlay
import scpm.options
import simulate
import thiefcloud.inference.export_options
import thiefcloud.inference.options
import thiefcloud.scoring_options
import thiefcloud.training.options
import webpage.options
from scpm import CloudOptions
from tests.helpers import (
    APP,
    EXPORT,
    EXTRACT,
    FIT_OVERLAY,
    PREDICT,
    ROOT,
    SIMULATE,
    TEST,
    TEST_CD,
    TRAIN,
    TRAIN_CD,
    run_script,
    squeezed,
)

SCRIPTS: dict[Path, type[Any]] = {
    SIMULATE: simulate.SimulateOptions,
    EXTRACT: extract_clouds.ExtractOptions,
    TRAIN_CD: scpm.options.PriorTrainOptions,
    TEST_CD: scpm.options.PriorTestOptions,
    TRAIN: thiefcloud.training.options.TrainOptions,
    FIT_OVERLAY: fit_overlay.OverlayOptions,
    TEST: thiefcloud.scoring_options.TestOptions,
    EXPORT: thiefcloud.inference.export_options.ExportOptions,
    PREDICT: thiefcloud.inference.options.PredictOptions,
    APP: webpage.options.PageOptions,
}
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)


def documented_fields(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """Each field of a dataclass and of those it inherits from, and the docstring under it."""
    for base in kind.__mro__[:-1]:
        body = ast.parse(inspect.getsource(base)).body[0].body  # type: ignore[attr-defined]
        for field, below in zip(body, [*body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                text = (
                    below.value.value
                    if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                    else ""
                )
                yield ast.unparse(field.target), " ".join(str(text).split())


@each_script
def test_help_shows_each_option_with_its_help(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(script, "--help") == 0
    shown = squeezed(capsys.readouterr().out)
    options = [
        (f"--{name.replace('_', '-')}", text) for name, text in documented_fields(SCRIPTS[script])
    ]
    if "--clouds" in dict(options):
        options += [
            (f"--clouds.{name.replace('_', '-')}", text)
            for name, text in documented_fields(CloudOptions)
        ]

    assert len(options) > 4
    for option, text in options:
        assert option in shown or option == "--inputs"
        assert len(text) > 5, f"{option} has no help"
        assert text[:25] in shown


@each_script
def test_the_commands_of_the_manual_are_of_this_script_and_have_options_that_exist(
    script: Path,
) -> None:
    manual = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    commands = [
        line.split("#")[0].split()
        for line in manual.splitlines()
        if line.startswith(("    python", "    torchrun"))
    ]
    known = {f"--{name.replace('_', '-')}" for name, _ in documented_fields(SCRIPTS[script])} | {
        "--nproc-per-node"
    }
    known |= {f"--clouds.{name.replace('_', '-')}" for name, _ in documented_fields(CloudOptions)}

    assert len(commands) > 1
    for command in commands:
        assert script.relative_to(ROOT).as_posix() in command
        assert {word for word in command if word.startswith("--")} <= known


@each_script
@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option", "1"],
        ["--device"],
        ["--out", "a", "b", "--device", "cpu", "--clouds.opacity", "x"],
    ],
)
def test_a_wrong_command_line(
    script: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(script, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.err
    assert "Traceback" not in shown.err


def test_scripts_are_run_with_their_own_command_line() -> None:
    """The helper that all these tests rest on leaves the real command line as it was."""
    before = list(sys.argv)
    run_script(PREDICT, "--help")
    assert sys.argv == before
