import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cloudkit.errors import UserError
from trainkit.training.precision import AveragedWeights, MixedPrecision, has_fused_optimizer

CPU = torch.device("cpu")


def network(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def test_auto_is_full_precision_on_the_cpu() -> None:
    assert MixedPrecision("auto", CPU).precision == "fp32"


def test_fp16_needs_a_gpu() -> None:
    message = "fp16 does not train on the CPU; choose --precision fp32 or bf16"
    with pytest.raises(UserError, match=message):
        MixedPrecision("fp16", CPU)


def test_bf16_computes_in_half_precision() -> None:
    product: list[Tensor] = []
    for precision in (MixedPrecision("fp32", CPU), MixedPrecision("bf16", CPU)):
        with precision.autocast():
            product.append(torch.ones(2, 2) @ torch.ones(2, 2))
    assert [value.dtype for value in product] == [torch.float32, torch.bfloat16]


def test_optimizers_are_fused_on_the_cpu_too() -> None:
    assert has_fused_optimizer(CPU)
    assert not has_fused_optimizer(torch.device("meta"))


def test_averaged_weights_equal_those_of_pytorch() -> None:
    """Also after a state of PyTorch's own class was loaded, as earlier releases wrote it."""
    earlier = AveragedModel(network(), multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged = AveragedWeights(network(), 0.9)
    averaged.load_state_dict(earlier.state_dict())
    for step in range(3):
        model = network()
        nn.init.constant_(next(model.parameters()), step)
        model[1].running_mean.fill_(step)  # type: ignore[operator]
        earlier.update_parameters(model)
        averaged.update_parameters(model)

    for name, value in averaged.state_dict().items():
        assert torch.equal(value, earlier.state_dict()[name]), name
