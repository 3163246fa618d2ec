"""Clear ground, by the thickness map, stays as it was."""

import torch

import thiefcloud
from tests.helpers import noise
from thiefcloud.inference.blending import CLEAR, CLOUD


def test_clear_pixels_stay_bit_equal_and_cloudy_ones_are_restored() -> None:
    image, restored = noise(0, height=4, width=5), noise(1, height=4, width=5)
    thickness = torch.tensor([0.0, CLEAR, 0.14, CLOUD, 1.0]).expand(1, 4, 5)
    blended = thiefcloud.blend(image, restored, thickness)
    assert torch.equal(blended[..., :2], image[..., :2])
    torch.testing.assert_close(blended[..., 2], (image + restored)[..., 2] / 2)
    assert torch.equal(blended[..., 3:], restored[..., 3:])


def test_the_passage_is_smooth_and_rises() -> None:
    thickness = torch.linspace(0, 0.3, 3001).view(1, 1, -1)
    weight = thiefcloud.blend(torch.zeros(1, 1, 3001), torch.ones(1, 1, 3001), thickness)
    steps = weight.diff()
    assert (steps >= 0).all()
    assert steps.max() < 1.6 * 0.0001 / (CLOUD - CLEAR)
    assert steps.diff().abs().max() < 2e-5


def test_pixels_that_are_no_numbers_stay() -> None:
    image = torch.full((3, 2, 2), torch.nan)
    assert thiefcloud.blend(image, image, torch.zeros(1, 2, 2)).isnan().all()
    image = noise(height=2, width=2)
    restored = torch.full_like(image, torch.nan)
    assert torch.equal(thiefcloud.blend(image, restored, torch.zeros(1, 2, 2)), image)


def test_images_of_a_batch_are_blended_each() -> None:
    images, restored = torch.stack((noise(0), noise(1))), torch.stack((noise(2), noise(3)))
    thickness = torch.rand(2, 1, *images.shape[2:]) / 4
    together = thiefcloud.blend(images, restored, thickness)
    for index in range(2):
        one = thiefcloud.blend(images[index], restored[index], thickness[index])
        assert torch.equal(together[index], one)
