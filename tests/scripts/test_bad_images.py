"""Folders with bad images in them: what is sound is done, what is not is named."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import thiefcloud
from tests.helpers import (
    EXTRACT,
    PREDICT,
    SIMULATE,
    TEST_CD,
    assert_one_error,
    run_script,
    write_images,
    write_pairs,
)
from tests.scripts.hostile import HOSTILE, assert_named, contents, write_hostile
from thiefcloud.inference import scene_files


@pytest.fixture
def thirty(tmp_path: Path) -> Path:
    """Twenty sound images of odd kinds and names, and ten hostile ones."""
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    write_images(folder, [f"{number}.png" for number in range(8)])
    write_images(folder, ["both.jpg", "both.tif", "both.png", "Zürich.png", f"{'long' * 60}.png"])
    write_images(folder / "deep" / "er", ["1.png"])
    write_images(elsewhere, ["1.png", "2.png"])
    (folder / "linked").symlink_to(elsewhere)
    (folder / "back").symlink_to(folder)
    (folder / "linked.png").symlink_to(elsewhere / "1.png")
    write_images(folder, ["gray.png"], bands=1)
    write_images(folder, ["alpha.png"], bands=4)
    write_images(folder, ["pixel.png"], height=1, width=1)
    write_hostile(folder)
    return folder


def test_twenty_of_thirty_are_restored_whenever_it_is_killed(
    thirty: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common: list[object] = [thirty, "--thickness", "--checkpoint", checkpoint, "--device", "cpu"]
    assert run_script(PREDICT, *common, "--out", tmp_path / "whole") == 2
    shown = capsys.readouterr()
    assert "20 of 30 images restored" in shown.out
    assert_named(shown.err, HOSTILE)
    expected = contents(tmp_path / "whole")
    assert len(expected) == 2 * 20
    assert {"both_jpg.png", "both_tif.tif", "both_png.png", "linked/2.png"} <= expected.keys()

    # Kill a second run, maybe within a file, then start it again.
    out = tmp_path / "out"
    command = [sys.executable, str(PREDICT), *map(str, common), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    delay = random.uniform(0, 0.5)
    print(f"killed {delay:.3f} s after the first file")  # shown if the test fails
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while not list(out.glob("*.png")):
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    (out / ".7.part-abcdefgh.png").write_bytes(b"half")
    assert run_script(PREDICT, *common, "--out", out) == 2
    assert_named(capsys.readouterr().err, HOSTILE)
    assert contents(out) == expected


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 123 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 123 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_an_image_too_large_for_memory_does_not_end_the_others(
    tmp_path: Path,
    checkpoint: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path / "in", ["1.png", "3.png"])
    write_images(tmp_path / "in", ["2.png"], width=50)
    restore = thiefcloud.restore_and_detect

    def limited(model: object, image: torch.Tensor, **options: bool) -> object:
        if image.shape[-1] == 50:
            raise error
        return restore(model, image, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scene_files, "restore_and_detect", limited)
    arguments = [tmp_path / "in", "--checkpoint", checkpoint, "--device", "cpu"]
    assert run_script(PREDICT, *arguments, "--out", tmp_path / "out") == 2
    assert_named(capsys.readouterr().err, ["2.png needs more memory than there is"])
    assert contents(tmp_path / "out").keys() == {"1.png", "3.png"}


def test_an_error_of_the_program_is_not_hidden(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object, **options: object) -> None:
        raise RuntimeError("mat1 and mat2 must have the same dtype")

    write_images(tmp_path, ["1.png"])
    monkeypatch.setattr(scene_files, "restore_and_detect", wrong)
    arguments = [tmp_path / "1.png", "--checkpoint", checkpoint, "--device", "cpu"]
    with pytest.raises(RuntimeError, match="mat1"):
        run_script(PREDICT, *arguments, "--out", tmp_path / "out")


def test_a_full_disk_ends_the_work(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    write_images(tmp_path / "in", ["1.png", "2.png"])
    monkeypatch.setattr("cloudkit.imaging.writing.write_atomically", full)
    arguments = [tmp_path / "in", "--checkpoint", checkpoint, "--device", "cpu"]
    assert run_script(PREDICT, *arguments, "--out", tmp_path / "out") == 2
    assert_one_error(capsys.readouterr().err, "No space left on device")


def test_maps_of_sound_images_are_written(
    tmp_path: Path, prior: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["1.png", "both.jpg", "both.tif"])
    write_hostile(tmp_path / "in")
    arguments = ["--images", tmp_path / "in", "--checkpoint", prior, "--device", "cpu"]
    assert run_script(TEST_CD, *arguments, "--out", tmp_path / "out") == 2
    assert_named(capsys.readouterr().err, HOSTILE)
    maps = {f"thickness/{name}.png" for name in ("1", "both_jpg", "both_tif")}
    assert contents(tmp_path / "out").keys() == maps


def test_clouds_over_sound_images_do_not_depend_on_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["1.png", "x.png"])
    write_hostile(tmp_path / "in")
    arguments = ["--clear", tmp_path / "in", "--copies", 2]
    assert run_script(SIMULATE, *arguments, "--out", tmp_path / "some") == 2
    assert_named(capsys.readouterr().err, HOSTILE)
    some = contents(tmp_path / "some")
    assert len(some) == 2 * 2 * 3 + 1

    for path in (tmp_path / "in").iterdir():
        if path.name in HOSTILE and not path.is_dir():
            path.unlink()
            write_images(tmp_path / "in", [f"{path.stem}.png"])
    (tmp_path / "in" / "folder.png" / "notes.txt").unlink()
    (tmp_path / "in" / "folder.png").rmdir()
    write_images(tmp_path / "in", ["folder.png"])
    assert run_script(SIMULATE, *arguments, "--out", tmp_path / "all") == 0
    every = contents(tmp_path / "all")
    assert {name: every[name] for name in some if name != "options.json"} == {
        name: content for name, content in some.items() if name != "options.json"
    }


def test_clouds_of_sound_pairs_are_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs", 4)
    (pairs / "cloudy" / "10.png").write_bytes(b"no image")
    write_images(pairs / "clear", ["20.png"], width=17)
    arguments = ["--root", pairs, "--out", tmp_path / "out", "--opacity", 0.01, "--ground", 1]
    assert run_script(EXTRACT, *arguments, "--likeness", 0.01) == 2
    assert_named(capsys.readouterr().err, ["10.png", "20.png"])
    assert contents(tmp_path / "out").keys() > {"options.json"}
    assert not {"10.png", "20.png"} & contents(tmp_path / "out").keys()
