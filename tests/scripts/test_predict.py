"""ThiefCloud/predict.py, run as its user runs it."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import scpm
import thiefcloud
from cloudkit.imaging.images import decode, read_unit, write_image
from cloudkit.imaging.pictures import read_picture
from tests.cloudkit.imaging import geotiffs
from tests.helpers import (
    noise,
    random_pixels,
    write_images,
)
from tests.scripts.predicting import differences, files, predict


@pytest.mark.parametrize(
    ("name", "bits", "bands", "written"),
    [
        ("a.png", 8, 3, "a.png"),
        ("a.png", 8, 1, "a.png"),
        ("a.png", 8, 4, "a.png"),
        ("a.png", 8, 2, "a.png"),
        ("a.png", 16, 1, "a.png"),
        ("a.png", 16, 3, "a.png"),
        ("a.png", 16, 4, "a.png"),
        ("a.jpg", 8, 3, "a.png"),
        ("a.jpg", 8, 1, "a.png"),
        ("a.bmp", 8, 3, "a.png"),
        ("a.tif", 8, 3, "a.tif"),
        ("a.TIFF", 16, 3, "a.tif"),
        ("a.tif", 16, 4, "a.tif"),
        ("a.tif", 16, 1, "a.tif"),
    ],
)
def test_an_image_is_restored_in_its_own_manner(
    tmp_path: Path, checkpoint: Path, name: str, bits: int, bands: int, written: str
) -> None:
    source, out = tmp_path / name, tmp_path / "out"
    write_image(source, noise(3, bands=bands, height=19, width=30), bits=bits)
    assert predict(checkpoint, source, "--out", out) == 0
    assert files(out) == [written]

    (before, had_alpha), (after, has_alpha) = decode(source), decode(out / written)
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    assert has_alpha == had_alpha == (bands in (2, 4))

    if has_alpha:
        np.testing.assert_array_equal(after[..., -1], before[..., -1])
    picture = read_picture(source)
    restored = thiefcloud.restore(thiefcloud.load(checkpoint), picture.image)
    stays = ~(picture.valid & picture.image.any(0))  # transparent, or black
    expected = torch.where(stays, read_unit(source), restored)
    expected = expected.mean(0, keepdim=True) if bands < 3 else expected
    found = read_unit(out / written, bands=expected.shape[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.51 / (2**bits - 1))

    assert found.std() > 0.01


def test_a_black_rim_stays_black(tmp_path: Path, checkpoint: Path) -> None:
    pixels = random_pixels(np.uint8, 24, 30, 3) // 2 + 64
    pixels[:, 20:] = 0
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    assert predict(checkpoint, tmp_path / "scene.png", "--out", tmp_path / "out") == 0
    restored, _ = decode(tmp_path / "out" / "scene.png")
    assert not restored[:, 20:].any()
    assert (restored[:, :20] != pixels[:, :20]).mean() > 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (8, 8)])
def test_tiny_images(tmp_path: Path, checkpoint: Path, size: tuple[int, int]) -> None:
    write_image(tmp_path / "a.png", noise(height=size[0], width=size[1]))
    assert predict(checkpoint, tmp_path / "a.png", "--out", tmp_path / "out", "--thickness") == 0
    assert files(tmp_path / "out") == ["a.png", "a_thickness.png"]
    for name in files(tmp_path / "out"):
        assert decode(tmp_path / "out" / name)[0].shape[:2] == size


def test_folders_keep_their_structure(tmp_path: Path, checkpoint: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    write_images(source, ["a.png", "deep/er/a.jpg", "deep/b.tif"])
    write_images(tmp_path, ["single.png"])
    (source / "notes.txt").write_text("no image")
    assert predict(checkpoint, source, tmp_path / "single.png", "--out", out) == 0
    assert files(out) == ["a.png", "deep/b.tif", "deep/er/a.png", "single.png"]


def test_thickness_maps(tmp_path: Path, checkpoint: Path) -> None:
    write_images(tmp_path / "in", ["a.png", "sub/b.tif"], height=19)
    assert predict(checkpoint, tmp_path / "in", "--thickness", "--out", tmp_path / "out") == 0
    assert files(tmp_path / "out") == [
        "a.png",
        "a_thickness.png",
        "sub/b.tif",
        "sub/b_thickness.png",
    ]

    pixels, _ = decode(tmp_path / "out" / "a_thickness.png")
    assert pixels.dtype == np.uint16
    expected = scpm.detect(thiefcloud.load(checkpoint).prior, read_unit(tmp_path / "in" / "a.png"))
    torch.testing.assert_close(
        torch.from_numpy(pixels[..., 0] / 65535).float(), expected[0], rtol=0, atol=1e-5
    )


def test_peak_of_reflectance(tmp_path: Path, checkpoint: Path) -> None:
    stored = random_pixels(np.uint16, 16, 16, 3) % 10001
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    assert predict(checkpoint, tmp_path / "a.tif", "--peak", 10000, "--out", tmp_path / "out") == 0
    unit = torch.from_numpy((stored / 10000).astype(np.float32)).permute(2, 0, 1)
    expected = thiefcloud.restore(thiefcloud.load(checkpoint), unit) * 10000
    found = torch.from_numpy(decode(tmp_path / "out" / "a.tif")[0].astype(np.float32)).permute(
        2, 0, 1
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0.6)


def test_what_cannot_be_read_is_named_at_the_end(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_images(source, ["1.png", "3.png"])
    (source / "2.png").write_bytes((source / "1.png").read_bytes()[:99])
    write_images(source, ["4.tif"], bands=13)
    tifffile.imwrite(source / "5.tif", np.full((16, 16, 3), 7.0, np.float32), photometric="rgb")
    endless = np.full((16, 16, 3), 0.5, np.float32)
    endless[2, 2] = np.inf
    tifffile.imwrite(source / "6.tif", endless, photometric="rgb")

    assert predict(checkpoint, source, "--out", out) == 2
    assert files(out) == ["1.png", "3.png"]
    shown = capsys.readouterr()
    assert "2 of 6 images restored" in shown.out

    message = shown.err[shown.err.index("error: these were left out:") :].splitlines()
    assert len(message) == 5
    for line, part in zip(
        message[1:],
        ("2.png", "4.tif has 13 bands", "5.tif: floating pixels range", "6.tif"),
        strict=True,
    ):
        assert part in line

    assert "Traceback" not in shown.err


def test_a_peak_that_does_not_fit_the_file(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.full((16, 16, 3), 9, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    assert predict(checkpoint, tmp_path / "a.tif", "--peak", 1000, "--out", tmp_path / "out") == 2
    assert "below the peak of 1000" in capsys.readouterr().err


def test_pixels_without_data_stay(tmp_path: Path, checkpoint: Path) -> None:
    """A pixel that is not a number would make every restored pixel one."""
    pixels = geotiffs.ramp("float32", 3, 0.1, 0.9)
    hole = np.zeros(pixels.shape[:2], bool)
    hole[3:9, 5:11] = True
    pixels[hole] = np.nan
    geotiffs.write(tmp_path / "a.tif", pixels, nodata=np.nan, crs=geotiffs.CRS)
    assert predict(checkpoint, tmp_path / "a.tif", "--out", tmp_path / "out", "--thickness") == 0
    assert files(tmp_path / "out") == ["a.tif", "a_thickness.tif"]
    restored = geotiffs.stored(tmp_path / "out" / "a.tif")
    np.testing.assert_array_equal(np.isnan(restored).all(-1), hole)
    assert np.isfinite(restored[~hole]).all()
    assert differences(tmp_path / "a.tif", tmp_path / "out" / "a.tif") == []


def test_the_rest_of_a_folder_is_restored_beside_damaged_deep_png(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in", ["1.png", "3.png"])
    geotiffs.write(tmp_path / "in" / "2.png", random_pixels(np.uint16, 16, 16, 3), driver="PNG")
    content = bytearray((tmp_path / "in" / "2.png").read_bytes())
    content[len(content) // 2] ^= 8
    (tmp_path / "in" / "2.png").write_bytes(content)
    assert predict(checkpoint, tmp_path / "in", "--out", tmp_path / "out") == 2
    assert files(tmp_path / "out") == ["1.png", "3.png"]
    assert "2.png cannot be read" in capsys.readouterr().err
