"""SCPM/src/extract_clouds.py, run as a user runs it."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.imaging.images import read_unit, write_image
from scpm.data import read_fields
from tests.helpers import EXTRACT, assert_one_error, run_script

SIZE = 96


def ground(seed: int) -> Tensor:
    """Dark land with fine texture."""
    return 0.05 + 0.3 * torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def patch(top: int) -> Tensor:
    """A soft cloud of opacity 0.5."""
    field = torch.zeros(1, 1, SIZE, SIZE)
    field[..., top : top + 40, 20:70] = 0.5
    return F.avg_pool2d(field, 9, stride=1, padding=4)[0]


def write(root: Path, name: str, cloudy: Tensor, clear: Tensor) -> None:
    write_image(root / "cloudy" / f"{name}.png", cloudy)
    write_image(root / "clear" / f"{name}.png", clear)


def map_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs under thin cloud, and four to reject: opaque, dark, clear, and changed ground."""
    root = tmp_path / "pairs"
    for number, top in enumerate((10, 40)):
        clear = ground(number)
        cloudy = torch.lerp(clear, torch.full_like(clear, 0.9), patch(top))
        write(root, f"thin{number}", cloudy, clear)

    clear = ground(5)
    write(root, "opaque", torch.full_like(clear, 0.9), clear)
    write(root, "dark", 0.6 * clear, clear)
    write(root, "none", clear, clear)

    stripes = 0.1 + 0.5 * (torch.arange(SIZE) % 32 < 16).float().expand(3, SIZE, SIZE)
    texture = 0.2 * (clear - 0.2)
    write(root, "ground", (1.2 * stripes + texture).clamp(0, 1), stripes + texture)
    return root


def test_thin_clouds_alone_are_extracted(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clouds"
    assert run_script(EXTRACT, "--root", pairs, "--out", out) == 0

    assert "2 of 6 pairs show a thin cloud" in capsys.readouterr().out
    assert map_names(out) == ["thin0.png", "thin1.png"]
    for number, top in enumerate((10, 40)):
        found = read_unit(out / f"thin{number}.png", bands=1)
        assert (found - patch(top)).abs().mean() < 0.05
    assert len(read_fields(out, 1.0).maps) == 2


def test_a_list_names_the_pairs(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("thin1\ndark\n", encoding="utf-8")
    out = tmp_path / "clouds"
    assert run_script(EXTRACT, "--root", pairs, "--split", tmp_path / "some.txt", "--out", out) == 0
    assert map_names(out) == ["thin1.png"]


def test_each_mistake_is_one_error_line(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.txt").write_text("none\nopaque\n", encoding="utf-8")
    out = tmp_path / "clouds"
    assert run_script(EXTRACT, "--root", pairs, "--split", tmp_path / "none.txt", "--out", out) == 2
    assert_one_error(capsys.readouterr().err, "none of 2 pairs shows a thin cloud")

    assert run_script(EXTRACT, "--root", pairs, "--out", pairs / "clouds") == 2
    assert_one_error(capsys.readouterr().err, "lies inside")

    (out / "mine.txt").parent.mkdir(exist_ok=True)
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    assert run_script(EXTRACT, "--root", pairs, "--out", out) == 2
    assert_one_error(capsys.readouterr().err, "is not empty; choose another --out")
    assert list(out.iterdir()) == [out / "mine.txt"]
