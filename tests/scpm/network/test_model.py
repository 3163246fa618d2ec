import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scpm import SCPM, DeformConv2d


def test_size_is_that_of_the_paper() -> None:
    assert sum(parameter.numel() for parameter in SCPM().parameters()) == 268_915


def test_cost_is_that_of_the_paper() -> None:
    with FlopCounterMode(display=False) as counter:
        SCPM().eval()(torch.rand(1, 3, 64, 64))
    gmacs_256 = counter.get_total_flops() / 2 * (256 / 64) ** 2 / 1e9
    assert gmacs_256 == pytest.approx(2.58, abs=0.005)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_outputs_and_their_shapes(bands: int) -> None:
    prior = SCPM(bands).eval()(torch.rand(2, bands, 16, 24))
    assert prior.thickness.shape == (2, 1, 16, 24)
    assert prior.full.shape == (2, 12, 16, 24)
    assert prior.half.shape == (2, 12, 8, 12)
    assert prior.quarter.shape == (2, 12, 4, 6)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 16), r"\(1, 4, 16, 16\), expected \(N, 3, H, W\)"),
        ((3, 16, 16), r"\(3, 16, 16\), expected \(N, 3, H, W\)"),
        ((1, 3, 16, 20), r"16x20 pixels, expected positive multiples of 8.*scpm\.detect"),
        ((1, 3, 12, 16), r"12x16 pixels, expected positive multiples of 8"),
        ((1, 3, 0, 8), r"0x8 pixels, expected positive multiples of 8"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCPM()(torch.zeros(shape))


def test_sampling_reaches_every_deformable_convolution() -> None:
    modules = SCPM(sampling="official").modules()
    sampling = [module.sampling for module in modules if isinstance(module, DeformConv2d)]
    assert sampling == ["official"] * 4


def test_every_weight_learns_from_the_thickness() -> None:
    model = SCPM()
    model(torch.rand(2, 3, 16, 16)).thickness.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_initial_weights_are_kaiming_normal() -> None:
    torch.manual_seed(0)
    model = SCPM()
    convolutions = (nn.Conv2d, DeformConv2d)
    weights = [module.weight for module in model.modules() if isinstance(module, convolutions)]
    assert len(weights) == 22

    for weight in weights:
        expected = (2 / weight[0].numel()) ** 0.5
        five_sigma = 5 * expected / (2 * weight.numel()) ** 0.5
        assert weight.std().item() == pytest.approx(expected, abs=five_sigma)
        assert weight.abs().max() > 1.8 * expected  # a uniform distribution ends at 1.73


def test_initial_normalisation_and_biases() -> None:
    model = SCPM()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    scales = torch.cat([norm.weight for norm in norms])
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)
    assert torch.cat([norm.bias for norm in norms]).abs().max() == 0

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
            bound = module.weight[0].numel() ** -0.5  # PyTorch's default
            assert 0 < module.bias.abs().max() <= bound
