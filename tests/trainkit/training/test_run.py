import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import scpm.options as stage1
from cloudkit.errors import UserError
from cloudkit.processes import Processes
from scpm import CloudOptions
from tests.helpers import noise
from trainkit.training.precision import MixedPrecision
from trainkit.training.run import Run, read_options
from trainkit.training.trainer import Trainer

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
OPTIONS = stage1.PriorTrainOptions(
    clear=Path("chips"), steps=7, clouds=CloudOptions(opacity=(0.1, 0.2))
)


def make_run(
    out: Path | None, default: Path, *, resume: bool = False, processes: Processes = ALONE
) -> Run:
    return Run(dataclasses.replace(OPTIONS, out=out, resume=resume), default, processes)


def open_run(
    out: Path | None, default: Path, *, resume: bool = False, processes: Processes = ALONE
) -> Run:
    run = make_run(out, default, resume=resume, processes=processes)
    run.open()
    return run


def test_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume"):
        read_options(stage1.PriorTrainOptions, tmp_path)


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    out, default = tmp_path / "run", tmp_path / "default"
    open_run(out, default)
    before = (out / "options.json").read_bytes()
    message = r"run holds a run already; go on with it by --resume, or name another folder"
    with pytest.raises(UserError, match=message):
        make_run(out, default)
    assert (out / "options.json").read_bytes() == before
    open_run(out, default, resume=True)


def test_a_run_that_began_in_the_same_folder_meanwhile_is_kept(tmp_path: Path) -> None:
    out, default = tmp_path / "run", tmp_path / "default"
    late = make_run(out, default)
    open_run(out, default)
    before = (out / "options.json").read_bytes()
    with pytest.raises(UserError, match="holds a run already"):
        late.open()
    assert (out / "options.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_default_folder_is_moved_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        run = open_run(None, tmp_path / "scpm")
        assert run.path == tmp_path / "scpm"
        run.last.write_text(str(number))
        run.close()
    assert "kept as" in capsys.readouterr().out
    found = {path.name: (path / "last.pt").read_text() for path in tmp_path.iterdir()}
    assert found == {"scpm": "2", "scpm-1": "0", "scpm-2": "1"}


@pytest.mark.parametrize(("out", "resume"), [(None, False), ("run", True), ("run", False)])
def test_one_process_at_a_time_writes_a_run(
    tmp_path: Path, out: str | None, resume: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither does the folder move, nor is a file in it touched."""
    folder, default = None if out is None else tmp_path / out, tmp_path / "run"
    late = make_run(folder, default, resume=resume)
    first = open_run(folder, default)
    before = {path.name: path.read_bytes() for path in first.path.iterdir()}

    for begin in (late.open, lambda: make_run(folder, default, resume=resume)):
        with pytest.raises(
            UserError, match=rf"run is in use by process {os.getpid()} on \S+ since"
        ):
            begin()
    assert {path.name: path.read_bytes() for path in first.path.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

    first.close()
    assert [path.name for path in first.path.iterdir()] == ["options.json"]
    open_run(folder, default, resume=True).close()


def test_half_written_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    open_run(tmp_path / "run", tmp_path)
    leftover, kept = tmp_path / "run" / ".last.part-abc.pt", tmp_path / "run" / "last.pt"
    leftover.touch()
    kept.touch()
    open_run(tmp_path / "run", tmp_path, resume=True)
    assert not leftover.exists()
    assert kept.exists()


def test_nothing_is_written_before_the_run_is_opened(tmp_path: Path) -> None:
    make_run(tmp_path / "new" / "run", tmp_path)
    make_run(None, tmp_path / "default")
    open_run(tmp_path / "run", tmp_path)
    leftover = tmp_path / "run" / ".last.part-abc.pt"
    leftover.touch()
    make_run(tmp_path / "run", tmp_path, resume=True)
    assert leftover.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_only_a_run_with_a_state_goes_on(tmp_path: Path) -> None:
    def trainer() -> Trainer[torch.nn.Module]:
        precision = MixedPrecision("fp32", CPU)
        model = torch.nn.Linear(1, 1)
        return Trainer("scpm", model, {}, precision=precision, ema=0, processes=ALONE, options={})

    first = trainer()
    first.begin_phase(torch.optim.Adam(first.model.parameters()))
    first.progress.step = 7
    run = open_run(tmp_path / "run", tmp_path)
    assert not run.goes_on
    run.close()
    run = make_run(tmp_path / "run", tmp_path, resume=True)
    assert not run.goes_on  # killed before it saved
    first.save_last(run.last)
    run.close()

    again, anew = trainer(), trainer()
    run = make_run(tmp_path / "run", tmp_path, resume=True)
    assert run.goes_on
    run.restore(again)
    assert again.progress.step == 7
    assert torch.equal(again.model.weight, first.model.weight)  # type: ignore[arg-type]

    make_run(None, tmp_path / "run").restore(anew)
    assert anew.progress.step == 0
    assert not torch.equal(anew.model.weight, first.model.weight)  # type: ignore[arg-type]


def test_history_and_tensorboard(tmp_path: Path) -> None:
    first = open_run(tmp_path / "run", tmp_path)
    history: list[Mapping[str, float]] = []
    for step in (5, 10):
        history.append({"phase": 0, "epoch": 1, "step": step, "val/psnr": 20.0 + step})
        first.record(step, history, lambda: {"a": noise()})
    first.close()
    first.last.touch()
    again = open_run(tmp_path / "run", tmp_path, resume=True)  # as if step 10 was not saved
    again.record(10, history, lambda: {"a": noise()})
    again.close()

    assert json.loads((tmp_path / "run" / "history.json").read_text()) == history
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    scores = [(event.step, event.value) for event in events.Scalars("val/psnr")]
    assert scores == [(5, 25.0), (10, 30.0)]
    assert events.Tags()["scalars"] == ["val/psnr"]
    assert [event.step for event in events.Images("val/a")] == [5, 10]


def test_other_processes_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Processes, "barrier", lambda self: None)
    other = open_run(tmp_path / "run", tmp_path, processes=Processes(1, 2, CPU))
    other.record(1, [{"x": 1.0}], lambda: pytest.fail("pictures cost time"))
    other.close()
    assert not (tmp_path / "run").exists()


def test_a_folder_is_checked_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file, expected a folder"):
        make_run(tmp_path / "file", tmp_path)
    with pytest.raises(UserError, match="file is a file, expected a folder"):
        make_run(tmp_path / "file" / "run", tmp_path)
    make_run(tmp_path / "new" / "run", tmp_path)
    make_run(None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    folder = re.escape(str(tmp_path))
    message = rf"cannot be written to: {folder} is read-only; name another"
    with pytest.raises(UserError, match=message):
        make_run(tmp_path / "new" / "run", tmp_path)


@pytest.mark.parametrize("history", ["", "[", "3", "null", '[{"step": 1}, {"step": 2}]'])
def test_a_run_that_saved_and_has_no_state(tmp_path: Path, history: str) -> None:
    (tmp_path / "history.json").write_text(history)
    with pytest.raises(UserError, match=r"last\.pt is missing, so the run cannot go on"):
        make_run(tmp_path, tmp_path, resume=True)
    (tmp_path / "last.pt").touch()
    make_run(tmp_path, tmp_path, resume=True)
