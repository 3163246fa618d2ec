"""Options of a run: its presets, its file, and what --resume may change."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import scpm.options as stage1
import thiefcloud.training.options as stage2
from cloudkit.errors import UserError
from cloudkit.processes import Processes
from cloudkit.script.command_line import plain
from scpm import CloudOptions
from trainkit.training.run import Run, read_options, training_parser

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
OPTIONS = stage1.PriorTrainOptions(
    clear=Path("chips"), steps=7, clouds=CloudOptions(opacity=(0.1, 0.2))
)


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        stage1.PriorTrainOptions(pairs=Path("pairs"), out=Path("run"), optimizer="adam"),
        stage2.TrainOptions(
            dataset="folder", root=Path("pairs"), prior=Path("prior.pt"), vgg=None, lr_end=1e-9
        ),
        stage2.PRESETS["quick"],
    ],
)
def test_options_come_back_from_their_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: stage1.PriorTrainOptions | stage2.TrainOptions,
) -> None:
    monkeypatch.chdir(tmp_path)
    Run(options, Path("run"), ALONE).open()
    found = read_options(type(options), tmp_path / "run")

    absolute: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, Path):
            absolute[field.name] = value.resolve()
    assert found == dataclasses.replace(options, **absolute)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"unknown": 1}',
        '{"crop": 7}',
        '{"crop": "64"}',
        '{"crop": [64]}',
        '{"clouds": {"opacity": [0.1, "x"]}}',
        '{"clouds": [1]}',
        '{"optimizer": "other"}',
        '{"clear": "a", "pairs": "b"}',
    ],
    ids=range(12),
)
def test_options_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(UserError, match=r"options\.json does not hold the options of this script"):
        read_options(stage1.PriorTrainOptions, tmp_path)


def preset_of(given: Mapping[str, str]) -> str:
    simulated = given.get("dataset", "simulated") == "simulated"
    return given.get("preset", "quick" if simulated else "paper")


def parse(tmp_path: Path, *arguments: str) -> stage2.TrainOptions:
    default = tmp_path / "default"
    parser = training_parser(stage2.TrainOptions, stage2.PRESETS, preset_of, default, None)
    return parser(arguments)


def test_presets_and_options_beside_them(tmp_path: Path) -> None:
    replace, quick, paper = dataclasses.replace, stage2.PRESETS["quick"], stage2.PRESETS["paper"]
    assert parse(tmp_path) == quick

    named, root = ("--dataset", "rice1", "--root", "x"), Path("x")
    assert parse(tmp_path, *named) == replace(paper, dataset="rice1", root=root)
    found = parse(tmp_path, *named, "--preset", "quick")
    assert found == replace(quick, dataset="rice1", root=root)

    assert parse(tmp_path, "--preset", "paper", "--crop", "64") == replace(paper, crop=64)
    found = parse(tmp_path, "--crop=64", "--pixel", "mse")
    assert found == replace(quick, crop=64, pixel="mse")


@pytest.mark.parametrize("default", [False, True])
def test_resume_takes_the_options_of_the_run(
    tmp_path: Path, default: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("default" if default else "run")
    options = stage2.TrainOptions(
        dataset="folder", root=tmp_path / "pairs", crop=64, out=None if default else out
    )
    Run(options, out, ALONE).open()
    where = () if default else ("--out", str(out))
    assert parse(tmp_path, *where, "--resume") == dataclasses.replace(options, resume=True)
    assert capsys.readouterr().out == ""
    assert parse(tmp_path, "--resume", *where, "--lr-frozen", "0.1").lr_frozen == 0.1
    assert capsys.readouterr().out == "resuming with lr_frozen = 0.1 instead of 0.0005\n"


@pytest.mark.parametrize(
    "change",
    [
        ("--dataset", "simulated"),
        ("--preset", "quick"),
        ("--clouds.tint", "0.01"),
        ("--network", "unet"),
        ("--no-prior",),
        ("--untrained-prior",),
        ("--prior", "other.pt"),
        ("--pretrained", "other.pt"),
        ("--residual",),
        ("--residual", "--epochs-inversion", "100"),
    ],
)
def test_resume_does_not_make_another_run(tmp_path: Path, change: tuple[str, ...]) -> None:
    options = stage2.TrainOptions(out=tmp_path / "run")
    if "tint" not in change[0]:
        options = dataclasses.replace(options, dataset="folder", root=tmp_path)
    Run(options, tmp_path, ALONE).open()
    with pytest.raises(UserError, match="which --resume cannot change"):
        parse(tmp_path, "--resume", "--out", str(tmp_path / "run"), *change)


def test_options_are_plain_enough_for_json() -> None:
    assert json.loads(json.dumps(plain(OPTIONS)))["clouds"]["opacity"] == [0.1, 0.2]
