"""Borders that hold no ground are found, and ground is not taken for them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scpm import simulate_clouds
from tests.helpers import land
from thiefcloud.inference.borders import Borders, find_borders


def framed(image: Tensor, value: float, widths: Borders) -> Tensor:
    """Paint the borders of an image."""
    painted = torch.full_like(image, value)
    widths.inside(painted).copy_(widths.inside(image))
    return painted


def as_jpeg(image: Tensor, quality: int) -> Tensor:
    pixels = image.mul(255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


@pytest.mark.parametrize("value", [0.0, 0.008, 0.45, 1.0])
@pytest.mark.parametrize(
    "widths",
    [Borders(1, 1, 1, 1), Borders(4, 4, 4, 4), Borders(0, 12, 0, 0), Borders(32, 30, 40, 0)],
    ids=str,
)
def test_exact_borders_are_found_exactly(value: float, widths: Borders) -> None:
    assert find_borders(framed(land(), value, widths)) == widths


@pytest.mark.parametrize("quality", [50, 75, 90])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("width", [4, 12, 30])
def test_a_lossy_border_is_cut_off_with_the_lines_that_it_mixes(
    quality: int, value: float, width: int
) -> None:
    image = framed(land(), value, Borders(*[width] * 4))
    for found in find_borders(as_jpeg(image, quality)):
        assert width <= found <= width + 8  # a block of JPEG


def test_a_caption_with_lettering() -> None:
    image = framed(land(), 0.05, Borders(0, 12, 0, 0))
    image[:, -9:-3:2, 20:90] = 0.9
    assert 12 <= find_borders(image).bottom <= 16


def test_ground_is_no_border() -> None:
    rows = torch.linspace(0, 1, 96)[None, :, None]
    calm = land().clone()
    for row, water in enumerate(range(20, 60)):  # a coast that is no straight edge
        calm[:, row, : 128 - water] = 0.06
    clouded = simulate_clouds(torch.full((1, 3, 96, 128), 0.2), [3]).cloudy[0]
    for image in (land(), rows.expand(3, 96, 128), calm, clouded, torch.full((3, 40, 40), 0.3)):
        assert not any(find_borders(image))


@pytest.mark.parametrize("strip", [1, 5])
def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    widths = [Borders(4, 30, 0, 9), Borders(0, 0, 12, 12), Borders(0, 0, 0, 0)]
    images = [as_jpeg(framed(land(), 0.4, each), 75) for each in widths]
    expected = [find_borders(image) for image in images]
    assert any(expected[0])
    monkeypatch.setattr("thiefcloud.inference.borders._STRIP", strip)
    assert [find_borders(image) for image in images] == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 7), (8, 3)])
def test_small_images_have_no_borders(size: tuple[int, int]) -> None:
    assert not any(find_borders(torch.rand(3, *size)))


def test_a_border_wider_than_a_third_is_left_to_the_network() -> None:
    assert find_borders(framed(land(), 0.0, Borders(40, 0, 0, 0))).top == 0
