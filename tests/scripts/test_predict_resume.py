"""Interrupted restorations by ThiefCloud/predict.py, and what the next run makes of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloudkit.imaging.formats import ImageError
from tests.helpers import PREDICT, Killed, break_at
from tests.scripts.predicting import files, predict, scene
from thiefcloud.inference import planning
from thiefcloud.inference.rasters import RasterTarget
from thiefcloud.inference.tiles import Window

ARGUMENTS = ("--bands", 4, 3, 2, "--tile", 32)


def test_an_unfinished_full_restoration_is_not_finished_fast(
    tmp_path: Path, inverting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene(tmp_path / "a.tif", photometric="minisblack")
    arguments = (tmp_path / "a.tif", *ARGUMENTS, "--out")
    assert predict(inverting, *arguments, tmp_path / "fast", "--fast") == 0
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 3)
        with pytest.raises(Killed):
            predict(inverting, *arguments, tmp_path / "out")
    assert predict(inverting, *arguments, tmp_path / "out", "--fast") == 0
    results = [(tmp_path / out / "a.tif").read_bytes() for out in ("fast", "out")]
    assert results[0] == results[1]


def test_tiles_of_another_kind_of_run_do_not_set_the_size(
    tmp_path: Path,
    inverting: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene(tmp_path / "a.tif", photometric="minisblack")
    monkeypatch.setattr(planning, "WHOLE", 100)
    monkeypatch.setattr(planning, "largest_tile", lambda *, fast: 48 if fast else 32)
    arguments = (tmp_path / "a.tif", "--bands", 4, 3, 2, "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 1)
        with pytest.raises(Killed):
            predict(inverting, *arguments, "--fast")
    assert "tiles of 48 pixels" in capsys.readouterr().out

    assert predict(inverting, *arguments) == 0
    shown = capsys.readouterr().out
    assert "tiles of 32 pixels" in shown
    assert "tiles of 48 pixels" not in shown


def test_an_unreadable_block_loses_no_finished_tile(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A disk of the network may fail for a while."""
    scene(tmp_path / "a.tif", photometric="minisblack")
    arguments = (tmp_path / "a.tif", "--bands", 4, 3, 2, "--tile", 32, "--out")
    assert predict(checkpoint, *arguments, tmp_path / "unbroken") == 0
    finish = RasterTarget.finish
    with monkeypatch.context() as patch:
        tiles: list[Window] = []

        def failing(target: RasterTarget, tile: Window) -> None:
            if len(tiles) == 2:
                raise ImageError("a.tif cannot be read")
            finish(target, tile)
            tiles.append(tile)

        patch.setattr(RasterTarget, "finish", failing)
        assert predict(checkpoint, *arguments, tmp_path / "out") == 2
    assert "a.tif cannot be read" in capsys.readouterr().err

    finished: list[Window] = []

    def counted(target: RasterTarget, tile: Window) -> None:
        finish(target, tile)
        finished.append(tile)

    with monkeypatch.context() as patch:
        patch.setattr(RasterTarget, "finish", counted)
        assert predict(checkpoint, *arguments, tmp_path / "out") == 0
    assert len(finished) == 2, "the other two of four were kept"
    results = [(tmp_path / out / "a.tif").read_bytes() for out in ("unbroken", "out")]
    assert results[0] == results[1]


def test_a_killed_run_goes_on(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene(tmp_path / "a.tif", photometric="minisblack")
    arguments = (tmp_path / "a.tif", "--bands", 4, 3, 2, "--thickness", "--out")
    assert predict(checkpoint, *arguments, tmp_path / "unbroken", "--tile", 32) == 0
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 3)
        with pytest.raises(Killed):
            predict(checkpoint, *arguments, tmp_path / "out", "--tile", 32)
    assert not [name for name in files(tmp_path / "out") if not name.startswith(".")]

    finished: list[Window] = []
    finish = RasterTarget.finish

    def counted(self: RasterTarget, tile: Window) -> None:
        finished.append(tile)
        finish(self, tile)

    monkeypatch.setattr(RasterTarget, "finish", counted)
    assert predict(checkpoint, *arguments, tmp_path / "out") == 0  # the side of tiles is known
    assert len(finished) == 2
    for name in ("a.tif", "a_thickness.tif"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    assert files(tmp_path / "out") == files(tmp_path / "unbroken")


def test_a_process_that_is_killed(tmp_path: Path, checkpoint: Path) -> None:
    """SIGKILL, at whatever moment, then the same command again."""
    scene(tmp_path / "a.tif", photometric="minisblack")
    options = map(str, (tmp_path / "a.tif", "--bands", 4, 3, 2, "--tile", 32, "--device", "cpu"))
    command = [sys.executable, str(PREDICT), *options, "--checkpoint", str(checkpoint), "--out"]
    out = tmp_path / "out"
    running = subprocess.Popen([*command, str(out)], start_new_session=True)
    while not list(out.glob(".*/pixels_*.npy")) and running.poll() is None:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run([*command, str(out)], check=True)
    subprocess.run([*command, str(tmp_path / "unbroken")], check=True)
    assert (out / "a.tif").read_bytes() == (tmp_path / "unbroken" / "a.tif").read_bytes()
    assert files(out) == ["a.tif"]


def test_another_scene_or_option_begins_anew(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene(tmp_path / "a.tif", photometric="minisblack")
    arguments = (tmp_path / "a.tif", "--bands", 4, 3, 2, "--tile", 32, "--out")
    assert predict(checkpoint, *arguments, tmp_path / "unbroken", "--peak", 9000) == 0
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 3)
        with pytest.raises(Killed):
            predict(checkpoint, *arguments, tmp_path / "out")
    assert predict(checkpoint, *arguments, tmp_path / "out", "--peak", 9000) == 0
    first, second = (tmp_path / out / "a.tif" for out in ("out", "unbroken"))
    assert first.read_bytes() == second.read_bytes()
