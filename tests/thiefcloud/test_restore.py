import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scpm import SCPM, detect
from thiefcloud import NoPrior, ThiefCloud, restore, restore_and_detect
from thiefcloud.inversion import Inversion


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
    """The raw output for images whose sides are multiples of 8, extended by a reflected margin and cropped again."""
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


def test_the_margin_does_not_change_the_statistics_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ThiefCloud(NoPrior(), residual=True, inversion=True).eval()
    image, seen = torch.rand(3, 40, 48), []
    image[:, :8] = 0  # without data
    gain_and_offset = Inversion.gain_and_offset

    def keep(self: Inversion, cells: Tensor, guide: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(statistics)
        return gain_and_offset(self, cells, guide, statistics)

    monkeypatch.setattr(Inversion, "gain_and_offset", keep)
    restore(model, image)
    mean = image[:, 8:].mean((1, 2))
    torch.testing.assert_close(seen[0][0, :, 0], mean)


@pytest.mark.parametrize("shape", [(3, 9, 10), (2, 3, 9, 10)])
def test_thickness_comes_along(model: ThiefCloud, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    restored, thickness = restore_and_detect(model, images)
    assert torch.equal(restored, restore(model, images))
    assert torch.equal(thickness, detect(model.prior, images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_image_is_kept(model: ThiefCloud, dtype: torch.dtype) -> None:
    image = torch.rand(3, 8, 10).to(dtype)
    for found, expected in zip(restore_and_detect(model, image), restore_and_detect(model, image.float()), strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("image_device", "model_device"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_device_of_the_image_is_kept(model: ThiefCloud, image_device: str, model_device: str) -> None:
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
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    restore(model, torch.rand(3, 8, 8))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "divide uint8 by 255"),
        (torch.full((3, 8, 8), 2.0), r"range from 2 to 2, expected \[0, 1\]"),
        (torch.full((3, 8, 8), float("nan")), "without NaN"),
        (torch.zeros(8, 8), r"expected \(C, H, W\) or \(N, C, H, W\)"),
        (torch.zeros(4, 8, 8), r"expected \(N, 3, H, W\)"),
    ],
)
def test_wrong_images_are_refused(model: ThiefCloud, image: torch.Tensor, message: str) -> None:
    for function in (lambda: restore(model, image), lambda: detect(model.prior, image)):
        with pytest.raises(ValueError, match=message):
            function()


def test_flips_make_the_result_turn_with_the_image(model: ThiefCloud) -> None:
    image = torch.rand(3, 16, 24)
    found = restore_and_detect(model, image, flips=True, raw=True)
    for turned in (lambda x: x.flip(-1), lambda x: torch.rot90(x, 1, (-2, -1)), lambda x: torch.rot90(x, 3, (-2, -1)).flip(-1)):
        for one, other in zip(found, restore_and_detect(model, turned(image), flips=True, raw=True), strict=True):
            torch.testing.assert_close(turned(one), other, rtol=0, atol=1e-4)
    assert not torch.allclose(found[0], restore_and_detect(model, image, raw=True)[0], atol=1e-3)


def test_flips_are_the_mean_over_eight_forms(model: ThiefCloud) -> None:
    image = torch.rand(1, 3, 24, 24)
    forms = [(mirrored, turns) for mirrored in (False, True) for turns in range(4)]
    expected = torch.zeros_like(image)
    for mirrored, turns in forms:
        form = torch.rot90(image.flip(-1) if mirrored else image, turns, (-2, -1))
        with torch.no_grad():
            upright = torch.rot90(within_margin(model, form), -turns, (-2, -1))
        expected += (upright.flip(-1) if mirrored else upright) / len(forms)
    found = restore_and_detect(model, image, flips=True, raw=True)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
