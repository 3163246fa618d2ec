"""Work on uploads, without a browser."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from cloudkit.errors import UserError
from cloudkit.imaging.images import write_image
from scpm import SCPM
from tests.cloudkit.imaging import geotiffs
from tests.helpers import noise
from thiefcloud import ThiefCloud
from thiefcloud.inference import planning
from thiefcloud.inference.provenance import Run
from webpage.options import PageOptions, Work, predict_options
from webpage.work import Finished, describe, look, restore, take


@pytest.fixture(scope="module")
def model() -> ThiefCloud:
    torch.manual_seed(0)
    return ThiefCloud(SCPM()).eval()


def restored(
    model: ThiefCloud, work: Work, *, bands: str = "", peak: str = "", tile: int | None = None
) -> tuple[Finished, list[str]]:
    page = PageOptions(tile=tile)
    options = predict_options(page, work, bands=bands, peak=peak, thickness=True)
    steps: list[str] = []
    run = Run("weights.pt", "")
    return restore(model, work, options, run, lambda *done: steps.append(done[0])), steps


def scene(path: Path, *, bands: int = 3) -> Path:
    geotiffs.write(path, geotiffs.ramp("uint16", bands, 500, 4000, height=50), crs="EPSG:32633")
    return path


def test_users_have_folders_of_their_own(tmp_path: Path) -> None:
    """Even for one file: what one removes, the other keeps, and the upload may go."""
    upload = scene(tmp_path / "a.tif")
    content = upload.read_bytes()
    works = [take(upload, tmp_path, megapixels=1) for _ in range(2)]
    assert len({work.folder for work in works}) == 2
    upload.unlink()
    works[0].discard()
    assert not works[0].folder.exists()
    assert works[1].source.read_bytes() == content
    assert works[1].folder.stat().st_mode & 0o077 == 0


def test_an_upload_that_cannot_be_linked_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("another disk")

    monkeypatch.setattr("os.link", refuse)
    upload = scene(tmp_path / "a.tif")
    work = take(upload, tmp_path, megapixels=1)
    assert work.source.read_bytes() == upload.read_bytes()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_large_images_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, noise(height=50, width=40))
    take(tmp_path / name, tmp_path, megapixels=0.002)
    with pytest.raises(UserError, match=rf"40 x 50 pixels .* 0\.0019 .*predict\.py {name}"):
        take(tmp_path / name, tmp_path, megapixels=0.0019)
    assert len(list(tmp_path.iterdir())) == 2  # no folder for the refused one


def test_a_description(tmp_path: Path) -> None:
    work = take(scene(tmp_path / "a.tif"), tmp_path, megapixels=1)
    options = predict_options(PageOptions(), work, bands="", peak="10000", thickness=False)
    text = describe(options, work.source)
    assert text.startswith("a.tif: 30 x 50 pixels, 3 bands of uint16, with a place on Earth")
    assert "0 to 10000 (--peak)" in text


@pytest.mark.parametrize("bands", ["", "4 3 2", "4,3,2", " 4; 3; 2 ", "2"])
def test_bands_as_users_write_them(tmp_path: Path, bands: str) -> None:
    work = Work(tmp_path, tmp_path / "a.tif")
    options = predict_options(PageOptions(), work, bands=bands, peak="", thickness=False)
    assert options.bands == {"": (), "2": (2,)}.get(bands, (4, 3, 2))
    assert options.peak is None


@pytest.mark.parametrize(
    ("bands", "peak", "part"),
    [
        ("red", "", "--bands is 'red'"),
        ("1 2", "", "--bands is 1 2"),
        ("0 1 2", "", "--bands is 0 1 2"),
        ("3 3 3", "", "names a band twice"),
        ("", "white", "--peak is 'white'"),
        ("", "-1", "--peak is -1"),
        ("", "nan", "--peak is nan"),
        ("", "inf", "--peak is inf"),
    ],
)
def test_what_users_write_wrong(tmp_path: Path, bands: str, peak: str, part: str) -> None:
    work = Work(tmp_path, tmp_path / "a.tif")
    with pytest.raises(ValueError, match=part):
        predict_options(PageOptions(), work, bands=bands, peak=peak, thickness=False)


@pytest.mark.parametrize("tile", [None, 32])
def test_a_restored_scene(tmp_path: Path, model: ThiefCloud, tile: int | None) -> None:
    work = take(scene(tmp_path / "a.tif", bands=4), tmp_path, megapixels=1)
    finished, steps = restored(model, work, bands="3 2 1", peak="10000", tile=tile)
    assert finished.result.name == "a.tif"
    assert finished.thickness is not None
    assert finished.thickness.name == "a_thickness.tif"
    assert finished.map.shape == finished.pair[0].shape == finished.pair[1].shape == (50, 30, 3)
    assert (steps.count("restoring") == 2) == (tile is not None)
    assert finished.note.startswith("a.tif is restored. The screen shows it brighter")
    with rasterio.open(finished.result) as file:
        assert file.tags(ns="THIEFCLOUD")["WEIGHTS"] == "weights.pt"

    (before, after), place, text = look(finished, 25, 15)
    np.testing.assert_array_equal(before, finished.pair[0])
    np.testing.assert_array_equal(after, finished.pair[1])
    assert place.shape == finished.map.shape
    assert "rows 0 to 49, columns 0 to 29" in text


def test_other_options_replace_results(tmp_path: Path, model: ThiefCloud) -> None:
    work = take(scene(tmp_path / "a.tif", bands=4), tmp_path, megapixels=1)
    contents = []
    for bands in ("3 2 1", "4 2 1"):
        finished, _ = restored(model, work, bands=bands, peak="10000")
        contents.append(finished.result.read_bytes())
    assert contents[0] != contents[1]


def test_photos_and_gray_images(tmp_path: Path, model: ThiefCloud) -> None:
    for name, bands in (("a.jpg", 3), ("gray.png", 1), ("one.png", 3)):
        side = 1 if name == "one.png" else 20
        write_image(tmp_path / name, noise(bands=bands, height=side, width=side))
        finished, _ = restored(model, take(tmp_path / name, tmp_path, megapixels=1))
        assert finished.result.suffix == ".png"
        assert finished.note == f"{name} is restored."
        assert look(finished, 0, 0)[0][0].shape == (side, side, 3)


def test_a_missing_peak_is_hinted_at(tmp_path: Path, model: ThiefCloud) -> None:
    finished, _ = restored(model, take(scene(tmp_path / "a.tif"), tmp_path, megapixels=1))
    assert "of 65535. If white is another value, name it by --peak" in finished.note


def test_many_bands_without_their_numbers(tmp_path: Path, model: ThiefCloud) -> None:
    work = take(scene(tmp_path / "a.tif", bands=13), tmp_path, megapixels=1)
    with pytest.raises(UserError, match="13 bands, expected 3 or 1"):
        restored(model, work)


def test_large_images_are_restored_by_tiles(
    tmp_path: Path, model: ThiefCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "WHOLE", 1000)
    monkeypatch.setattr(planning, "largest_tile", lambda *, fast: 32)
    work = take(scene(tmp_path / "a.tif"), tmp_path, megapixels=1)
    _, steps = restored(model, work, peak="10000")
    assert steps.count("restoring") == 2
