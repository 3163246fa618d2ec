import torch

from cloudkit.imaging.panels import side_by_side, stacked
from tests.helpers import noise


def test_images_are_side_by_side() -> None:
    colour, gray = noise(1), noise(2, bands=1)
    panel = side_by_side({"one": colour, "none": None, "two": gray * 3 - 1})
    height = panel.shape[1]
    titles, images = panel[:, : height - 16], panel[:, height - 16 :]

    assert height > 16
    assert panel.shape[0] == 3
    assert torch.equal(images[:, :, :16], colour)
    assert torch.equal(images[:, :, -16:], (gray * 3 - 1).clamp(0, 1).expand(3, -1, -1))
    assert (titles < 0.5).any()
    assert (panel[:, :, 16:-16] == 1).all()


def test_panels_of_any_width_are_stacked() -> None:
    narrow, wide = noise(1, width=16), noise(2, width=24)
    figure = stacked([narrow, wide])
    second_row = figure.shape[1] // 2
    assert figure.shape[2] == 24
    assert torch.equal(figure[:, :16, :16], narrow)
    assert (figure[:, :16, 16:] == 1).all()
    assert torch.equal(figure[:, second_row : second_row + 16], wide)
