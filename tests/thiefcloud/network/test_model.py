import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scpm import SCPM
from thiefcloud import ThiefCloud


def test_size_is_that_of_the_paper() -> None:
    weights = nn.utils.parameters_to_vector(ThiefCloud(SCPM()).parameters())
    assert len(weights) == 2_064_319


def test_inference_needs_fewer_parameters() -> None:
    model = ThiefCloud(SCPM()).eval()
    result = model(torch.rand(1, 3, 8, 8))
    (result.restored.sum() + result.thickness.sum()).backward()

    used = 0
    for parameter in model.parameters():
        if parameter.grad is not None:
            used += parameter.numel()
    assert used == 1_752_361


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
    assert result.restored.shape == (2, bands, 16, 24)
    assert result.half.shape == (2, bands, 16, 24)
    assert result.quarter.shape == (2, bands, 16, 24)
    assert result.thickness.shape == (2, 1, 16, 24)


@pytest.mark.parametrize(
    ("training", "supervision", "supervised"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_supervision_is_computed_while_training_or_when_asked(
    training: bool, supervision: bool | None, supervised: bool
) -> None:
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
    torch.stack((result.restored, result.half, result.quarter)).square().mean().backward()
    optimizer.step()
    return before


def changed(model: ThiefCloud, before: dict[str, Tensor]) -> set[str]:
    """Names of the weights that have changed."""
    after = model.state_dict()
    return {name for name in after if not torch.equal(after[name], before[name])}


def without_gradient(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.grad is None}


def of_the_prior(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("prior.")}


def test_frozen_prior_stays_bit_for_bit() -> None:
    model = ThiefCloud(SCPM()).freeze_prior()
    before = training_step(model)
    assert changed(model, before) == set(before) - of_the_prior(set(before))
    assert without_gradient(model.prior) == set(dict(model.prior.named_parameters()))


def test_prior_tuned_after_it_was_frozen_learns_but_for_its_head() -> None:
    model = ThiefCloud(SCPM()).freeze_prior().tune_prior()
    head = {"prior.head.weight", "prior.head.bias"}
    fixed = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert fixed == head

    before = training_step(model)
    assert without_gradient(model) == head
    assert set(before) - changed(model, before) == head


def test_the_head_learns_if_the_loss_scores_the_thickness() -> None:
    prior = SCPM()
    model = ThiefCloud(prior).tune_prior(head=True)
    assert all(weight.requires_grad for weight in model.parameters())
    model(torch.rand(1, 3, 16, 16)).thickness.sum().backward()
    assert prior.head.weight.grad is not None


def test_prior_frozen_after_it_was_tuned_stays() -> None:
    model = ThiefCloud(SCPM()).tune_prior().freeze_prior()
    assert not of_the_prior(changed(model, training_step(model)))


def modes(model: nn.Module) -> set[bool]:
    """True if a module trains, False if one is in eval mode."""
    return {module.training for module in model.modules()}


def test_frozen_prior_stays_in_eval_mode() -> None:
    model = ThiefCloud(SCPM()).train().freeze_prior()
    assert modes(model.prior) == {False}

    for mode in (True, False, True):
        model.train(mode)
        assert model.level_full.training is mode
        assert modes(model.prior) == {False}

    model.tune_prior()
    assert modes(model) == {True}


def test_a_prior_before_an_inversion_keeps_its_statistics_while_it_learns() -> None:
    model = ThiefCloud(SCPM(), residual=True, inversion=True).tune_prior()
    assert model.inversion is not None
    for weight in model.inversion.parameters():
        nn.init.normal_(weight, std=0.01)  # zeros would let no gradient pass

    learnt = of_the_prior(changed(model, training_step(model)))
    assert modes(model.level_full) == {True}
    assert modes(model.prior) == {False}
    assert "prior.encoder_full.0.weight" in learnt
    assert not {name for name in learnt if "running" in name}


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


def test_prior_keeps_its_weights() -> None:
    prior = SCPM()
    before = copy.deepcopy(prior.state_dict())
    torch.testing.assert_close(ThiefCloud(prior).prior.state_dict(), before, rtol=0, atol=0)


def test_the_network_starts_as_pytorch_does() -> None:
    scaled = []
    for name, layer in ThiefCloud(SCPM()).named_modules():
        if isinstance(layer, nn.Conv2d) and not name.startswith("prior."):
            inputs = layer.weight[0].numel()
            scaled.append((layer.weight * inputs**0.5).flatten())

    values = torch.cat(scaled)  # uniform in [-1, 1]
    assert values.abs().max() <= 1.0001
    assert values.std().item() == pytest.approx(3**-0.5, rel=0.01)
