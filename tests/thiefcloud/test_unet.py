import pytest
import torch
from torch import nn

from scpm import SCPM
from thiefcloud import NoPrior, ThiefCloud, restore
from thiefcloud.losses import RestorationLoss
from thiefcloud.unet import UNet


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


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
def test_the_one_output_stands_for_all_levels_where_supervision_is_wanted(
    training: bool, supervision: bool | None, supervised: bool
) -> None:
    result = UNet().train(training)(torch.rand(1, 3, 16, 16), supervision)
    assert (result.half is result.restored, result.quarter is result.restored) == (supervised, supervised)
    assert supervised or (result.half, result.quarter) == (None, None)


def test_loss_has_the_scale_of_thiefcloud() -> None:
    images, clear = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    result = UNet()(images)
    expected = 3 * (result.restored - clear).square().mean()  # 2.4 + 0.3 + 0.3
    torch.testing.assert_close(RestorationLoss()(result, clear)["loss"], expected)


def test_residual_begins_with_the_cloudy_image_and_learns() -> None:
    model, images = UNet(residual=True), torch.rand(2, 3, 16, 16)
    assert torch.equal(model(images).restored, images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # the first step moves the head alone, the second all
        optimizer.zero_grad()
        (model(images).restored - images - 1).square().mean().backward()
        optimizer.step()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []  # type: ignore[union-attr]
    assert not torch.equal(model(images).restored, images)


def test_residual_adds_the_cloudy_image() -> None:
    plain, residual, images = UNet().eval(), UNet(residual=True).eval(), torch.rand(1, 3, 16, 16)
    residual.load_state_dict(plain.state_dict())
    torch.testing.assert_close(residual(images).restored, plain(images).restored + images)


def test_every_level_and_skip_reaches_the_output() -> None:
    model, images = UNet().eval(), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        whole = model(images).restored
        for index in range(4):
            weights = model.encoders[index].get_parameter("2.weight")
            kept = weights.clone()
            weights.zero_()
            assert not torch.equal(model(images).restored, whole)
            weights.copy_(kept)
        for decoder in model.decoders:  # the first half of its inputs is the skip, the other comes from below
            weights = decoder.get_parameter("0.weight")
            for half in weights.chunk(2, dim=1):
                kept = half.clone()
                half.zero_()
                assert not torch.equal(model(images).restored, whole)
                half.copy_(kept)
        assert torch.equal(model(images).restored, whole)


def test_sees_the_coarsest_level() -> None:
    model, images = UNet().eval(), torch.rand(1, 3, 128, 128, requires_grad=True)
    model(images).restored[..., 64, 64].sum().backward()
    assert images.grad is not None
    rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert rows.max() - rows.min() > 64  # two 3x3 convolutions at an eighth of the size, and more above


def test_signals_keep_their_size() -> None:
    torch.manual_seed(0)
    model = UNet().eval()
    assert all(not parameter.any() for name, parameter in model.named_parameters() if name.endswith("bias"))
    with torch.no_grad():
        deviation = torch.stack([UNet()(torch.rand(1, 3, 32, 32)).restored.square().mean() for _ in range(8)]).mean().sqrt()
    assert 0.3 < deviation < 3


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
