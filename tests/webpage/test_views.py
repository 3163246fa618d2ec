from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.cloudkit.imaging import geotiffs
from tests.helpers import random_pixels
from thiefcloud.inference.image_files import open_scene
from thiefcloud.inference.options import PredictOptions
from thiefcloud.inference.tiles import Window
from webpage import views


def options_of(path: Path, **options: Any) -> PredictOptions:
    return PredictOptions(inputs=(path,), **options)


@pytest.mark.parametrize(("height", "width"), [(40, 30), (64, 64), (65, 20), (129, 131), (1, 70)])
def test_an_overview_averages_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.setattr(views, "SIDE", 32)
    monkeypatch.setattr(views, "_STRIP", 7)
    path = tmp_path / "a.tif"
    stored = geotiffs.write(path, random_pixels(np.uint8, height, width, 3))
    with open_scene(path, options_of(path)) as scene:
        found, step = views.overview(scene), views.step_of(scene)
        assert views.highest(scene) == pytest.approx(stored.max() / 255)

    rows, columns = -(-height // step), -(-width // step)
    assert found.shape == (3, rows, columns)
    assert max(rows, columns) <= 32
    for row in range(rows):
        for column in range(columns):
            block = stored[row * step : (row + 1) * step, column * step : (column + 1) * step]
            expected = block.reshape(-1, 3).mean(0) / 255
            np.testing.assert_allclose(found[:, row, column], expected, atol=1e-5)


@pytest.mark.parametrize("place", [(0, 0), (300, 400), (599, 799)])
def test_a_window_lies_within_the_scene(tmp_path: Path, place: tuple[int, int]) -> None:
    path = tmp_path / "a.tif"
    geotiffs.write(path, np.zeros((600, 800, 3), np.uint8))
    with open_scene(path, options_of(path)) as scene:
        window = views.window_around(scene, *place)
    assert (window.height, window.width) == (512, 512)
    assert window.top <= place[0] < window.bottom <= 600
    assert window.left <= place[1] < window.right <= 800


def test_a_window_of_a_small_scene_is_the_scene(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    geotiffs.write(path, np.zeros((20, 600, 3), np.uint8))
    with open_scene(path, options_of(path)) as scene:
        assert views.window_around(scene, 3, 300) == Window(0, 44, 20, 512)


def test_reflectance_is_shown_brighter_and_photos_as_they_are(tmp_path: Path) -> None:
    for dtype, peak in (("uint8", 255), ("uint16", 10000)):
        path = tmp_path / f"{dtype}.tif"
        geotiffs.write(path, geotiffs.ramp(dtype, 3, 0.1 * peak, 0.3 * peak))
        with open_scene(path, options_of(path, peak=peak)) as scene:
            image = views.overview(scene)
            low, high = views.shown_limits(scene, image)
        if dtype == "uint8":
            assert (low, high) == (0, 1)
        else:
            assert low == pytest.approx(0.1, abs=0.02)
            assert high == pytest.approx(0.3, abs=0.02)
            assert views.picture_of(image, (low, high)).max() == 255


def test_an_image_of_one_value_and_one_without_data(tmp_path: Path) -> None:
    for value in (0, 500):
        path = tmp_path / f"{value}.tif"
        geotiffs.write(path, np.full((20, 30, 3), value, np.uint16), nodata=0)
        with open_scene(path, options_of(path)) as scene:
            assert views.shown_limits(scene, views.overview(scene)) == (0, 1)


def test_a_marked_window() -> None:
    picture = np.zeros((32, 40, 3), np.uint8)
    found = views.marked(picture, Window(8, 16, 20, 24), 2)
    rows, columns = np.nonzero(found.any(-1))
    assert (rows.min(), rows.max()) == (4, 13)
    assert (columns.min(), columns.max()) == (8, 19)
    assert not found[6:12, 10:18].any()  # nothing is hidden
    assert not picture.any()


def test_pictures_are_clamped() -> None:
    image = torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1)
    assert views.picture_of(image).ravel().tolist() == [0, 128, 255]
