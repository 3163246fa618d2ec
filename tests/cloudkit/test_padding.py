import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloudkit.padding import check_unit_images, inference, pad_to_multiple


def test_short_sides_by_hand() -> None:
    row = torch.tensor([1.0, 2, 3, 4, 5]).view(1, 1, 1, 5)
    padded = pad_to_multiple(row, 4)
    assert padded.shape == (1, 1, 4, 8)
    assert padded[0, 0].tolist() == [[1, 2, 3, 4, 5, 4, 3, 2]] * 4  # one row is too short to reflect
    assert pad_to_multiple(row[..., :3], 5)[0, 0, 0].tolist() == [1, 2, 3, 2, 1]  # the most that three pixels can reflect


@pytest.mark.parametrize(("height", "width"), [(5, 5), (13, 9), (8, 15), (16, 24)])
def test_border_is_reflected(height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width)
    assert torch.equal(pad_to_multiple(images, 8), F.pad(images, (0, -width % 8, 0, -height % 8), mode="reflect"))


@pytest.mark.parametrize("size", range(1, 5))
def test_border_is_repeated_where_it_is_too_short_to_reflect(size: int) -> None:
    images = torch.rand(1, 2, size, 8)
    assert torch.equal(pad_to_multiple(images, 8), F.pad(images, (0, 0, 0, 8 - size), mode="replicate"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"torch\.uint8, expected a floating tensor .*divide uint8 by 255"),
        ([[0.5]], "are list, expected a floating tensor"),
        (torch.zeros(8, 8), r"\(8, 8\), expected \(C, H, W\) or \(N, C, H, W\)"),
        (torch.zeros(1, 1, 3, 8, 8), r"\(1, 1, 3, 8, 8\), expected"),
        (torch.zeros(3, 0, 8), r"\(3, 0, 8\), expected .* none of them 0"),
        (torch.full((3, 8, 8), 1.001), r"range from 1\.001 to 1\.001, expected \[0, 1\]"),
        (torch.full((3, 8, 8), -0.001), r"range from -0\.001"),
        (torch.tensor([0.5, float("nan"), 0.5]).view(3, 1, 1), "range from nan to nan, .* without NaN"),
        (torch.tensor([0.5, float("inf"), 0.5]).view(3, 1, 1), "to inf"),
    ],
)
def test_images_that_a_network_would_misread_are_refused(images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_unit_images(images)


@pytest.mark.parametrize("images", [torch.zeros(3, 1, 1), torch.ones(2, 4, 5, 6, dtype=torch.float16)])
def test_both_ends_of_the_range_are_allowed(images: Tensor) -> None:
    check_unit_images(images)


@pytest.mark.parametrize("training", [True, False])
def test_mode_returns_even_after_an_error(training: bool) -> None:
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
