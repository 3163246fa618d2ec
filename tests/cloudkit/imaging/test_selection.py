"""Bands and scale of a user's own images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rasterio.enums import ColorInterp

from cloudkit.imaging.formats import ImageError
from cloudkit.imaging.raster import read_raster
from cloudkit.imaging.selection import Selection, select
from cloudkit.imaging.writing import write_raster
from tests.cloudkit.imaging import geotiffs

BOA = {"BOA_QUANTIFICATION_VALUE": "10000", "BOA_ADD_OFFSET": "-1000"}
CASES: dict[str, tuple[str, dict[str, Any], tuple[float, float]]] = {
    "type": ("uint8", {}, (0, 255)),
    "16 bits": ("uint16", {}, (0, 65535)),
    "signed": ("int16", {}, (0, 32767)),
    "12 bits": ("uint16", {"nbits": 12}, (0, 4095)),
    "Sentinel-2, level 1C": ("uint16", {"tags": {"": {"QUANTIFICATION_VALUE": "10000"}}}, (0, 1e4)),
    "Sentinel-2, level 2A": ("uint16", {"tags": {"": BOA}}, (1000, 11000)),
    "Sentinel-2, signed": ("int16", {"tags": {"": BOA}}, (1000, 11000)),
    "Sentinel-2, own names": (
        "uint16",
        {"tags": {"S2": {"quantification_value": "10000", "RADIO_ADD_OFFSET_B04": "-1000"}}},
        (1000, 11000),
    ),
    "Sentinel-2, not a number": (
        "uint16",
        {"tags": {"": {"QUANTIFICATION_VALUE": "x"}}},
        (0, 65535),
    ),
    "Landsat": ("uint16", {"scales": (2.75e-5,) * 3, "offsets": (-0.2,) * 3}, (7272.727, 43636.36)),
    "temperature": ("int16", {"scales": (0.1,) * 3, "units": ("K",) * 3}, (0, 32767)),
    "heights": ("uint16", {"scales": (0.5,) * 3, "offsets": (-10.0,) * 3}, (0, 65535)),
    "floats": ("float32", {}, (0, 1)),
    "percent": ("float32", {"scales": (0.01,) * 3}, (0, 100)),
}


def selected(path: Path, **options: Any) -> Selection:
    return select(read_raster(path).properties, path, **options)


@pytest.mark.parametrize("case", CASES)
def test_the_scale_is_found(tmp_path: Path, case: str) -> None:
    dtype, options, (low, high) = CASES[case]
    pixels = geotiffs.ramp(dtype, 3, low, high)
    pixels[0, 0], pixels[0, 1] = np.ceil(low), high
    geotiffs.write(tmp_path / "a.tif", pixels, **options)
    selection, raster = selected(tmp_path / "a.tif"), read_raster(tmp_path / "a.tif")
    assert selection.scaling.low == pytest.approx((low,) * 3)
    assert selection.scaling.high == pytest.approx((high,) * 3)
    unit = selection.to_unit(raster)
    expected = ((pixels.astype(float) - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose(unit.permute(1, 2, 0), expected, atol=1e-6)

    # All values come back, also where the network changed something.
    changed = (unit + 1e-7).clamp(0, 1)
    stored = selection.to_stored(raster, unit, changed)
    np.testing.assert_allclose(stored, pixels, rtol=1e-6, atol=0 if dtype[0] != "f" else 1e-4)


def test_values_beyond_the_scale_stay_unless_they_are_changed(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint16", 3, 0, 65535)
    geotiffs.write(tmp_path / "a.tif", pixels, tags={"": BOA})
    selection, raster = selected(tmp_path / "a.tif"), read_raster(tmp_path / "a.tif")
    unit = selection.to_unit(raster)
    np.testing.assert_array_equal(selection.to_stored(raster, unit, unit), pixels)
    darker = unit.clone()
    darker[:, 5] = 0.5
    stored = selection.to_stored(raster, unit, darker)
    assert (stored[5] == 6000).all()
    np.testing.assert_array_equal(np.delete(stored, 5, 0), np.delete(pixels, 5, 0))


def test_a_scale_by_hand(tmp_path: Path) -> None:
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("int16", 3, -500, 9000))
    selection = selected(tmp_path / "a.tif", limits=(-500, 9000))
    assert (selection.scaling.low[0], selection.scaling.high[0]) == (-500, 9000)
    with pytest.raises(ImageError, match="--scale 0 65535"):
        selected(tmp_path / "a.tif", limits=(0, 65535))
    with pytest.raises(ImageError, match="below the peak of 65535"):
        selected(tmp_path / "a.tif", peak=65535)


@pytest.mark.parametrize("count", [4, 13])
def test_other_bands_pass_through(tmp_path: Path, count: int) -> None:
    pixels = geotiffs.ramp("uint16", count, 1, 65535)
    geotiffs.write(tmp_path / "a.tif", pixels)
    selection, raster = (
        selected(tmp_path / "a.tif", bands=(4, 3, 2)),
        read_raster(tmp_path / "a.tif"),
    )
    unit = selection.to_unit(raster)
    np.testing.assert_allclose(unit.permute(1, 2, 0), pixels[..., [3, 2, 1]] / 65535, atol=1e-6)

    stored = selection.to_stored(raster, unit, torch.zeros_like(unit))
    merged = selection.merge(raster, stored).pixels
    assert not merged[..., 1:4].any()
    np.testing.assert_array_equal(np.delete(merged, [1, 2, 3], 2), np.delete(pixels, [1, 2, 3], 2))


def test_only_the_chosen_bands_tell_valid_pixels(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint8", 4, 1, 255)
    pixels[3, :, 0], pixels[4, :, 2] = 0, 0
    geotiffs.write(tmp_path / "a.tif", pixels, nodata=0, photometric="minisblack")
    raster = read_raster(tmp_path / "a.tif")
    valid = selected(tmp_path / "a.tif", bands=(4, 3, 2)).valid(raster)
    assert valid[3].all()
    assert not valid[4].any()


def test_the_order_that_the_user_names_wins_over_named_colours(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint8", 3, 0, 255)
    geotiffs.write(tmp_path / "a.tif", pixels, photometric="rgb")
    unit = selected(tmp_path / "a.tif", bands=(3, 2, 1)).to_unit(read_raster(tmp_path / "a.tif"))
    np.testing.assert_allclose(unit.permute(1, 2, 0), pixels[..., ::-1] / 255, atol=1e-6)


def test_bands_in_a_file_with_named_colours_in_another_order(tmp_path: Path) -> None:
    """GDAL's places count, not those of the colours after sorting."""
    pixels = geotiffs.ramp("uint8", 3, 0, 255)
    colours = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    geotiffs.write(tmp_path / "a.tif", pixels, colorinterp=colours, photometric="minisblack")
    unit = selected(tmp_path / "a.tif", bands=(1,)).to_unit(read_raster(tmp_path / "a.tif"))
    np.testing.assert_allclose(unit[0], pixels[..., 0] / 255, atol=1e-6)


@pytest.mark.parametrize(("bands", "part"), [((), "--bands 4 3 2"), ((5, 3, 2), "band 5")])
def test_bands_that_do_not_fit(tmp_path: Path, bands: tuple[int, ...], part: str) -> None:
    pixels = geotiffs.ramp("uint8", 4, 0, 255)
    geotiffs.write(tmp_path / "a.tif", pixels, photometric="minisblack")
    with pytest.raises(ImageError, match=part):
        selected(tmp_path / "a.tif", bands=bands)


def test_alpha_is_no_colour(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("uint8", 4, 0, 255)
    geotiffs.write(tmp_path / "a.tif", pixels, photometric="rgb", alpha="yes")
    with pytest.raises(ImageError, match="no colour in band 4"):
        selected(tmp_path / "a.tif", bands=(4, 3, 2))


@pytest.mark.parametrize(
    ("dtype", "value", "options"),
    [
        ("uint8", 0, {"nodata": 0}),
        ("uint8", 255, {"nodata": 255}),
        ("int16", 0, {"nodata": 0}),
        ("float32", 0.0, {"nodata": 0}),
        ("float32", 1.0, {"nodata": 1}),
        ("uint8", 0, {"tags": {"": {"NODATA_VALUES": "0 0 0"}}}),
        ("uint8", 0, {"nodata": 0, "photometric": "miniswhite"}),
    ],
)
def test_restored_pixels_do_not_become_no_data(
    tmp_path: Path, dtype: str, value: float, options: dict[str, Any]
) -> None:
    """Water below a veil becomes black, and many files say that black is no data."""
    high = {"uint8": 200, "int16": 9000}.get(dtype, 0.9)
    bands = 1 if "photometric" in options else 3
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp(dtype, bands, high / 9, high), **options)
    raster, selection = read_raster(tmp_path / "a.tif"), selected(tmp_path / "a.tif")
    unit = selection.to_unit(raster)
    black_or_white = torch.full_like(unit, float(value != 0))
    if "photometric" in options:
        black_or_white = 1 - black_or_white  # as stored, 0 is white
    restored = selection.merge(raster, selection.to_stored(raster, unit, black_or_white))
    write_raster(tmp_path / "b.tif", restored)
    assert (geotiffs.mask_of(tmp_path / "b.tif") > 0).all()
    after = geotiffs.stored(tmp_path / "b.tif").astype(float)
    np.testing.assert_allclose(after, value, rtol=0, atol=1 if dtype != "float32" else 3e-4)


def test_infinite_values_are_refused_at_any_scale(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("float32", 3, 0.1, 0.9)
    pixels[3, 4, 1] = np.inf
    geotiffs.write(tmp_path / "a.tif", pixels)
    for limits in ((0, 1), (-0.1, 1)):
        with pytest.raises(ImageError, match="infinite"):
            selected(tmp_path / "a.tif", limits=limits).to_unit(read_raster(tmp_path / "a.tif"))


def test_infinity_may_mean_no_data(tmp_path: Path) -> None:
    pixels = geotiffs.ramp("float32", 3, 0, 1)
    pixels[0, 0] = np.inf
    geotiffs.write(tmp_path / "a.tif", pixels, nodata=np.inf)
    for options in ({"limits": (0.1, 1.1)}, {"peak": 1.0}):
        unit = selected(tmp_path / "a.tif", **options).to_unit(read_raster(tmp_path / "a.tif"))
        assert (unit[:, 0, 0] == 0).all()
        assert unit.isfinite().all()


def test_an_image_may_be_white_by_its_type_or_its_largest_value(tmp_path: Path) -> None:
    """A cloud that hides all of an image is no wrong scale."""
    path = tmp_path / "a.tif"
    geotiffs.write(path, np.full((4, 5, 3), 255, np.uint8))
    for options in ({}, {"peak": 255.0}):
        selection, raster = selected(path, **options), read_raster(path)
        assert selection.to_unit(raster, whole=True).min() == 1
    selection = selected(path, peak=254.0)
    assert selection.to_unit(raster).min() == 1  # a window
    with pytest.raises(ImageError, match="nearly all values reach 254, which is white by --peak"):
        selection.to_unit(raster, whole=True)


@pytest.mark.parametrize(
    ("options", "tags", "advice"),
    [
        ({"peak": 10000.0}, {}, "leave --peak out"),
        ({"limits": (0.0, 10000.0)}, {}, "leave --scale out"),
        ({}, {"QUANTIFICATION_VALUE": "10000"}, "Sentinel-2's quantification in the file, so give"),
    ],
)
def test_floats_far_below_their_scale(
    tmp_path: Path, options: dict[str, Any], tags: dict[str, str], advice: str
) -> None:
    """A whole image of [0, 1] is refused; a dark window of a bright image is not."""
    geotiffs.write(tmp_path / "a.tif", geotiffs.ramp("float32", 3, 0, 1), tags={"": tags})
    selection, raster = selected(tmp_path / "a.tif", **options), read_raster(tmp_path / "a.tif")
    with pytest.raises(
        ImageError, match=f"its floats reach only 0.998.*, .* the peak of 10000; .*{advice}"
    ):
        selection.to_unit(raster, whole=True)
    assert selection.to_unit(raster).max() == pytest.approx(1e-4, rel=0.01)
    selection.require_reach(0.4)
