"""ThiefCloud/predict.py --layer and --blend: corrections that GDAL applies to the scene."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

from cloudkit.imaging.images import write_image
from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED
from tests.helpers import Killed, assert_one_error, break_at, noise, squeezed
from tests.scripts.predicting import files, predict, scene
from thiefcloud.inference.rasters import RasterTarget

OFFSET = {"": {"QUANTIFICATION_VALUE": "8000", "BOA_ADD_OFFSET": "-1000"}}
# Type of the pixels, number of bands, options of the file and of the command.
CASES: dict[str, tuple[str, int, dict[str, Any], tuple[object, ...]]] = {
    "8 bits": ("uint8", 3, PLACED, ()),
    "no-data": ("uint16", 5, PLACED | {"nodata": 0}, ("--bands", 4, 3, 2, "--peak", 10000)),
    "offset": ("uint16", 3, PLACED | {"tags": OFFSET, "nodata": 0}, ()),
    "signed": ("int16", 4, {"nodata": -9999}, ("--bands", 1, 2, 3, "--scale", -100, 9000)),
    "floats": ("float32", 3, PLACED | {"nodata": float("nan")}, ()),
    "gray": ("uint8", 1, PLACED, ()),
    "mask": ("uint8", 3, {"mask": np.tri(40, 60, dtype=bool)}, ()),
    "alpha": ("uint8", 4, {"photometric": "rgb", "alpha": "yes"}, ()),
    "blend": ("uint8", 3, PLACED, ("--blend",)),
}


def write(path: Path, case: str) -> None:
    dtype, count, options, _ = CASES[case]
    high = {"uint8": 250, "float32": 0.9}.get(dtype, 9500)
    pixels = geotiffs.ramp(dtype, count, high / 7, high, height=40)
    pixels = np.concatenate((pixels, pixels[::-1]), 1)
    pixels[30:, 50:] = options.get("nodata", 0)
    geotiffs.write(path, pixels, **options)


@pytest.mark.parametrize("case", CASES)
def test_the_vrt_shows_the_restored_scene(tmp_path: Path, inverting: Path, case: str) -> None:
    write(tmp_path / "a.tif", case)
    arguments = (tmp_path / "a.tif", *CASES[case][3], "--tile", 32, "--out")
    assert predict(inverting, *arguments, tmp_path / "tiles") == 0
    assert predict(inverting, *arguments, tmp_path / "layer", "--layer") == 0
    assert files(tmp_path / "layer") == ["a.vrt", "a_gain.tif", "a_offset.tif"]

    source, tiles = tmp_path / "a.tif", tmp_path / "tiles" / "a.tif"
    result = tmp_path / "layer" / "a.vrt"
    expected, found = geotiffs.stored(tiles), geotiffs.stored(result)
    assert found.dtype == expected.dtype
    tolerance = 1e-6 if found.dtype.kind == "f" else 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(geotiffs.mask_of(result), geotiffs.mask_of(tiles))
    ours, theirs = geotiffs.properties(result), geotiffs.properties(tiles)
    for name in ("crs", "transform", "nodatavals", "scales", "offsets", "tags 0 THIEFCLOUD"):
        assert ours[name] == theirs[name]

    gain = geotiffs.stored(tmp_path / "layer" / "a_gain.tif")
    with rasterio.open(source) as before, rasterio.open(result.with_name("a_gain.tif")) as after:
        assert (after.crs, after.transform) == (before.crs, before.transform)
        assert after.tags(ns="THIEFCLOUD")["WEIGHTS"] == "inverting.pt"
    assert gain.dtype == np.float32
    assert (gain > 1.001).mean() > 0.1
    assert (gain[30:, 50:] == 1).all()
    assert (geotiffs.stored(tmp_path / "layer" / "a_offset.tif")[30:, 50:] == 0).all()


def test_a_layer_of_one_tile_is_that_of_tiles(tmp_path: Path, inverting: Path) -> None:
    write(tmp_path / "a.tif", "8 bits")
    for out, tile in (("whole", 64), ("tiles", 32)):
        arguments = ("--layer", "--thickness", "--tile", tile, "--out", tmp_path / out)
        assert predict(inverting, tmp_path / "a.tif", *arguments) == 0
    for name, tolerance in (("a.vrt", 1), ("a_gain.tif", 1e-3), ("a_thickness.tif", 66)):
        first, second = (geotiffs.stored(tmp_path / out / name) for out in ("whole", "tiles"))
        difference = np.abs(first.astype(float) - second.astype(float))
        assert np.quantile(difference, 0.999) <= tolerance


def test_a_killed_run_goes_on_and_results_are_kept(
    tmp_path: Path,
    inverting: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "a.tif", "no-data")
    arguments = (tmp_path / "a.tif", *CASES["no-data"][3], "--layer", "--tile", 32, "--out")
    assert predict(inverting, *arguments, tmp_path / "unbroken") == 0
    with monkeypatch.context() as patch:
        break_at(patch, RasterTarget, "finish", 3)
        with pytest.raises(Killed):
            predict(inverting, *arguments, tmp_path / "out")
    assert predict(inverting, *arguments, tmp_path / "out") == 0
    for name in files(tmp_path / "unbroken"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()

    capsys.readouterr()
    assert predict(inverting, *arguments, tmp_path / "out") == 0
    assert "1 results were there already" in capsys.readouterr().out
    (tmp_path / "out" / "a_gain.tif").unlink()
    assert predict(inverting, *arguments, tmp_path / "out") == 0
    assert (tmp_path / "out" / "a_gain.tif").exists()


def test_files_that_get_no_layer_are_named(
    tmp_path: Path, inverting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_image(folder / "1.png", noise())
    write_image(folder / "2.png", noise(), bits=16)
    write_image(folder / "3.jpg", noise())
    pixels = geotiffs.ramp("uint8", 3, 9, 250)
    tifffile.imwrite(folder / "4.tif", pixels, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    geotiffs.write(folder / "5.tif", pixels[..., :1], photometric="miniswhite")
    Image.fromarray(pixels).convert("P").save(folder / "6.tif")
    geotiffs.write(folder / "7.tif", pixels, **PLACED)

    assert predict(inverting, folder, "--layer", "--out", tmp_path / "out") == 2
    assert files(tmp_path / "out") == ["7.vrt", "7_gain.tif", "7_offset.tif"]
    lines = capsys.readouterr().err.split("error: these were left out:")[1].splitlines()[1:]
    names = ("1.png is PNG", "2.png is PNG", "3.jpg is JPEG", "4.tif gets", "5.tif gets", "6.tif")
    for line, name in zip(lines, names, strict=True):
        assert name in line
        assert "--layer" in line


def test_weights_without_inversion_and_options_that_contradict(
    tmp_path: Path, checkpoint: Path, inverting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene(tmp_path / "a.tif", 3)
    arguments = (tmp_path / "a.tif", "--layer", "--out", tmp_path / "out")
    assert predict(checkpoint, *arguments) == 2
    assert_one_error(capsys.readouterr().err, "without inversion", "leave out --layer")
    for option in (("--flips",), ("--onnx", "a.onnx")):
        assert predict(inverting, *arguments, *option) == 2
        assert f"leave out {option[0]}" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_files_of_a_layer_replace_no_input(
    tmp_path: Path, inverting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.tif", "a_gain.tif"):
        scene(tmp_path / name, 3)
    assert (
        predict(
            inverting, tmp_path / "a.tif", tmp_path / "a_gain.tif", "--layer", "--out", tmp_path
        )
        == 2
    )
    replaced = f"{tmp_path / 'a.tif'} is one of the images to restore and would be replaced"
    assert replaced in squeezed(capsys.readouterr().err)


@pytest.mark.parametrize("tile", [32, 64])
def test_blending_keeps_what_is_clear(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    """In one pass and in tiles alike."""
    write(tmp_path / "a.tif", "8 bits")
    arguments = (tmp_path / "a.tif", "--thickness", "--tile", tile, "--out")
    assert predict(checkpoint, *arguments, tmp_path / "all") == 0
    thickness = geotiffs.stored(tmp_path / "all" / "a_thickness.tif")[..., 0] / 65535
    low, high = np.quantile(thickness[thickness > 0], [0.4, 0.6])
    monkeypatch.setattr("thiefcloud.inference.blending.CLEAR", low)
    monkeypatch.setattr("thiefcloud.inference.blending.CLOUD", high)
    assert predict(checkpoint, *arguments, tmp_path / "blend", "--blend") == 0
    before, after = geotiffs.stored(tmp_path / "a.tif"), geotiffs.stored(tmp_path / "blend/a.tif")
    whole = geotiffs.stored(tmp_path / "all" / "a.tif")
    clear, cloud = thickness < low - 1e-5, thickness > high + 1e-5
    assert min(clear.mean(), cloud.mean()) > 0.3
    np.testing.assert_array_equal(after[clear], before[clear])
    np.testing.assert_array_equal(after[cloud], whole[cloud])
    assert (whole[clear & (thickness > 0)] != before[clear & (thickness > 0)]).mean() > 0.5
    with rasterio.open(tmp_path / "blend" / "a.tif") as dataset:
        assert dataset.tags(ns="THIEFCLOUD")["OPTIONS"] == "--blend"
