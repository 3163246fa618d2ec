"""ThiefCloud/predict.py on scenes and options that do not work, and what it says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cloudkit.imaging.images import write_image
from tests.cloudkit.imaging import geotiffs
from tests.helpers import Killed, assert_one_error, break_at, noise, squeezed
from tests.scripts.predicting import files, predict, scene
from thiefcloud.inference import planning
from thiefcloud.inference.rasters import RasterTarget


@pytest.mark.parametrize("tile", [32, 96])
@pytest.mark.parametrize(
    "scale", [("--peak", 1), ("--peak", 255), ("--scale", 0, 400), ("--scale", 2, 3)]
)
def test_a_scale_that_makes_all_white_is_refused(
    tmp_path: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    tile: int,
    scale: tuple[object, ...],
) -> None:
    """Restored values would be those of the scale, so the image would be lost."""
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("uint16", 3, 500, 9000, height=90))
    arguments = (tmp_path / "a.tif", *scale, "--tile", tile, "--out", tmp_path / "out")
    assert predict(checkpoint, *arguments) == 2
    message = f"a.tif: nearly all values reach {scale[-1]}, which is white by {scale[0]}; name a"
    assert message in squeezed(capsys.readouterr().err)
    assert not (tmp_path / "out" / "a.tif").exists()


@pytest.mark.parametrize("tile", [32, 96])
def test_a_scale_that_makes_all_black_is_named(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], tile: int
) -> None:
    pixels = geotiffs.ramp("uint16", 3, 500, 9000, height=90)
    geotiffs.write(tmp_path / "a.tif", pixels)
    arguments = (tmp_path / "a.tif", "--scale", 20000, 60000, "--tile", tile, "--out")
    assert predict(checkpoint, *arguments, tmp_path / "out") == 0
    shown = squeezed(capsys.readouterr().err)
    assert "a.tif has no data above 20000, which is black by --scale" in shown
    np.testing.assert_array_equal(geotiffs.stored(tmp_path / "out" / "a.tif"), pixels)


@pytest.mark.parametrize(("name", "size"), [("pixels", 0), ("pixels", 40), ("thickness", 300)])
def test_damaged_tiles_of_an_interrupted_run_are_restored_again(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    scene(tmp_path / "a.tif", 3)
    arguments = (tmp_path / "a.tif", "--tile", 32, "--thickness", "--out")
    assert predict(checkpoint, *arguments, tmp_path / "unbroken") == 0
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 4)
        with pytest.raises(Killed):
            predict(checkpoint, *arguments, tmp_path / "out")
    tile = next((tmp_path / "out").glob(f".*/{name}_0_32_*.npy"))
    tile.write_bytes(tile.read_bytes()[:size])

    assert predict(checkpoint, *arguments, tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["a.tif", "a_thickness.tif"]
    for file in files(tmp_path / "out"):
        found, expected = (tmp_path / folder / file for folder in ("out", "unbroken"))
        assert found.read_bytes() == expected.read_bytes()


def test_bad_scenes_are_named_and_the_others_go_on(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = scene(folder / "1.tif", 3, compress="lzw", blockysize=4)
    content = bytearray((folder / "1.tif").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    (folder / "2.tif").write_bytes(content)  # a block in the middle
    scene(folder / "3.tif", 13)
    geotiffs.write(folder / "4.tif", np.full((40, 50, 3), np.nan, np.float32))
    geotiffs.write(folder / "5.tif", good[:, :50].astype(np.float32))  # which white?
    geotiffs.write(folder / "6.tif", good[:, :1])
    endless = np.full((40, 50, 3), 0.5, np.float32)
    endless[20, 20] = np.inf
    geotiffs.write(folder / "7.tif", endless)

    assert predict(checkpoint, folder, "--out", tmp_path / "out", "--tile", 32) == 2
    assert files(tmp_path / "out") == ["1.tif", "4.tif", "6.tif"]
    assert np.isnan(geotiffs.stored(tmp_path / "out" / "4.tif")).all()
    shown = capsys.readouterr()
    assert "3 of 7 images restored" in shown.out
    lines = shown.err[shown.err.index("error: these were left out:") :].splitlines()[1:]
    parts = (
        "2.tif cannot be read",
        "--bands 4 3 2",
        "5.tif: floating",
        "7.tif: some pixels are infinite",
    )
    for line, part in zip(lines, parts, strict=True):
        assert part in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--tile", 8), "--tile is 8"),
        (("--bands", 1, 2), "--bands is 1 2"),
        (("--bands", 3, 3, 1), "names a band twice"),
        (("--bands", 0, 1, 2), "--bands is 0 1 2"),
        (("--scale", 5, 5), "--scale is 5 5"),
        (("--scale", 0, 9, "--peak", 9), "leave one of them out"),
        (("--flips", "--tile", 64), "leave out --tile 64, or --flips"),
        (("--onnx", "a.onnx", "--tile", 64), "leave out --tile 64, or --onnx"),
        (("--onnx", "a.onnx", "--fast"), "--fast computes a part of a network"),
    ],
)
def test_options_that_contradict(
    tmp_path: Path,
    checkpoint: Path,
    arguments: tuple[object, ...],
    part: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_image(tmp_path / "a.png", noise())
    assert predict(checkpoint, tmp_path / "a.png", *arguments, "--out", tmp_path / "out") == 2
    assert part in " ".join(capsys.readouterr().err.replace("\u2502", " ").split())


def test_flips_restore_in_one_pass_at_any_size(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene(tmp_path / "a.tif", 3)
    monkeypatch.setattr(planning, "WHOLE", 100)
    monkeypatch.setattr(planning, "largest_tile", lambda *, fast: 32)
    for options, said in (((), "4 tiles of 32 pixels"), (("--flips",), "one pass")):
        arguments = (tmp_path / "a.tif", *options, "--out", tmp_path / "out", "--overwrite")
        assert predict(checkpoint, *arguments) == 0
        assert said in capsys.readouterr().out


def test_one_pass_removes_the_tiles_of_an_interrupted_run(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene(tmp_path / "a.tif", 3)
    arguments = (tmp_path / "a.tif", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 3)
        with pytest.raises(Killed):
            predict(checkpoint, *arguments, "--tile", 32)
    assert predict(checkpoint, *arguments, "--tile", 64) == 0
    assert files(tmp_path / "out") == ["a.tif"]


def test_a_full_disk_is_said(
    tmp_path: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Finished tiles stay, so that the same command goes on when there is space."""
    scene(tmp_path / "a.tif", 3)
    out = tmp_path / "out"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    arguments = (tmp_path / "a.tif", "--tile", 32, "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr("thiefcloud.inference.rasters.write_scene", full)
        assert predict(checkpoint, *arguments) == 2
    assert_one_error(capsys.readouterr().err, "No space left", "same command")
    assert not (out / "a.tif").exists()
    assert len(list(out.glob(".*/pixels_*.npy"))) == 4
    assert predict(checkpoint, *arguments) == 0
    assert files(out) == ["a.tif"]
    shutil.rmtree(out)
