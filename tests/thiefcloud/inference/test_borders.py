"""Borders that hold no ground are found, and ground is not taken for them."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from scpm import simulate_clouds
from thiefcloud.inference.borders import Borders, find_borders


def ground(seed: int = 0, height: int = 96, width: int = 128) -> Tensor:
    """Land with texture, some of it under cloud."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=random)
    gray = 0.2 + 0.3 * F.interpolate(coarse, scale_factor=4, mode="bicubic").clamp(0, 1)
    land = gray * torch.tensor([1.0, 0.9, 0.8]).view(3, 1, 1)
    return simulate_clouds(land, [seed]).cloudy[0]


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
    assert find_borders(framed(ground(), value, widths)) == widths


@pytest.mark.parametrize("quality", [50, 75, 90])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("width", [4, 12, 30])
def test_a_lossy_border_is_cut_off_with_the_lines_that_it_mixes(
    quality: int, value: float, width: int
) -> None:
    image = framed(ground(), value, Borders(*[width] * 4))
    for found in find_borders(as_jpeg(image, quality)):
        assert width <= found <= width + 8  # a block of JPEG


def test_a_caption_with_lettering() -> None:
    image = framed(ground(), 0.05, Borders(0, 12, 0, 0))
    image[:, -9:-3:2, 20:70] = 0.9
    assert find_borders(image).bottom in (12, 14)


def test_ground_is_no_border() -> None:
    rows = torch.linspace(0, 1, 96)[None, :, None]
    calm = ground().clone()
    for row, water in enumerate(range(20, 60)):  # a coast that is no straight edge
        calm[:, row, : 128 - water] = 0.06
    clouded = simulate_clouds(torch.full((1, 3, 96, 128), 0.2), [3]).cloudy[0]
    for image in (ground(), rows.expand(3, 96, 128), calm, clouded, torch.full((3, 40, 40), 0.3)):
        assert not any(find_borders(image))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 7), (8, 3)])
def test_small_images_have_no_borders(size: tuple[int, int]) -> None:
    assert not any(find_borders(torch.rand(3, *size)))


def test_a_border_wider_than_a_third_is_left_to_the_network() -> None:
    assert find_borders(framed(ground(), 0.0, Borders(40, 0, 0, 0))).top == 0
