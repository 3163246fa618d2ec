"""ThiefCloud/predict.py on scenes that it restores tile by tile."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.images import write_image
from tests.cloudkit.imaging import geotiffs
from tests.helpers import PREDICT, Killed, break_at, noise, squeezed
from tests.scripts.predicting import differences, files, predict, scene
from thiefcloud.inference import planning
from thiefcloud.inference.rasters import RasterTarget
from thiefcloud.inference.tiles import Window

ARGUMENTS = ("--bands", 4, 3, 2, "--tile", 32)


@pytest.mark.parametrize("count", [4, 13])
def test_tiles_give_the_result_of_one_pass(tmp_path: Path, checkpoint: Path, count: int) -> None:
    pixels = scene(tmp_path / "a.tif", count, rim=False, photometric="minisblack")
    whole, tiles = tmp_path / "whole", tmp_path / "tiles"
    arguments = (tmp_path / "a.tif", "--bands", 4, 3, 2, "--thickness", "--out")
    assert predict(checkpoint, *arguments, whole) == 0
    assert predict(checkpoint, *arguments, tiles, "--tile", 32) == 0
    assert files(tiles) == files(whole) == ["a.tif", "a_thickness.tif"]

    expected, found = geotiffs.stored(whole / "a.tif"), geotiffs.stored(tiles / "a.tif")
    np.testing.assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=1)
    assert (found[..., 1:4] != pixels[..., 1:4]).mean() > 0.5
    np.testing.assert_array_equal(np.delete(found, [1, 2, 3], 2), np.delete(pixels, [1, 2, 3], 2))
    for folder in (whole, tiles):
        assert differences(tmp_path / "a.tif", folder / "a.tif", tiled=folder == tiles) == []
    thickness = [
        geotiffs.stored(folder / "a_thickness.tif").astype(int) for folder in (whole, tiles)
    ]
    np.testing.assert_allclose(thickness[0], thickness[1], rtol=0, atol=66)


def test_fast_tiles_give_the_result_of_one_fast_pass(
    tmp_path: Path, inverting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(tmp_path / "a.tif", rim=False, photometric="minisblack")
    arguments = (tmp_path / "a.tif", "--bands", 4, 3, 2, "--out")
    assert predict(inverting, *arguments, tmp_path / "full") == 0
    assert predict(inverting, *arguments, tmp_path / "whole", "--fast") == 0
    assert predict(inverting, *arguments, tmp_path / "tiles", "--fast", "--tile", 32) == 0
    assert "fast, 4 tiles of 32 pixels, about" in capsys.readouterr().out

    full, whole, tiles = (
        geotiffs.stored(tmp_path / out / "a.tif").astype(int) for out in ("full", "whole", "tiles")
    )
    np.testing.assert_allclose(tiles, whole, rtol=0, atol=1)
    assert (abs(full - whole) > 10).mean() > 0.1


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


def test_a_dark_part_of_a_scene_of_floats(tmp_path: Path, checkpoint: Path) -> None:
    pixels = geotiffs.ramp("float32", 3, 50, 8050, height=90)
    pixels[-40:] = 0.4
    geotiffs.write(tmp_path / "a.tif", pixels)
    arguments = (tmp_path / "a.tif", "--peak", 10000, "--out")
    assert predict(checkpoint, *arguments, tmp_path / "whole") == 0
    assert predict(checkpoint, *arguments, tmp_path / "tiles", "--tile", 32) == 0
    whole, tiles = (geotiffs.stored(tmp_path / out / "a.tif") for out in ("whole", "tiles"))
    np.testing.assert_allclose(tiles, whole, rtol=0, atol=0.2)


@pytest.mark.parametrize("tile", [32, 96])
def test_floats_far_below_the_peak_are_refused_in_tiles_too(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], tile: int
) -> None:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("float32", 3, 0, 1, height=90))
    arguments = (tmp_path / "a.tif", "--peak", 10000, "--tile", tile, "--out", tmp_path / "out")
    assert predict(checkpoint, *arguments) == 2
    assert "far below the peak of 10000; leave --peak out" in squeezed(capsys.readouterr().err)
    assert not (tmp_path / "out" / "a.tif").exists()


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


@pytest.mark.parametrize("name", ["a.png", "deep.png", "a.jpg", "gray.png"])
def test_photos_become_png_from_tiles(tmp_path: Path, checkpoint: Path, name: str) -> None:
    image = noise(bands=1 if name == "gray.png" else 3, height=40, width=50)
    write_image(tmp_path / name, image, bits=16 if name == "deep.png" else 8)
    for out, tile in (("whole", 64), ("tiles", 32)):
        arguments = ("--out", tmp_path / out, "--tile", tile, "--thickness")
        assert predict(checkpoint, tmp_path / name, *arguments) == 0
    stem = Path(name).stem
    assert files(tmp_path / "tiles") == [f"{stem}.png", f"{stem}_thickness.png"]
    first, second = (geotiffs.stored(tmp_path / out / f"{stem}.png") for out in ("whole", "tiles"))
    np.testing.assert_allclose(first.astype(int), second.astype(int), rtol=0, atol=1)
    assert first.dtype == second.dtype


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


def test_results_are_kept(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", noise())
    scene(tmp_path / "b.tif", 3)
    out = tmp_path / "out"
    arguments = (tmp_path / "a.png", tmp_path / "b.tif", "--out", out, "--tile", 32)
    assert predict(checkpoint, *arguments) == 0
    for name in ("a.png", "b.tif"):
        (out / name).write_bytes(b"mine")
    capsys.readouterr()

    assert predict(checkpoint, *arguments) == 0
    assert "0 of 2 images restored" in (shown := capsys.readouterr().out)
    assert "2 results were there already and are kept" in shown
    assert (out / "a.png").read_bytes() == (out / "b.tif").read_bytes() == b"mine"
    assert predict(checkpoint, *arguments, "--overwrite") == 0
    assert (out / "a.png").stat().st_size > 99
    assert (out / "b.tif").stat().st_size > 99


def test_a_dry_run_says_the_plan_and_writes_nothing(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(tmp_path / "a.tif", photometric="minisblack")
    arguments = (tmp_path / "a.tif", *ARGUMENTS, "--out", tmp_path / "out", "--dry-run")
    assert predict(checkpoint, *arguments) == 0
    assert not (tmp_path / "out").exists()
    shown = capsys.readouterr().out
    for part in (
        "60 x 40 pixels",
        "4 bands of uint16",
        "scale 0 to 10000 (Sentinel-2's quantification)",
        "no-data 0",
        "4 tiles of 32 pixels",
        "GB of memory",
    ):
        assert part in shown


def test_many_small_images_are_said_in_one_line(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abcd":
        write_image(tmp_path / "in" / f"{name}.png", noise())
    scene(tmp_path / "in" / "large.tif", 3)
    arguments = (tmp_path / "in", "--out", tmp_path / "out", "--tile", 32)
    assert predict(checkpoint, *arguments, "--dry-run") == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert predict(checkpoint, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "large.tif: 60 x 40 pixels" in lines[0]
    expected = "in one pass: 4 images with 3 bands of uint8, scale 0 to 255 (the range of uint8), "
    assert lines[1] == f"{expected}no no-data"
    assert len(lines) == 3


def test_a_cog(tmp_path: Path, checkpoint: Path) -> None:
    scene(tmp_path / "a.tif", photometric="minisblack")
    for out, tile in (("whole", 64), ("tiles", 32)):
        arguments = ("--bands", 4, 3, 2, "--out", tmp_path / out, "--tile", tile, "--cog")
        assert predict(checkpoint, tmp_path / "a.tif", *arguments) == 0
        with tifffile.TiffFile(tmp_path / out / "a.tif") as file:
            assert file.pages.first.is_tiled
        content = (tmp_path / out / "a.tif").read_bytes()[:200]
        assert b"LAYOUT=IFDS_BEFORE_DATA" in content
        with rasterio.open(tmp_path / out / "a.tif") as dataset:
            assert dataset.tags(ns="THIEFCLOUD")["BANDS"] == "4 3 2"
