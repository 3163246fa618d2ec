"""benchmarks/scenes.py, run as its user runs it. No test depends on how long anything takes."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from benchmarks.scenekit import cases, clock
from benchmarks.scenekit.generated import write_scene
from tests.helpers import ROOT, run_script, squeezed
from thiefcloud.inference.tiles import Window

SCENES = ROOT / "benchmarks" / "scenes.py"


def test_costs_of_tiles_and_of_one_pass(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scenes.json"
    options = ("--sides", 70, "--tile", 32, "--most", 2, "--checkpoint", weights, "--out", out)
    assert run_script(SCENES, *options) == 0
    tiles, whole = json.loads(out.read_text(encoding="utf-8"))["scenes"]
    assert (tiles["setting"], tiles["restored"]) == ("tiles of 32", "2 of 9")
    assert (whole["setting"], whole["restored"]) == ("one pass", "1 of 1")
    for row in (tiles, whole):
        fractions = [row[f"{name}_fraction"] for name in ("reading", "network", "writing")]
        assert min(fractions) > 0
        assert sum(fractions) + row["measuring_fraction"] == pytest.approx(1)
        assert row["cpu_per_mp"] > 0
        assert row["peak_mb"] is None or row["peak_mb"] > 100
    assert tiles["measuring_fraction"] > 0
    assert whole["measuring_fraction"] == 0
    assert "CPU s/megapixel" in capsys.readouterr().out


def test_an_inner_part_does_not_count_for_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100, 2))
    fake = SimpleNamespace(process_time=lambda: next(now), perf_counter=time.perf_counter)
    monkeypatch.setattr(clock, "time", fake)
    watch = clock.Clock()
    with watch.part("network"):
        for _ in range(2):
            with watch.part("reading"):
                pass
    assert {name: seconds.cpu for name, seconds in watch.parts.items()} == {
        "other": 2,
        "network": 6,
        "reading": 4,
    }


def test_time_of_some_tiles_stands_for_all() -> None:
    one = clock.Seconds(1, 1)
    parts = {
        "reading": one,
        "reading of tiles": one,
        "measuring": one,
        "network": one,
        "other": one,
    }
    row = cases._costs(parts, ratio=3, side=1000)
    assert row["cpu_per_mp"] == row["wall_per_mp"] == 8
    fractions = [row[f"{name}_fraction"] * 8 for name in cases.PARTS]
    assert fractions == pytest.approx([4, 1, 3, 0])


def test_chosen_tiles_hold_data() -> None:
    tiles = list(Window(0, 0, 10000, 10000).tiles(640))
    for most in (1, 2, 5):
        chosen = cases._chosen(tiles, most)
        assert len(chosen) == most
        assert all(tile.bottom + tile.right > 2000 for tile in chosen)
    assert cases._chosen(tiles, None) == cases._chosen(tiles, 300) == tiles


def test_a_scene_is_that_of_its_seed_with_a_corner_without_data(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        write_scene(tmp_path / name, 1100)
    with rasterio.open(tmp_path / "a.tif") as file:
        pixels = file.read()
        assert (file.count, file.nodata, file.dtypes[0]) == (4, 0, "uint16")
    empty = ~pixels.any(0)
    assert empty[:100, :100].all()
    assert not empty[250:, 250:].any()
    assert np.ptp(pixels[:, ~empty]) > 2000
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sides", "10"], "--sides is 10, expected at least 32 pixels."),
        (["--tile", "10"], "--tile is 10, expected at least 32 pixels."),
        (["--most", "0"], "--most is 0"),
        (["--out", "a.txt"], "--out is a.txt, expected a file whose name ends in .json."),
    ],
)
def test_contradictions_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(SCENES, *arguments) == 2
    shown = capsys.readouterr()
    assert message in squeezed(shown.err + shown.out)
