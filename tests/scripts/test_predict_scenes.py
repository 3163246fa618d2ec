"""ThiefCloud/predict.py on scenes that it restores tile by tile."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from cloudkit.imaging.images import write_image
from tests.cloudkit.imaging import geotiffs
from tests.helpers import noise, squeezed
from tests.scripts.predicting import differences, files, predict, scene

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
