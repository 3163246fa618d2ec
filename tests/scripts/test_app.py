"""ThiefCloud/app.py: its start, and its page in headless Chromium."""

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cloudkit.imaging.images import write_image
from tests.cloudkit.imaging import geotiffs
from tests.cloudkit.imaging.test_metadata import PLACED
from tests.helpers import APP, assert_one_error, noise, run_script, squeezed
from tests.scripts.browser import CHROMIUM, QUIET, WAIT, App, User, start, stop, temporary
from tests.scripts.predicting import files, predict


@pytest.fixture(scope="module")
def app(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    pytest.importorskip("gradio")
    running = start(checkpoint, tmp_path_factory.mktemp("page"))
    yield running
    assert stop(running) == 130
    assert temporary(running) == []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def user(chromium: Any, app: App) -> Iterator[User]:
    user = User(chromium, app)
    yield user
    user.context.close()
    outside = [url for url in user.asked if not url.startswith((app.address, "data:", "blob:"))]
    assert outside == []
    assert len(user.asked) > 10


def scene(path: Path, **options: Any) -> Path:
    """Write a scene of four tiles and four bands, placed on Earth, with a rim without data."""
    pixels = geotiffs.ramp("uint16", 4, 500, 9000, height=40)
    pixels = np.concatenate((pixels, pixels[::-1]), 1)
    pixels[:, 50:] = 0
    geotiffs.write(path, pixels, **PLACED, nodata=0, photometric="minisblack", **options)
    return path


def test_upload_slider_and_download(user: User, tmp_path: Path, checkpoint: Path) -> None:
    path = scene(tmp_path / "scene.tif")
    user.uploads(path)
    user.waits("scene.tif has 4 bands, expected 3 or 1", "--bands 4 3 2")
    user.fills("bands", "3 2 1")
    user.fills("peak", "10000")
    user.restores("scene.tif")

    # The slider.
    box = user.page.locator("#overview img").first.bounding_box()
    assert user.cut("overview") == pytest.approx(50, abs=1)
    middle = box["y"] + box["height"] / 2
    user.page.mouse.move(box["x"] + box["width"] / 2, middle)
    user.page.mouse.down()
    user.page.mouse.move(box["x"] + box["width"] / 4, middle, steps=5)
    user.page.mouse.up()
    assert user.cut("overview") == pytest.approx(25, abs=3)
    sources = user.page.locator("#overview img")
    assert sources.nth(0).get_attribute("src") != sources.nth(1).get_attribute("src")

    # The download.
    options = ("--bands", 3, 2, 1, "--peak", 10000, "--tile", 32, "--thickness")
    assert predict(checkpoint, path, *options, "--out", tmp_path / "expected") == 0
    assert files(tmp_path / "expected") == ["scene.tif", "scene_thickness.tif"]
    for button, name in (("download", "scene.tif"), ("thickness", "scene_thickness.tif")):
        found = user.downloads(button, tmp_path / "found")
        assert found.name == name
        assert found.read_bytes() == (tmp_path / "expected" / name).read_bytes()
        with rasterio.open(found) as dataset, rasterio.open(path) as given:
            assert dataset.crs == given.crs
            assert dataset.transform == given.transform


def test_an_example(user: User, app: App) -> None:
    user.page.locator("#examples button.thumbnail-item").nth(1).click()
    user.waits("224078_r1348_c0950.png: 256 x 256 pixels, 3 bands of uint8")
    assert user.page.is_enabled("#restore")
    assert len(list(temporary(app)[0].glob("*/224078_r1348_c0950.png"))) == 1


def test_a_click_shows_another_window(user: User, tmp_path: Path) -> None:
    write_image(tmp_path / "wide.png", noise(height=20, width=1100))
    user.uploads(tmp_path / "wide.png")
    user.waits("wide.png: 1100 x 20 pixels")
    user.restores("wide.png")
    place, window = user.page.locator("#place"), user.page.locator("#window img").first
    assert "rows 0 to 19, columns 294 to 805" in place.inner_text()
    size = window.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert size == [512, 20]

    before = window.get_attribute("src")
    picture = user.page.locator("#map img")
    picture.click(position={"x": 3, "y": picture.bounding_box()["height"] / 2})
    user.page.wait_for_function(
        "document.querySelector('#place').innerText.includes('columns 0 to 511')", timeout=WAIT
    )
    user.page.wait_for_function(
        "before => document.querySelector('#window img').src !== before", arg=before, timeout=WAIT
    )


def test_users_see_only_their_own_files(chromium: Any, app: App, tmp_path: Path) -> None:
    """Though both upload a file of one name and content. Closed tabs leave no files."""

    def folders() -> list[Path]:
        return [path.parent for path in temporary(app)[0].glob("tmp*/scene.tif")]

    path = scene(tmp_path / "scene.tif")
    users = [User(chromium, app) for _ in range(2)]
    for user, bands in zip(users, ("3 2 1", "1 2 3"), strict=True):
        assert user.message == "No image is chosen yet."
        assert not user.page.is_visible("#download")
        user.uploads(path)
        user.waits("scene.tif has 4 bands")
        user.fills("bands", bands)
        user.fills("peak", "10000")
    for user in users:
        user.restores("scene.tif")
    assert len(folders()) == 2
    contents = []
    for index, user in enumerate(users):
        contents.append(user.downloads("download", tmp_path / str(index)).read_bytes())
    assert contents[0] != contents[1]

    for user in users:
        user.context.close()
    deadline = time.monotonic() + WAIT / 1000
    while folders() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert folders() == []


def test_bad_uploads_get_a_sentence(user: User, app: App, tmp_path: Path) -> None:
    content = bytearray(scene(tmp_path / "good.tif").read_bytes())
    (tmp_path / "cut.tif").write_bytes(content[: len(content) // 3])
    content = bytearray(scene(tmp_path / "block.tif", compress="lzw", blockysize=4).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    (tmp_path / "block.tif").write_bytes(content)
    (tmp_path / "page.png").write_bytes(b"<html>no image</html>")
    (tmp_path / "empty.jpg").touch()
    write_image(tmp_path / "huge.png", noise(height=400, width=300))
    parts = {
        "page.png": "page.png cannot be read as an image",
        "empty.jpg": "empty.jpg is empty, expected an image",
        "cut.tif": "cut.tif claims 60 x 40 pixels",
        "huge.png": "python ThiefCloud/predict.py huge.png --out cleared",
    }
    for name, part in parts.items():
        user.uploads(tmp_path / name)
        user.waits(part)
        assert not user.page.is_enabled("#restore")
        assert str(app.folder) not in user.message

    user.uploads(tmp_path / "block.tif")
    user.waits("block.tif has 4 bands")
    user.fills("bands", "3 2 1")
    user.presses_restore()
    user.waits("block.tif cannot be read as an image", "get a new copy")
    assert str(app.folder) not in user.message
    assert not user.page.is_visible("#download")

    user.uploads(tmp_path / "good.tif")
    user.waits("good.tif: 60 x 40 pixels, 4 bands of uint16")
    user.fills("bands", "red")
    user.presses_restore()
    user.waits("--bands is 'red', expected the numbers of three bands")
    assert not user.page.is_visible("#download")
    user.fills("bands", "3 2 1")
    user.restores("good.tif")


# Without a browser


def test_gradio_is_missing(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("actions", "layout"):
        monkeypatch.delitem(sys.modules, f"webpage.{name}", raising=False)
    assert run_script(APP, "--checkpoint", checkpoint) == 2
    assert_one_error(capsys.readouterr().err, "gradio", 'pip install -e ".[demo]"')


def test_a_port_that_is_taken(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run_script(APP, "--checkpoint", checkpoint, "--port", port) == 2
    assert_one_error(capsys.readouterr().err, f"port {port} cannot be used", "another --port")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--port", 0), "--port is 0"),
        (("--port", 70000), "--port is 70000"),
        (("--megapixels", 0), "--megapixels is 0"),
        (("--megapixels", "inf"), "--megapixels is inf"),
        (("--tile", 8), "--tile is 8"),
        (("--device", "gpu"), "the device 'gpu' is unknown"),
        (("--checkpoint", "nowhere.pt"), "nowhere.pt"),
    ],
)
def test_options_that_cannot_be_used(
    arguments: tuple[object, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(APP, *arguments) == 2
    assert part in squeezed(capsys.readouterr().err.replace("\u2502", " "))
