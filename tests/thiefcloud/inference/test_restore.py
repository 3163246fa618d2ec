import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import thiefcloud
from scpm import SCPM, detect
from tests.helpers import land, noise
from thiefcloud import NoPrior, ThiefCloud, restore, restore_and_detect
from thiefcloud.inference.released import RELEASED
from thiefcloud.inference.restore import scene_statistics
from thiefcloud.network.inversion import Inversion


@pytest.fixture(scope="module")
def model() -> ThiefCloud:
    """A network whose output leaves [0, 1] at both ends."""
    torch.manual_seed(0)
    model = ThiefCloud(SCPM()).eval()
    with torch.no_grad():
        for weight in model.level_full.head.parameters():
            weight.mul_(20)
    return model


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (7, 8), (17, 33), (64, 64)])
def test_any_size_alone_and_in_a_batch(model: ThiefCloud, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    batch = restore(model, images)
    assert batch.shape == images.shape
    assert 0 <= batch.min() <= batch.max() <= 1
    for index in range(2):
        torch.testing.assert_close(restore(model, images[index]), batch[index], rtol=0, atol=1e-4)


def within_margin(model: ThiefCloud, images: Tensor) -> Tensor:
    """Raw output for images whose sides are multiples of 8, computed within a reflected margin."""
    with torch.no_grad():
        return model(F.pad(images, (16, 16, 16, 16), mode="reflect")).restored[..., 16:-16, 16:-16]


def test_restored_is_the_network_s_output_clamped(model: ThiefCloud) -> None:
    images = torch.rand(2, 3, 24, 32)
    raw = within_margin(model, images)
    assert raw.min() < 0
    assert raw.max() > 1
    torch.testing.assert_close(restore(model, images), raw.clamp(0, 1), rtol=0, atol=1e-6)


def test_border_is_reflected(model: ThiefCloud) -> None:
    image = torch.rand(3, 29, 38)
    with torch.no_grad():
        padded = F.pad(image[None], (16, 18, 16, 19), mode="reflect")
        expected = model(padded).restored[0, :, 16:45, 16:54].clamp(0, 1)
    torch.testing.assert_close(restore(model, image), expected, rtol=0, atol=1e-6)


def test_the_margin_does_not_change_the_statistics_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = ThiefCloud(NoPrior(), residual=True, inversion=True).eval()
    image = 0.4 + 0.1 * torch.rand(3, 40, 48)
    image[:, 10:20, 10:30] = 0  # no data
    calls = []
    estimate = Inversion.estimate

    def keep(self: Inversion, cells: Tensor, guide: Tensor, statistics: Tensor) -> Tensor:
        calls.append(statistics)
        return estimate(self, cells, guide, statistics)

    monkeypatch.setattr(Inversion, "estimate", keep)
    restore(model, image)
    ground = image[:, image.any(0)]
    torch.testing.assert_close(calls[0][0, :3, 0], ground.mean(1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", RELEASED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_released_networks_restore_in_any_precision(name: str, dtype: torch.dtype) -> None:
    image = 0.1 + 0.8 * noise(1, height=24, width=40)
    expected = restore_and_detect(thiefcloud.load(name), image)

    found = restore_and_detect(thiefcloud.load(name).to(dtype), image)
    assert (found[0].dtype, found[1].dtype) == (torch.float32, torch.float32)
    tolerance = 0.02 if dtype == torch.bfloat16 else 0.002  # of restored values
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=10 * tolerance)


def test_statistics_of_large_images_do_not_overflow_in_half_precision() -> None:
    model = ThiefCloud(NoPrior(), residual=True, inversion=True)
    image = 0.5 + 0.5 * torch.rand(3, 400, 500)
    image[:, :40] = 0  # no data
    found = scene_statistics(model.half(), image.half())
    expected = scene_statistics(model.float(), image)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 9, 10), (2, 3, 9, 10)])
def test_thickness_comes_along(model: ThiefCloud, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    restored, thickness = restore_and_detect(model, images)
    assert torch.equal(restored, restore(model, images))
    assert torch.equal(thickness, detect(model.prior, images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_image_is_kept(model: ThiefCloud, dtype: torch.dtype) -> None:
    image = torch.rand(3, 8, 10).to(dtype)
    outputs = restore_and_detect(model, image), restore_and_detect(model, image.float())
    for found, expected in zip(*outputs, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("image_device", "model_device"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")]
)
def test_device_of_the_image_is_kept(
    model: ThiefCloud, image_device: str, model_device: str
) -> None:
    image = torch.rand(3, 8, 10, device=image_device)
    restored, thickness = restore_and_detect(copy.deepcopy(model).to(model_device), image)
    assert (restored.device, thickness.device) == (image.device, image.device)


def test_result_is_an_ordinary_tensor(model: ThiefCloud) -> None:
    image, factor = torch.rand(3, 8, 8), torch.ones(1, requires_grad=True)
    for result in restore_and_detect(model, image):
        (result * factor).sum().backward()  # an inference tensor would refuse
        assert not result.requires_grad


def test_training_mode_returns_and_statistics_stay() -> None:
    model = ThiefCloud(SCPM()).train()
    before = copy.deepcopy(dict(model.named_buffers()))
    restore(model, torch.rand(3, 8, 8))
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(dict(model.named_buffers()), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "divide uint8 by 255"),
        (torch.full((3, 8, 8), 2.0), r"range from 2 to 2, expected \[0, 1\]"),
        (torch.full((3, 8, 8), float("nan")), "without NaN"),
        (torch.zeros(8, 8), r"expected \(C, H, W\) or \(N, C, H, W\)"),
        (torch.zeros(4, 8, 8), r"\(4, 8, 8\), so 4 bands, expected \(3, H, W\)"),
    ],
)
def test_wrong_images_are_refused(model: ThiefCloud, image: torch.Tensor, message: str) -> None:
    for function in (lambda: restore(model, image), lambda: detect(model.prior, image)):
        with pytest.raises(ValueError, match=message):
            function()


@pytest.mark.parametrize(
    "orient",
    [
        lambda image: image.flip(-1),
        lambda image: torch.rot90(image, 1, (-2, -1)),
        lambda image: torch.rot90(image, 3, (-2, -1)).flip(-1),
    ],
)
def test_with_flips_the_result_flips_and_rotates_with_the_image(
    model: ThiefCloud, orient: Callable[[Tensor], Tensor]
) -> None:
    image = torch.rand(3, 16, 24)
    expected = restore_and_detect(model, image, flips=True, raw=True)
    found = restore_and_detect(model, orient(image), flips=True, raw=True)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(orient(one), other, rtol=0, atol=1e-4)
    assert not torch.allclose(expected[0], restore_and_detect(model, image, raw=True)[0], atol=1e-3)


def test_flips_are_the_mean_over_eight_forms(model: ThiefCloud) -> None:
    image = torch.rand(1, 3, 24, 24)
    total = torch.zeros_like(image)
    for rotations in range(4):
        upright = within_margin(model, torch.rot90(image, rotations, (-2, -1)))
        total += torch.rot90(upright, -rotations, (-2, -1))
        flipped = within_margin(model, torch.rot90(image.flip(-1), rotations, (-2, -1)))
        total += torch.rot90(flipped, -rotations, (-2, -1)).flip(-1)

    found = restore_and_detect(model, image, flips=True, raw=True)[0]
    torch.testing.assert_close(found, total / 8, rtol=0, atol=1e-4)


def test_borders_and_odd_pixels_mislead_no_image() -> None:
    """The rest of the image is restored as without them."""
    model = thiefcloud.load("rice1")
    clear = land(3)[None]
    hazy = (0.45 * clear + 0.5)[0]
    expected = restore(model, hazy)

    framed = hazy.clone()
    for side in (framed[:, :5], framed[:, -5:], framed[..., :5], framed[..., -5:]):
        side[:] = 0.98
    found = restore(model, framed)
    assert torch.equal(found[:, :5], framed[:, :5])
    inside = (..., slice(5, -5), slice(5, -5))
    assert (found[inside] - expected[inside]).square().mean().sqrt() < 0.03

    dusty = hazy.clone()
    odd = torch.rand(hazy.shape[1:], generator=torch.Generator().manual_seed(0)) < 0.01
    dusty[:, odd] = 0.0
    found = restore(model, dusty)
    assert (found[:, ~odd] - expected[:, ~odd]).square().mean().sqrt() < 0.01


def test_a_batch_is_restored_as_its_images_whatever_their_borders() -> None:
    model = thiefcloud.load("rice1")
    images = torch.stack([land(4), land(5)])
    images[1, :, :6] = 0.0
    restored, thickness = restore_and_detect(model, images)
    for number in range(2):
        one, its_thickness = restore_and_detect(model, images[number])
        torch.testing.assert_close(restored[number], one, rtol=0, atol=1e-4)
        torch.testing.assert_close(thickness[number], its_thickness, rtol=0, atol=1e-4)
    assert not thickness[1, :, :6].any()
