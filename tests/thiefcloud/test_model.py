import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scpm import SCPM
from thiefcloud import ThiefCloud


def test_size_is_that_of_the_paper() -> None:
    assert sum(parameter.numel() for parameter in ThiefCloud(SCPM()).parameters()) == 2_064_319


def test_inference_needs_fewer_parameters() -> None:
    model = ThiefCloud(SCPM()).eval()
    result = model(torch.rand(1, 3, 8, 8))
    (result.restored.sum() + result.thickness.sum()).backward()
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.grad is not None) == 1_752_361


@pytest.mark.parametrize(("supervision", "expected"), [(True, 20.27), (False, 18.20)])
def test_cost_is_that_of_the_paper(supervision: bool, expected: float) -> None:
    model = ThiefCloud(SCPM()).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, 64, 64), supervision=supervision)
    gmacs_256 = counter.get_total_flops() / 2 * (256 / 64) ** 2 / 1e9
    assert gmacs_256 == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_outputs_and_their_shapes(bands: int) -> None:
    result = ThiefCloud(SCPM(bands), bands)(torch.rand(2, bands, 16, 24))
    assert {name: tuple(value.shape) for name, value in result._asdict().items()} == {
        "restored": (2, bands, 16, 24),
        "half": (2, bands, 16, 24),
        "quarter": (2, bands, 16, 24),
        "thickness": (2, 1, 16, 24),
    }


@pytest.mark.parametrize(
    ("training", "supervision", "supervised"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_supervision_is_computed_while_training_or_when_asked(training: bool, supervision: bool | None, supervised: bool) -> None:
    result = ThiefCloud(SCPM()).train(training)(torch.rand(1, 3, 16, 16), supervision)
    assert (result.half is not None, result.quarter is not None) == (supervised, supervised)


def test_supervision_does_not_change_the_restored_image() -> None:
    model, images = ThiefCloud(SCPM()).eval(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(images, supervision=True).restored, model(images).restored)


def test_thickness_is_that_of_the_prior() -> None:
    model, images = ThiefCloud(SCPM()).eval(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(images).thickness, model.prior(images).thickness)


def training_step(model: ThiefCloud) -> dict[str, Tensor]:
    """Train one step on everything; the state before it."""
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
    result = model.train()(torch.rand(2, 3, 16, 16))
    outputs = [output for output in (result.restored, result.half, result.quarter) if output is not None]
    torch.stack([output.square().mean() for output in outputs]).sum().backward()
    optimizer.step()
    return before


def changed(model: ThiefCloud, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def without_gradient(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.grad is None}


def test_frozen_prior_stays_bit_for_bit() -> None:
    model = ThiefCloud(SCPM()).freeze_prior()
    before = training_step(model)
    assert changed(model, before) == {name for name in before if not name.startswith("prior.")}
    assert without_gradient(model.prior) == {name for name, _ in model.prior.named_parameters()}


def test_prior_tuned_after_it_was_frozen_learns_but_for_its_head() -> None:
    model, head = ThiefCloud(SCPM()).freeze_prior().tune_prior(), {"prior.head.weight", "prior.head.bias"}
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == head
    before = training_step(model)
    assert without_gradient(model) == head
    assert set(before) - changed(model, before) == head


def test_prior_frozen_after_it_was_tuned_stays() -> None:
    model = ThiefCloud(SCPM()).tune_prior().freeze_prior()
    assert not any(name.startswith("prior.") for name in changed(model, training_step(model)))


def test_frozen_prior_stays_in_eval_mode() -> None:
    model = ThiefCloud(SCPM()).train().freeze_prior()
    assert not any(module.training for module in model.prior.modules())
    for mode in (True, False, True):
        model.train(mode)
        assert model.level_full.training is mode
        assert not any(module.training for module in model.prior.modules())
    model.tune_prior()
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 16), r"\(1, 4, 16, 16\), expected \(N, 3, H, W\)"),
        ((3, 16, 16), r"\(3, 16, 16\), expected \(N, 3, H, W\)"),
        ((1, 3, 16, 20), r"16x20 pixels, expected positive multiples of 8.*thiefcloud\.restore"),
    ],
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThiefCloud(SCPM())(torch.zeros(shape))


def test_prior_of_other_bands_is_refused() -> None:
    with pytest.raises(ValueError, match="the prior takes 4 bands, expected in_channels = 3"):
        ThiefCloud(SCPM(4))


def test_prior_keeps_its_weights_and_the_rest_starts_as_pytorch_does() -> None:
    prior = SCPM()
    before = copy.deepcopy(prior.state_dict())
    model = ThiefCloud(prior)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.prior.state_dict().items())
    own = [module for name, module in model.named_modules() if isinstance(module, nn.Conv2d) and not name.startswith("prior.")]
    scaled = torch.cat([(layer.weight * layer.weight[0].numel() ** 0.5).flatten() for layer in own])  # uniform in [-1, 1]
    assert scaled.abs().max() <= 1.0001
    assert scaled.std().item() == pytest.approx(3**-0.5, rel=0.01)
