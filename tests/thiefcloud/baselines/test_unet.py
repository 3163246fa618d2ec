import pytest
import torch
from torch import Tensor, nn

from scpm import SCPM
from thiefcloud import NoPrior, ThiefCloud, restore
from thiefcloud.baselines.unet import UNet
from thiefcloud.training.losses import RestorationLoss


def size(model: nn.Module) -> int:
    return len(nn.utils.parameters_to_vector(model.parameters()))


def test_size_is_that_of_thiefcloud() -> None:
    assert size(UNet()) == 2_081_427
    assert f"{size(UNet()):,}" in str(UNet.__doc__)
    assert size(UNet()) == pytest.approx(size(ThiefCloud(SCPM())), rel=0.02)


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("residual", [False, True])
def test_output_config_and_shapes(bands: int, residual: bool) -> None:
    model = UNet(bands, residual=residual)
    assert model.config == {"in_channels": bands, "residual": residual, "inversion": False}
    assert model.in_channels == bands
    result = UNet(**model.config)(torch.rand(2, bands, 16, 24))
    assert result.restored.shape == (2, bands, 16, 24)
    assert torch.equal(result.thickness, torch.zeros(2, 1, 16, 24))


@pytest.mark.parametrize(
    ("training", "supervision", "supervised"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_the_one_output_stands_for_all_levels_if_supervision_is_wanted(
    training: bool, supervision: bool | None, supervised: bool
) -> None:
    result = UNet().train(training)(torch.rand(1, 3, 16, 16), supervision)
    expected = result.restored if supervised else None
    assert result.half is expected
    assert result.quarter is expected


def test_loss_has_the_scale_of_thiefcloud() -> None:
    images, clear = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    result = UNet()(images)
    expected = 3 * (result.restored - clear).square().mean()  # 2.4 + 0.3 + 0.3
    torch.testing.assert_close(RestorationLoss()(result, clear)["loss"], expected)


def test_residual_begins_with_the_cloudy_image_and_learns() -> None:
    model, images = UNet(residual=True), torch.rand(2, 3, 16, 16)
    assert torch.equal(model(images).restored, images)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # the first step changes the head alone, the second all
        optimizer.zero_grad()
        (model(images).restored - images - 1).square().mean().backward()
        optimizer.step()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
    assert not torch.equal(model(images).restored, images)


def test_residual_adds_the_cloudy_image() -> None:
    plain, residual, images = UNet().eval(), UNet(residual=True).eval(), torch.rand(1, 3, 16, 16)
    residual.load_state_dict(plain.state_dict())
    torch.testing.assert_close(residual(images).restored, plain(images).restored + images)


def test_every_level_and_skip_reaches_the_output() -> None:
    model, images = UNet().eval(), torch.rand(1, 3, 32, 32)
    parts: list[Tensor] = []
    for encoder in model.encoders:
        parts.append(encoder.get_parameter("2.weight"))
    for decoder in model.decoders:
        # The first half of its inputs is the skip, the other comes from the deeper level.
        parts += decoder.get_parameter("0.weight").chunk(2, dim=1)

    with torch.no_grad():
        expected = model(images).restored
        for weights in parts:
            kept = weights.clone()
            weights.zero_()
            assert not torch.equal(model(images).restored, expected)
            weights.copy_(kept)

        assert torch.equal(model(images).restored, expected)


def test_sees_the_coarsest_level() -> None:
    model, images = UNet().eval(), torch.rand(1, 3, 128, 128, requires_grad=True)
    model(images).restored[..., 64, 64].sum().backward()
    assert images.grad is not None
    rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    # Two 3x3 convolutions at an eighth of the size, and more above.
    assert rows.max() - rows.min() > 64


def test_signals_keep_their_size() -> None:
    torch.manual_seed(0)
    squares = []
    with torch.no_grad():
        for _ in range(8):
            squares.append(UNet()(torch.rand(1, 3, 32, 32)).restored.square().mean())
    assert 0.3 < torch.stack(squares).mean().sqrt() < 3


def test_biases_start_at_zero() -> None:
    for name, parameter in UNet().named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()


def test_there_is_no_prior() -> None:
    model = UNet()
    assert isinstance(model.prior, NoPrior)
    assert model.freeze_prior() is model
    assert model.tune_prior() is model
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_restores_any_size() -> None:
    model, image = UNet(residual=True), torch.rand(3, 13, 21)
    torch.testing.assert_close(restore(model, image), image)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 16), r"\(1, 4, 16, 16\), expected \(N, 3, H, W\)"),
        ((1, 3, 16, 20), r"16x20 pixels, expected positive multiples of 8"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet()(torch.zeros(shape))
