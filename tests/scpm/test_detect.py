import pytest
import torch
import torch.nn.functional as F

from scpm import SCPM, detect

IMAGES = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> SCPM:
    """A network whose output leaves [0, 1] at both ends."""
    torch.manual_seed(0)
    model = SCPM().eval()
    with torch.no_grad():
        padded = F.pad(IMAGES, (16, 16, 16, 16), mode="reflect")
        raw = model(padded).thickness[..., 16:-16, 16:-16]

        # Give the output the mean 0.5 and the standard deviation 1.
        head = model.head.state_dict()
        head["weight"].div_(raw.std())
        head["bias"].sub_(raw.mean()).div_(raw.std()).add_(0.5)
    return model


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (7, 8), (17, 33), (64, 64)])
def test_any_size_alone_and_in_a_batch(model: SCPM, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    batch = detect(model, images)
    assert batch.shape == (2, 1, *size)
    assert 0 <= batch.min() <= batch.max() <= 1
    for index in range(2):
        torch.testing.assert_close(detect(model, images[index]), batch[index], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(24, 40), (37, 45)])
def test_thickness_is_that_within_a_reflected_margin_clamped(
    model: SCPM, size: tuple[int, int]
) -> None:
    image = torch.rand(1, 3, *size)
    padded = F.pad(image, (16, 16 + -size[1] % 8, 16, 16 + -size[0] % 8), mode="reflect")
    with torch.no_grad():
        expected = model(padded).thickness[..., 16 : 16 + size[0], 16 : 16 + size[1]]
    assert expected.min() < 0
    assert expected.max() > 1
    torch.testing.assert_close(detect(model, image), expected.clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_image_is_kept(model: SCPM, dtype: torch.dtype) -> None:
    image = torch.rand(3, 8, 10).to(dtype)
    found = detect(model, image)
    assert found.dtype == dtype
    torch.testing.assert_close(found, detect(model, image.float()).to(dtype), rtol=0, atol=1e-6)


def test_training_mode_returns_and_statistics_stay() -> None:
    model = SCPM().train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    detect(model, torch.rand(3, 8, 8))
    assert all(module.training for module in model.modules())
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]), name
