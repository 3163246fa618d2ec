"""Folders that scripts write to, and patterns of what they read."""

import os
from pathlib import Path

import pytest

from cloudkit.folders import FolderLock
from tests.helpers import (
    EXTRACT,
    PREDICT,
    SIMULATE,
    TEST,
    TEST_CD,
    assert_one_error,
    run_script,
    write_images,
    write_pairs,
)
from tests.scripts.hostile import contents


@pytest.mark.parametrize("script", [PREDICT, TEST_CD, TEST, SIMULATE, EXTRACT])
@pytest.mark.parametrize("used", [True, False])
def test_a_folder_in_use_or_named_like_a_file_is_refused_before_any_work(
    script: Path,
    used: bool,
    tmp_path: Path,
    checkpoint: Path,
    prior: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = write_pairs(tmp_path / "pairs", 3)
    clear = pairs / "clear"
    arguments: dict[Path, list[object]] = {
        PREDICT: [clear / "0.png", "--checkpoint", checkpoint],
        TEST_CD: ["--images", clear, "--checkpoint", prior],
        TEST: ["--dataset", "folder", "--root", pairs, "--restored", clear],
        SIMULATE: ["--clear", clear],
        EXTRACT: ["--root", pairs],
    }
    out = tmp_path / ("out" if used else "cleared.png")
    lock = FolderLock(out)
    if used:
        lock.acquire()
    try:
        assert run_script(script, *arguments[script], "--out", out) == 2
        message = f"is in use by process {os.getpid()}" if used else "is named like a file"
        assert_one_error(capsys.readouterr().err, message)
        assert not out.exists() or set(out.iterdir()) == {lock.lock_file, lock.holder_file}
    finally:
        lock.release()


def test_patterns_are_expanded_as_on_other_systems(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path, ["1.tif", "2.tif", "3.png", ".4.tif", "a[1].png", "deep/5.tif"])
    monkeypatch.chdir(tmp_path)
    common = ["--checkpoint", checkpoint, "--device", "cpu"]
    assert run_script(PREDICT, "*.tif", "a[1].png", *common, "--out", "out") == 0
    assert contents(tmp_path / "out").keys() == {"1.tif", "2.tif", "a[1].png"}
    assert run_script(PREDICT, "de*", tmp_path / "**" / "3.p?g", *common, "--out", "all") == 0
    assert contents(tmp_path / "all").keys() == {"5.tif", "3.png"}

    capsys.readouterr()
    assert run_script(PREDICT, "*.jp2", *common, "--out", "none") == 2
    assert_one_error(capsys.readouterr().err, "matches the pattern *.jp2")
    assert not (tmp_path / "none").exists()
