import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import scpm.options as stage1
import thiefcloud.options as stage2
from cloudkit.cli import plain
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.runs import RunFolder, check_folder, read_options, training_parser
from scpm import CloudOptions
from tests.helpers import noise

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
OPTIONS = stage1.PriorTrainOptions(clear=Path("chips"), steps=7, clouds=CloudOptions(opacity=(0.1, 0.2)))


def folder(out: Path | None, default: Path, *, resume: bool = False, world: World = ALONE) -> RunFolder:
    return RunFolder(out, default, OPTIONS, resume=resume, world=world)


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        stage1.PriorTrainOptions(pairs=Path("pairs"), out=Path("run"), optimizer="adam"),
        stage2.TrainOptions(dataset="folder", root=Path("pairs"), prior=Path("prior.pt"), vgg=None, lr_end=1e-9),
        stage2.PRESETS["quick"],
    ],
)
def test_options_come_back_from_their_file(tmp_path: Path, options: stage1.PriorTrainOptions | stage2.TrainOptions) -> None:
    RunFolder(tmp_path / "run", tmp_path, options, resume=False, world=ALONE)
    found = read_options(type(options), tmp_path / "run")
    absolute: dict[str, Any] = {
        field.name: value.resolve()
        for field in dataclasses.fields(options)
        if isinstance(value := getattr(options, field.name), Path)
    }
    assert found == dataclasses.replace(options, **absolute)


@pytest.mark.parametrize("text", ["{", "[]", '{"unknown": 1}', '{"crop": 7}', '{"clear": "a", "pairs": "b"}'])
def test_options_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(UserError, match=r"options\.json does not hold the options of this script"):
        read_options(stage1.PriorTrainOptions, tmp_path)


def test_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume"):
        read_options(stage1.PriorTrainOptions, tmp_path)


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "run", tmp_path / "default")
    before = (tmp_path / "run" / "options.json").read_bytes()
    with pytest.raises(UserError, match=r"run holds a run already; go on with it by --resume, or name another folder"):
        folder(tmp_path / "run", tmp_path / "default")
    assert (tmp_path / "run" / "options.json").read_bytes() == before
    folder(tmp_path / "run", tmp_path / "default", resume=True)


def test_the_default_folder_is_moved_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        made = folder(None, tmp_path / "scpm")
        assert made.path == tmp_path / "scpm"
        made.last.write_text(str(number))
    assert "kept as" in capsys.readouterr().out
    found = {path.name: (path / "last.pt").read_text() for path in tmp_path.iterdir()}
    assert found == {"scpm": "2", "scpm-1": "0", "scpm-2": "1"}


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    folder(tmp_path / "run", tmp_path)
    leftover, kept = tmp_path / "run" / ".last-abc.pt", tmp_path / "run" / "last.pt"
    leftover.touch()
    kept.touch()
    folder(tmp_path / "run", tmp_path, resume=True)
    assert not leftover.exists()
    assert kept.exists()


def test_history_and_tensorboard(tmp_path: Path) -> None:
    first = folder(tmp_path / "run", tmp_path)
    history: list[Mapping[str, float]] = []
    for step in (5, 10):
        history.append({"phase": 0, "epoch": 1, "step": step, "val/psnr": 20.0 + step})
        first.record(step, history, lambda: {"a": noise()})
    first.close()
    again = folder(tmp_path / "run", tmp_path, resume=True)  # as if step 10 had not been saved
    again.record(10, history, lambda: {"a": noise()})
    again.close()
    assert json.loads((tmp_path / "run" / "history.json").read_text()) == history
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("val/psnr")] == [(5, 25.0), (10, 30.0)]
    assert events.Tags()["scalars"] == ["val/psnr"]
    assert [event.step for event in events.Images("val/a")] == [5, 10]


def test_other_processes_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "barrier", lambda self: None)
    other = folder(tmp_path / "run", tmp_path, world=World(1, 2, CPU))
    other.record(1, [{"x": 1.0}], lambda: pytest.fail("pictures cost time"))
    other.close()
    assert not (tmp_path / "run").exists()


def parse(tmp_path: Path, *arguments: str) -> stage2.TrainOptions:
    def preset_of(given: Mapping[str, str]) -> str:
        return given.get("preset", "quick" if given.get("dataset", "simulated") == "simulated" else "paper")

    return training_parser(stage2.TrainOptions, stage2.PRESETS, preset_of, tmp_path / "default", None)(arguments)


def test_presets_and_what_overrides_them(tmp_path: Path) -> None:
    quick, paper = stage2.PRESETS["quick"], stage2.PRESETS["paper"]
    assert parse(tmp_path) == quick
    named = ("--dataset", "rice1", "--root", "x")
    assert parse(tmp_path, *named) == dataclasses.replace(paper, dataset="rice1", root=Path("x"))
    assert parse(tmp_path, *named, "--preset", "quick") == dataclasses.replace(quick, dataset="rice1", root=Path("x"))
    assert parse(tmp_path, "--preset", "paper", "--crop", "64") == dataclasses.replace(paper, crop=64)
    assert parse(tmp_path, "--crop=64", "--pixel", "mse") == dataclasses.replace(quick, crop=64, pixel="mse")


@pytest.mark.parametrize("default", [False, True])
def test_resume_takes_the_options_of_the_run(tmp_path: Path, default: bool, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / ("default" if default else "run")
    options = stage2.TrainOptions(dataset="folder", root=tmp_path / "pairs", crop=64, out=None if default else out)
    RunFolder(None, out, options, resume=False, world=ALONE)
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
    options = stage2.TrainOptions(dataset="folder", root=tmp_path) if "tint" not in change[0] else stage2.TrainOptions()
    RunFolder(tmp_path / "run", tmp_path, options, resume=False, world=ALONE)
    with pytest.raises(UserError, match="which --resume cannot change"):
        parse(tmp_path, "--resume", "--out", str(tmp_path / "run"), *change)


def test_a_folder_is_checked_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, expected a folder"):
        check_folder(tmp_path / "file", tmp_path, resume=False)
    with pytest.raises(UserError, match="file is a file, expected a folder"):
        check_folder(tmp_path / "file" / "run", tmp_path, resume=False)
    check_folder(tmp_path / "new" / "run", tmp_path, resume=False)
    check_folder(None, tmp_path, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))  # root may write anywhere
    with pytest.raises(UserError, match=rf"cannot be written to: {re.escape(str(tmp_path))} is read-only; name another"):
        check_folder(tmp_path / "new" / "run", tmp_path, resume=False)


@pytest.mark.parametrize("history", ["", "[", '[{"step": 1}, {"step": 2}]'])
def test_a_run_that_saved_and_has_no_state(tmp_path: Path, history: str) -> None:
    (tmp_path / "history.json").write_text(history)
    with pytest.raises(UserError, match=r"last\.pt is missing, so the run cannot go on"):
        check_folder(tmp_path, tmp_path, resume=True)
    (tmp_path / "last.pt").touch()
    check_folder(tmp_path, tmp_path, resume=True)


def test_options_are_plain_enough_for_json() -> None:
    assert json.loads(json.dumps(plain(OPTIONS)))["clouds"]["opacity"] == [0.1, 0.2]
