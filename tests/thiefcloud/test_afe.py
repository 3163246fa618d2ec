import pytest
import torch
from torch import Tensor, nn

from thiefcloud.afe import AFE, ChannelGate, mean_and_std


def test_gate_averages_mean_and_unbiased_deviation() -> None:
    gate = ChannelGate(2, 1)
    gate.from_mean = gate.from_std = nn.Sequential()  # leaves the statistics as they are
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]])
    expected = [(2 + 2**0.5) / 2, (4 + 32**0.5) / 2]  # the biased deviations are 1 and 4
    assert gate(features).flatten().tolist() == pytest.approx(expected)


def test_gate_mlp_ends_in_a_sigmoid_and_is_four_times_narrower_inside() -> None:
    gate = AFE(8).gate1
    assert [tuple(parameter.shape) for parameter in gate.from_std.parameters()] == [(2, 8), (2,), (8, 2), (8,)]
    weights = gate(100 * torch.randn(4, 8, 5, 5))
    assert 0 <= weights.min() <= weights.max() <= 1


def weighted(gate: ChannelGate, source: Tensor) -> Tensor:
    """M(x) x, from the definition."""
    values = source.flatten(2)
    weights = 0.5 * (gate.from_mean(values.mean(2)) + gate.from_std(values.std(2, unbiased=True)))
    return weights[..., None, None] * source


def test_lattice_of_the_paper() -> None:
    torch.manual_seed(0)
    afe, x = AFE(8), torch.randn(2, 8, 3, 5)
    f = afe.block0(x)
    p1 = x + weighted(afe.gate1, f)
    q1 = f + weighted(afe.gate2, x)
    g = afe.block1(p1)
    p3 = g + weighted(afe.gate3, q1)
    q3 = q1 + weighted(afe.gate4, g)
    torch.testing.assert_close(afe(x), afe.compress(torch.cat((p3, q3), dim=1)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_statistics_are_those_of_torch_with_their_gradients(layout: torch.memory_format) -> None:
    features = (5 + torch.randn(2, 8, 6, 7, dtype=torch.float64)).contiguous(memory_format=layout).requires_grad_()
    ours, theirs = mean_and_std(features), torch.std_mean(features, dim=(2, 3))[::-1]
    direction = torch.randn(2, 8, dtype=torch.float64)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
        slopes = [torch.autograd.grad(statistic, features, direction, retain_graph=True)[0] for statistic in (one, other)]
        torch.testing.assert_close(*slopes)


def test_the_deviation_of_nearly_even_features_is_exact() -> None:
    """The mean square less the squared mean would lose all of it."""
    features = (1000 + 0.01 * torch.randn(1, 3, 64, 64, dtype=torch.float64)).float()
    torch.testing.assert_close(mean_and_std(features)[1], features.double().std(dim=(2, 3)).float(), rtol=1e-3, atol=0)


def test_dead_channel_has_a_finite_gradient() -> None:
    features = torch.rand(1, 4, 3, 3)
    features[:, 1] = 0  # its deviation is 0, where a square root has no slope
    features.requires_grad_()
    AFE(4)(features).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
