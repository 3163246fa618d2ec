import pytest
import torch
from torch import Tensor, nn

from thiefcloud.afe import AFE, ChannelGate


def test_gate_averages_mean_and_unbiased_deviation() -> None:
    gate = ChannelGate(2, 1)
    gate.from_mean = gate.from_std = nn.Sequential()  # leaves the statistics as they are
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]])
    expected = [(2 + 2**0.5) / 2, (4 + 32**0.5) / 2]  # the biased deviations are 1 and 4
    assert gate(features).flatten().tolist() == pytest.approx(expected)


def test_gate_mlp_ends_in_a_sigmoid_and_is_four_times_narrower_inside() -> None:
    gate = AFE(8).gate1
    assert [tuple(parameter.shape) for parameter in gate.from_std.parameters()] == [(2, 8, 1, 1), (2,), (8, 2, 1, 1), (8,)]
    weights = gate(100 * torch.randn(4, 8, 5, 5))
    assert 0 <= weights.min() <= weights.max() <= 1


def weighted(gate: ChannelGate, source: Tensor) -> Tensor:
    """M(x) x, from the definition."""
    values = source.flatten(2)
    mean, std = values.mean(2)[..., None, None], values.std(2, unbiased=True)[..., None, None]
    return 0.5 * (gate.from_mean(mean) + gate.from_std(std)) * source


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


def test_dead_channel_has_a_finite_gradient() -> None:
    features = torch.rand(1, 4, 3, 3)
    features[:, 1] = 0  # its deviation is 0, where a square root has no slope
    features.requires_grad_()
    AFE(4)(features).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
