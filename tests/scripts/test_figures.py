import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cloudkit.imaging.images import read_unit
from tests.helpers import ROOT, assert_one_error, run_script, write_images

PANELS, PLOTS = ROOT / "Figure" / "panels.py", ROOT / "Figure" / "plots.py"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_drawing_is_whole() -> None:
    """It is edited by hand, so a reference could lose its mark."""
    drawing = ElementTree.parse(ROOT / "Figure" / "architecture.svg")
    marks = {element.get("id") for element in drawing.iter()}
    uses = [element.get("href", "") for element in drawing.iter(f"{SVG}use")]
    assert len(uses) > 20
    assert {use.removeprefix("#") for use in uses} <= marks


def test_panels_of_the_sample(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "picture.png"
    assert run_script(PANELS, "--checkpoint", checkpoint, "--rows", 1, "--out", out) == 0
    height, width = read_unit(out).shape[1:]
    assert width > 4 * 128  # cloudy, thickness, restored, clear
    assert height > 128


def test_panels_of_a_scene(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, ["scene.png"], height=40, width=50)
    common = [
        "--checkpoint",
        checkpoint,
        "--scene",
        tmp_path / "scene.png",
        "--size",
        16,
        "--out",
        tmp_path / "out.png",
    ]
    assert run_script(PANELS, *common, "--corners", 0, 0, 24, 34) == 0
    assert 3 * 16 < read_unit(tmp_path / "out.png").shape[2] < 4 * 16
    assert run_script(PANELS, *common, "--corners", 25, 0) == 2
    assert_one_error(
        capsys.readouterr().err, "a part of 16 pixels at 25 0 does not lie in", "40x50"
    )
    for mistake in (
        ["--corners", 25],
        ["--size", 0],
        ["--rows", 0],
        ["--out", tmp_path / "out.xyz"],
    ):
        assert run_script(PANELS, *common, *mistake) == 2


def test_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert run_script(PLOTS, "--records", tmp_path, "--out", tmp_path) == 2
    assert_one_error(capsys.readouterr().err, "holds no NAME-history.json")
    history = [{"step": 1, "val/psnr": 20.0}, {"step": 2, "val/psnr": 21.0}]
    (tmp_path / "some-history.json").write_text(json.dumps(history))
    mean = {"mean": 0.5, "low": 0.1, "high": 0.9}
    pairs = [{"arm": "trained-frozen-9", "against": "untrained-frozen", "psnr": mean, "ssim": None}]
    (tmp_path / "ablation.json").write_text(json.dumps({"differences": pairs}))
    assert run_script(PLOTS, "--records", tmp_path, "--out", tmp_path) == 0
    assert (tmp_path / "ablation.svg").stat().st_size > 1000
    (tmp_path / "ablation-other.json").write_text(json.dumps({"differences": pairs}))
    assert run_script(PLOTS, "--records", tmp_path, "--out", tmp_path) == 0
    assert "<!-- other -->" in (tmp_path / "ablation.svg").read_text()  # the title of its panel
    first = (tmp_path / "training.svg").read_bytes()
    assert run_script(PLOTS, "--records", tmp_path, "--out", tmp_path) == 0
    assert (tmp_path / "training.svg").read_bytes() == first
    for name, text in (
        ("ablation-x.json", "{}"),
        ("ablation-x.json", '{"differences": [{"arm": "unet"}]}'),
        ("ablation-x.json", "[1]"),
        ("x-history.json", '[{"step": 1}]'),
        ("x-history.json", '[{"step": 1, "val/psnr": null}]'),
        ("x-history.json", "not JSON"),
    ):
        (tmp_path / name).write_text(text)
        assert run_script(PLOTS, "--records", tmp_path, "--out", tmp_path) == 2
        assert_one_error(capsys.readouterr().err, f"{name} is damaged or no such record")
        (tmp_path / name).unlink()
        assert (tmp_path / "training.svg").read_bytes() == first
