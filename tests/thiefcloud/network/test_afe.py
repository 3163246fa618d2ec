import pytest
import torch
from torch import Tensor, nn

from thiefcloud.network.afe import AFE, ChannelGate, mean_and_std


def test_gate_averages_mean_and_unbiased_deviation() -> None:
    gate = ChannelGate(2, 1)
    gate.from_mean = gate.from_std = nn.Sequential()  # leaves the statistics as they are
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]])
    expected = [(2 + 2**0.5) / 2, (4 + 32**0.5) / 2]  # the biased deviations are 1 and 4
    assert gate(features).flatten().tolist() == pytest.approx(expected)


def test_gate_mlp_ends_in_a_sigmoid_and_is_four_times_narrower_inside() -> None:
    gate = AFE(8).gate1
    shapes = [tuple(parameter.shape) for parameter in gate.from_std.parameters()]
    assert shapes == [(2, 8), (2,), (8, 2), (8,)]

    weights = gate(100 * torch.randn(4, 8, 5, 5))
    assert 0 <= weights.min() <= weights.max() <= 1


def weighted(gate: ChannelGate, source: Tensor) -> Tensor:
    """M(x) x, from the definition."""
    values = source.flatten(2)
    weights = 0.5 * (gate.from_mean(values.mean(2)) + gate.from_std(values.std(2, unbiased=True)))
    return weights[..., None, None] * source


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_lattice_of_the_paper(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    afe = AFE(8).to(memory_format=layout)
    x = torch.randn(2, 8, 3, 5).contiguous(memory_format=layout)

    f = afe.block0(x)
    p1 = x + weighted(afe.gate1, f)
    q1 = f + weighted(afe.gate2, x)
    g = afe.block1(p1)
    p3 = g + weighted(afe.gate3, q1)
    q3 = q1 + weighted(afe.gate4, g)

    torch.testing.assert_close(afe(x), afe.compress(torch.cat((p3, q3), dim=1)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_statistics_are_those_of_torch_with_their_gradients(layout: torch.memory_format) -> None:
    features = 5 + torch.randn(2, 8, 6, 7, dtype=torch.float64)
    features = features.contiguous(memory_format=layout).requires_grad_()
    std, mean = torch.std_mean(features, dim=(2, 3))
    direction = torch.randn(2, 8, dtype=torch.float64)

    for ours, theirs in zip(mean_and_std(features), (mean, std), strict=True):
        torch.testing.assert_close(ours, theirs)
        slope = torch.autograd.grad(ours, features, direction, retain_graph=True)
        expected = torch.autograd.grad(theirs, features, direction, retain_graph=True)
        torch.testing.assert_close(slope, expected)


def test_the_deviation_of_nearly_even_features_is_exact() -> None:
    """The mean square less the squared mean would lose all of it."""
    features = (1000 + 0.01 * torch.randn(1, 3, 64, 64, dtype=torch.float64)).float()
    expected = features.double().std(dim=(2, 3)).float()
    torch.testing.assert_close(mean_and_std(features)[1], expected, rtol=1e-3, atol=0)


def test_sums_over_large_maps_do_not_overflow_in_half_precision() -> None:
    features = 3 * torch.rand(1, 2, 500, 500)
    for half, single in zip(mean_and_std(features.half()), mean_and_std(features), strict=True):
        torch.testing.assert_close(half.float(), single, rtol=1e-2, atol=0)


def test_dead_channel_has_a_finite_gradient() -> None:
    features = torch.rand(1, 4, 3, 3)
    features[:, 1] = 0  # its deviation is 0, where a square root has no slope
    features.requires_grad_()
    AFE(4)(features).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
