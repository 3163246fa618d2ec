import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudkit.imaging.padding import MARGIN, check_unit_images, inference, with_margin


@pytest.mark.parametrize(("height", "width"), [(24, 48), (32, 40), (37, 45)])
def test_margin_is_reflected(height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width)
    padding = (MARGIN, MARGIN + -width % 8, MARGIN, MARGIN + -height % 8)
    assert torch.equal(with_margin(images, 8), F.pad(images, padding, mode="reflect"))


@pytest.mark.parametrize("size", [1, 5, MARGIN])
def test_border_is_repeated_where_it_is_too_short_to_reflect(size: int) -> None:
    images = torch.rand(1, 2, size, 48)
    rows = F.pad(images, (0, 0, MARGIN, MARGIN + -size % 8), mode="replicate")
    assert torch.equal(with_margin(images, 8), F.pad(rows, (MARGIN, MARGIN, 0, 0), mode="reflect"))


def test_sides_become_multiples() -> None:
    assert with_margin(torch.rand(1, 1, 33, 100), 8).shape == (1, 1, 72, 136)


def three_bands(*values: float) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(3, 8, 8).byte(),
            r"torch\.uint8, expected a floating tensor .*divide uint8 by 255",
        ),
        ([[0.5]], "are list, expected a floating tensor"),
        (torch.zeros(8, 8), r"\(8, 8\), expected \(C, H, W\) or \(N, C, H, W\)"),
        (torch.zeros(1, 1, 3, 8, 8), r"\(1, 1, 3, 8, 8\), expected"),
        (torch.zeros(3, 0, 8), r"\(3, 0, 8\), expected .* none of them 0"),
        (torch.full((3, 8, 8), 1.001), r"range from 1\.001 to 1\.001, expected \[0, 1\]"),
        (torch.full((3, 8, 8), -0.001), r"range from -0\.001"),
        (three_bands(0.5, float("nan"), 0.5), "range from nan to nan, .* without NaN"),
        (three_bands(0.5, float("inf"), 0.5), "to inf"),
    ],
)
def test_invalid_images_are_rejected(images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_unit_images(images)


@pytest.mark.parametrize("images", [torch.zeros(3, 1, 1), torch.ones(2, 4, 5, 6).half()])
def test_both_ends_of_the_range_are_allowed(images: Tensor) -> None:
    check_unit_images(images)


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_restored_even_after_an_error(training: bool) -> None:
    model = nn.Sequential(nn.Dropout()).train(training)

    def fail() -> None:
        with inference(model):
            assert not model[0].training
            assert not torch.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert model.training is model[0].training is training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("images", "remedy"),
    [
        (
            torch.zeros(9, 7, 3),
            r"\(9, 7, 3\), so 9 bands.*colours first: image\.permute\(2, 0, 1\)",
        ),
        (torch.zeros(2, 9, 7, 3), r"image\.permute\(0, 3, 1, 2\)"),
        (torch.zeros(4, 9, 7), r"\(4, 9, 7\), so 4 bands.*give the network's 3 bands"),
    ],
)
def test_the_bands_of_a_network_are_required(images: torch.Tensor, remedy: str) -> None:
    check_unit_images(images)
    with pytest.raises(ValueError, match=remedy):
        check_unit_images(images, 3)


def test_arrays_are_to_be_converted() -> None:
    with pytest.raises(ValueError, match=r"images are ndarray.*torch\.from_numpy\(image\)"):
        check_unit_images(np.zeros((3, 8, 8), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images are str.*read_unit"):
        check_unit_images("scene.png")  # type: ignore[arg-type]
