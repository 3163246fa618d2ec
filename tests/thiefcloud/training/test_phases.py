"""The parts that learn in each phase, and the losses that they learn from."""

import pytest
import torch

from scpm import SCPM, Prior
from tests.thiefcloud.network.overlays import fix, laid_over
from thiefcloud import ThiefCloud
from thiefcloud.data.batches import Batch
from thiefcloud.network.overlay import uncover
from thiefcloud.training.losses import RestorationLoss
from thiefcloud.training.options import TrainOptions
from thiefcloud.training.phases import Phase, phases_of, prepare


@pytest.fixture
def model() -> ThiefCloud:
    torch.manual_seed(1)
    return ThiefCloud(SCPM(), residual=True, inversion=True)


def phase_of(model: ThiefCloud, name: str) -> Phase:
    """Return one phase of the default options."""
    return {phase.name: phase for phase in phases_of(TrainOptions(), model)}[name]


@pytest.fixture
def batch() -> Batch:
    clear = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    hidden = torch.tensor([False, True])
    thickness, stays = torch.full((2, 1, 32, 32), 0.4), torch.zeros(2, dtype=torch.bool)
    return Batch(0.6 * clear + 0.3, clear, thickness, hidden, stays)


def parts_that_learn(model: ThiefCloud) -> set[str]:
    """Return the parts of a network with weights that have a gradient."""
    names = [name for name, weight in model.named_parameters() if weight.grad is not None]
    return {
        ".".join(name.split(".")[:2]) if "prior" in name else name.split(".")[0] for name in names
    }


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, {"inversion"}), (0.5, {"inversion", "prior.head"})]
)
def test_the_inversion_learns_alone_or_with_the_head_of_the_prior(
    model: ThiefCloud, batch: Batch, weight: float, expected: set[str]
) -> None:
    part, losses = prepare(
        phase_of(model, "inversion"), model, RestorationLoss(thickness_weight=weight)
    )
    found = losses(part.train(), batch)
    found["loss"].backward()
    assert parts_that_learn(model) == expected
    assert ("thickness" in found) == (weight > 0)
    if weight > 0:
        total = found["pixel"] + weight * found["thickness"]
        torch.testing.assert_close(found["loss"], total)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_prior_is_tuned_with_the_inversion(
    model: ThiefCloud, batch: Batch, weight: float
) -> None:
    assert isinstance(model.prior, SCPM)
    assert model.inversion is not None
    for layer in (model.inversion.from_guide, *model.inversion.heads):
        layer.weight.data.normal_(std=0.1)  # else the inversion does not listen to the features
    before = {name: value.clone() for name, value in model.prior.named_buffers()}

    phase = phase_of(model, "inversion")._replace(tunes_prior=True)
    part, losses = prepare(phase, model, RestorationLoss(thickness_weight=weight))
    losses(part.train(), batch)["loss"].backward()
    learns = {name: value.grad is not None for name, value in model.prior.named_parameters()}
    assert all(learnt for name, learnt in learns.items() if not name.startswith("head."))
    assert learns["head.weight"] == (weight > 0)
    assert not parts_that_learn(model) & {"level_full", "overlay"}
    for name, value in model.prior.named_buffers():
        assert torch.equal(value, before[name])  # statistics of BatchNorm stay

    prepare(phase_of(model, "frozen"), model, RestorationLoss())
    assert not any(value.requires_grad for value in model.prior.parameters())


def test_the_inversion_does_not_see_a_hidden_prior(model: ThiefCloud, batch: Batch) -> None:
    part, _ = prepare(phase_of(model, "inversion"), model, RestorationLoss())
    assert model.inversion is not None
    for layer in (model.inversion.from_guide, *model.inversion.heads):
        layer.weight.data.normal_(std=0.1)
    seen, thickness = part.eval()(batch.cloudy, batch.hidden, batch.stays)
    prior = model.prior(batch.cloudy)
    nothing = Prior._make(torch.zeros_like(one) for one in prior)
    for number, one in enumerate((prior, nothing)):
        expected = model.inversion(batch.cloudy, one)[number]
        torch.testing.assert_close(seen[number], expected, rtol=1e-4, atol=1e-5)
    assert (model.inversion(batch.cloudy, prior)[1] - seen[1]).abs().max() > 0.01
    torch.testing.assert_close(thickness, prior.thickness)


def test_a_scored_thickness_lets_the_head_learn_with_the_whole_network(
    model: ThiefCloud, batch: Batch
) -> None:
    part, losses = prepare(phase_of(model, "tunable"), model, RestorationLoss(thickness_weight=0.5))
    losses(part.train(), batch)["loss"].backward()
    assert {"prior.head", "inversion", "level_full"} <= parts_that_learn(model)


def test_nothing_of_the_prior_learns_while_it_is_frozen(model: ThiefCloud, batch: Batch) -> None:
    part, losses = prepare(phase_of(model, "frozen"), model, RestorationLoss(thickness_weight=0.5))
    losses(part.train(), batch)["loss"].backward()
    learning = parts_that_learn(model)
    assert "level_full" in learning
    assert not any("prior." in name for name in learning if "enhance" not in name)
    assert "inversion" not in learning


def test_an_inversion_begins_to_learn_with_small_steps(model: ThiefCloud) -> None:
    assert phase_of(model, "tunable").learning_rate(0, 100, 0.0) == pytest.approx(3e-4 / 20)
    paper = phase_of(ThiefCloud(SCPM()), "tunable")
    assert paper.learning_rate(0, 100, 0.0) == pytest.approx(3e-4)


@pytest.mark.parametrize("name", ["inversion", "frozen", "tunable"])
def test_an_overlay_learns_in_no_phase(model: ThiefCloud, batch: Batch, name: str) -> None:
    overlay = fix(model.add_overlay(), 0.3)
    torch.nn.init.normal_(overlay.opacity.last.weight, std=0.1)
    part, losses = prepare(phase_of(model, name), model, RestorationLoss(thickness_weight=0.5))
    assert not any(weight.requires_grad for weight in overlay.parameters())
    losses(part.train(), batch)["loss"].backward()
    learning = parts_that_learn(model)
    assert "overlay" not in learning
    assert ("inversion" if name == "inversion" else "level_full") in learning


@pytest.mark.parametrize("hidden", [False, True])
def test_the_inversion_alone_sees_images_without_their_overlay(
    model: ThiefCloud, batch: Batch, hidden: bool
) -> None:
    assert model.inversion is not None
    for layer in (model.inversion.from_guide, *model.inversion.heads):
        layer.weight.data.normal_(std=0.1)
    plain, _ = prepare(phase_of(model, "inversion"), model, RestorationLoss())
    overlay = fix(model.add_overlay(), 0.3)
    part, _ = prepare(phase_of(model, "inversion"), model, RestorationLoss())

    hides = torch.full((2,), hidden)
    cloudy = laid_over(batch.cloudy, 0.3)
    stays = torch.zeros(2, dtype=torch.bool)
    found, thickness = part.eval()(cloudy, hides, stays)
    images = uncover(overlay, cloudy, None).images
    expected, thickness_of_cloud = plain.eval()(images, hides, stays)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(thickness, 1 - 0.7 * (1 - thickness_of_cloud))
    left, left_thickness = plain(cloudy, hides, stays)
    assert (left - found).abs().max() > 0.01

    one_stays = torch.tensor([True, False])
    inverted, thickness = part(cloudy, hides, one_stays)
    torch.testing.assert_close(inverted[0], left[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(thickness[0], left_thickness[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(inverted[1], found[1], rtol=0, atol=1e-6)
