import math
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from cloudkit.errors import UserError
from scpm import SCPM
from thiefcloud import Restoration, ThiefCloud
from thiefcloud.training import losses
from thiefcloud.training.losses import (
    PerceptualLoss,
    PixelLoss,
    RestorationLoss,
    load_vgg16,
    psnr_loss,
    thickness_loss,
)

RELU_ENDS = {3: "relu1_2", 8: "relu2_2", 15: "relu3_3"}


@pytest.fixture(scope="module")
def vgg() -> nn.Sequential:
    """The layers of VGG16 that the loss needs, with random weights."""
    torch.manual_seed(0)
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:16]
    for module in features:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return features


def outputs_of(clear: Tensor, *shifts: float) -> Restoration:
    restored, half, quarter = ((clear + shift).requires_grad_() for shift in shifts)
    return Restoration(restored, half, quarter, thickness=clear[:, :1])


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ("mse", 2.4 * 0.01 + 0.3 * 0.04 + 0.3 * 0.09),
        ("l1", 2.4 * 0.1 + 0.3 * 0.2 + 0.3 * 0.3),
        (
            "psnr",
            2.4 * math.log10(0.01006) + 0.3 * math.log10(0.04006) + 0.3 * math.log10(0.09006),
        ),
    ],
)
def test_pixel_loss_by_hand(pixel: PixelLoss, expected: float) -> None:
    clear = torch.rand(2, 3, 8, 8)
    found = RestorationLoss(pixel)(outputs_of(clear, 0.1, -0.2, 0.3), clear)
    assert set(found) == {"loss"}
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_what_the_inversion_leaves_has_its_own_term() -> None:
    clear = torch.rand(2, 3, 8, 8)
    result = outputs_of(clear, 0.1, -0.2, 0.3)
    alone = RestorationLoss("l1")(result, clear)["loss"]
    with_it = RestorationLoss("l1")(result._replace(inverted=clear + 0.5), clear)["loss"]
    assert (with_it - alone).item() == pytest.approx(0.3 * 0.5, rel=1e-5)


def test_the_thickness_counts_where_it_is_known() -> None:
    clear = torch.rand(2, 3, 8, 8)
    found = torch.full((2, 1, 8, 8), 0.2, requires_grad=True)
    result = outputs_of(clear, 0.1, -0.2, 0.3)._replace(thickness=found)
    true = torch.full((2, 1, 8, 8), torch.nan)
    true[0] = 0.5
    alone = RestorationLoss("l1")(result, clear, true)
    losses = RestorationLoss("l1", thickness_weight=2)(result, clear, true)
    assert set(alone) == {"loss"}
    assert losses["thickness"].item() == pytest.approx(0.3)
    assert losses["pixel"].item() == alone["loss"].item()
    assert losses["loss"].item() == pytest.approx(alone["loss"].item() + 2 * 0.3)

    losses["loss"].backward()
    gradient = found.grad
    assert gradient is not None
    assert (gradient[0] < 0).all()
    assert (gradient[1] == 0).all(), "not NaN where nothing is known"


def test_a_batch_without_known_thickness_has_no_error() -> None:
    unknown = torch.full((1, 1, 4, 4), torch.nan)
    assert thickness_loss(torch.rand(1, 1, 4, 4), unknown).item() == 0


def test_the_psnr_loss_weighs_every_image_alike() -> None:
    clear = torch.rand(2, 3, 8, 8)
    shifts = torch.tensor([0.01, 0.5]).view(2, 1, 1, 1)
    step = 1e-3
    before = psnr_loss(clear + shifts, clear)
    gains = []
    for image in range(2):
        less = shifts.clone()
        less[image] *= 1 - step
        gains.append((before - psnr_loss(clear + less, clear)).item())
    assert gains[0] == pytest.approx(gains[1], rel=0.5)
    assert psnr_loss(clear + 9, clear).isfinite()


def test_perceptual_loss_from_its_definition(vgg: nn.Sequential) -> None:
    clear, *outputs = torch.rand(4, 2, 3, 16, 24)
    expected = 0.0
    for output in outputs:
        found, truth = output, clear
        for index, layer in enumerate(vgg):
            found, truth = layer(found), layer(truth)
            if index in RELU_ENDS:
                expected += ((found - truth) ** 2).mean().item() / len(RELU_ENDS)
    assert PerceptualLoss(vgg)(outputs, clear).item() == pytest.approx(expected, rel=1e-4)


def test_perceptual_loss_reads_the_layers_it_names() -> None:
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    counts = []
    for stage in PerceptualLoss(layers).stages:
        kinds = [type(layer) for layer in stage.children()]
        counts.append((kinds.count(nn.MaxPool2d), kinds.count(nn.Conv2d)))
        assert kinds[-1] is nn.ReLU
    assert counts == [(0, 2), (1, 2), (1, 3)]


def test_parts_add_up_and_reach_every_output(
    vgg: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "load_vgg16", lambda path: vgg)
    clear = torch.rand(1, 3, 16, 16)
    result = outputs_of(clear, 0.1, -0.2, 0.3)
    criterion = RestorationLoss(perceptual_weight=0.04)
    found = criterion(result, clear)
    assert found["pixel"].item() == pytest.approx(0.063, rel=1e-5)
    total = found["pixel"].item() + 0.04 * found["perceptual"].item()
    assert found["loss"].item() == pytest.approx(total, rel=1e-6)

    found["perceptual"].backward()
    for output in (result.restored, result.half, result.quarter):
        assert output is not None
        assert output.grad is not None
        assert output.grad.abs().max() > 0
    for parameter in criterion.parameters():
        assert parameter.grad is None
        assert not parameter.requires_grad


def test_outputs_without_supervision_are_refused() -> None:
    images = torch.rand(1, 3, 16, 16)
    result = ThiefCloud(SCPM()).eval()(images)
    with pytest.raises(ValueError, match=r"levels 2 and 3 are missing .* supervision=True"):
        RestorationLoss()(result, images)


def fake_vgg16() -> dict[str, Tensor]:
    """All weights of VGG16 by name and shape, in little memory: each repeats one number."""
    with torch.device("meta"):
        state = torchvision.models.vgg16(init_weights=False).state_dict()
    for index, (name, tensor) in enumerate(state.items()):
        state[name] = torch.tensor(float(index)).expand(tensor.shape)
    return state


def first_weights(features: nn.Module) -> list[float]:
    return [parameter.flatten()[0].item() for parameter in features.parameters()]


def test_vgg16_from_a_file(tmp_path: Path) -> None:
    torch.save(fake_vgg16(), tmp_path / "vgg16.pth")
    assert first_weights(load_vgg16(tmp_path / "vgg16.pth")) == list(range(26))


def test_vgg16_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torchvision.models.VGG16_Weights, "get_state_dict", lambda *args, **options: fake_vgg16()
    )
    assert first_weights(load_vgg16(None)) == list(range(26))


@pytest.mark.parametrize(
    "error",
    [URLError("no route"), TimeoutError("no route"), RuntimeError("invalid hash value: no route")],
)
def test_vgg16_that_cannot_be_fetched_names_both_ways_out(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(torchvision.models.VGG16_Weights, "get_state_dict", fail)
    message = r"no route.*https://.*vgg16.*\.pth.*--vgg FILE.*--perceptual 0"
    with pytest.raises(UserError, match=message):
        RestorationLoss(perceptual_weight=0.04)


@pytest.mark.parametrize(
    "content", [{"weight": torch.zeros(1)}, {"features.0.weight": 3}, torch.zeros(1)]
)
def test_file_without_vgg16_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    message = r"other\.pth (does not hold torchvision's VGG16: fetch|holds a Tensor)"
    with pytest.raises(UserError, match=message):
        load_vgg16(tmp_path / "other.pth")


def test_missing_vgg16_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"vgg16\.pth"):
        RestorationLoss(perceptual_weight=0.04, vgg=tmp_path / "vgg16.pth")
