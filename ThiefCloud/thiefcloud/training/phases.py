"""The phases of training: what learns, with which loss, and how fast."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

from torch import Tensor, nn

from scpm import SCPM, Prior
from thiefcloud.data.batches import Batch
from thiefcloud.network.base import RemovalNetwork
from thiefcloud.network.overlay import uncover
from thiefcloud.training.losses import RestorationLoss, psnr_loss, thickness_loss
from thiefcloud.training.options import TrainOptions

_MAX_GRADIENT = 1.0  # in the phase of the inversion
_WARM_UP = 100  # steps, in the same
_WARM_UP_AGAIN = 20  # steps in which the trained inversion begins to learn with the rest
_ORDER = ("inversion", "frozen", "tunable")  # of the phases; history.json has their numbers
Losses = Callable[[nn.Module, Batch], dict[str, Tensor]]


class Phase(NamedTuple):
    """One phase of training."""

    name: str
    title: str
    """Name for people."""
    randomness: int
    """Number that the order of batches and their crops depend on."""
    epochs: int
    batch: int
    """Images in a step, over all processes."""
    lr: float
    """Learning rate at the start."""
    warm_up: int = 1
    """Steps in which the learning rate rises to its start."""
    max_gradient: float = math.inf
    """Norm to which larger gradients are scaled down."""
    tunes_prior: bool = False
    """In the phase of the inversion: SCPM learns, too."""

    def learning_rate(self, step: int, steps_per_epoch: int, lr_end: float) -> float:
        """Return the learning rate of a step: a cosine from `lr` to `lr_end`, epoch by epoch."""
        finished = step // steps_per_epoch / self.epochs
        cosine = lr_end + (self.lr - lr_end) * (1 + math.cos(math.pi * finished)) / 2
        return cosine * min(1.0, (step + 1) / self.warm_up)


def phases_of(options: TrainOptions, model: RemovalNetwork) -> list[Phase]:
    """Return all phases in order. Those of 0 epochs do nothing.

    Without a prior the last two differ in their length and learning rate alone.
    A few large steps can spoil an inversion for good, so wherever it learns there is a warm-up.
    """
    has_prior = isinstance(model.prior, SCPM)
    inversion = Phase(
        name="inversion",
        title="inversion",
        randomness=2,  # the paper's phases keep the numbers that they always had
        epochs=options.epochs_inversion,
        batch=options.batch_inversion,
        lr=options.lr_inversion,
        warm_up=_WARM_UP,
        max_gradient=_MAX_GRADIENT,
        tunes_prior=options.tune_with_inversion,
    )
    bound = math.inf if options.max_gradient is None else options.max_gradient
    frozen = Phase(
        name="frozen",
        title="SCPM frozen" if has_prior else "first phase",
        randomness=0,
        epochs=options.epochs_frozen,
        batch=options.batch_frozen,
        lr=options.lr_frozen,
        max_gradient=bound,
    )
    tunable = Phase(
        name="tunable",
        title="SCPM tunable" if has_prior else "second phase",
        randomness=1,
        epochs=options.epochs_tunable,
        batch=options.batch_tunable,
        lr=options.lr_tunable,
        warm_up=1 if model.inversion is None else _WARM_UP_AGAIN,
        max_gradient=bound,
    )
    return [inversion, frozen, tunable]


def end_of_training(options: Mapping[str, Any]) -> tuple[int, int]:
    """Return phase and epoch of the last record of a finished training, as history.json has them.

    Args:
        options: content of its options.json.
    """
    epochs = [options[f"epochs_{name}"] for name in _ORDER]
    last = max(number for number, count in enumerate(epochs) if count > 0)
    return last, epochs[last]


def prepare(
    phase: Phase, model: RemovalNetwork, criterion: RestorationLoss
) -> tuple[nn.Module, Losses]:
    """Freeze and unfreeze the weights of a network for a phase.

    Returns:
        The module that runs in this phase, and the losses of its output.
    """
    if phase.name == "inversion":
        inverting = InversionAlone(model.requires_grad_(False))
        inverting.inversion.requires_grad_(True)
        if isinstance(model.prior, SCPM):
            model.prior.requires_grad_(phase.tunes_prior)
            model.prior.head.requires_grad_(criterion.thickness_weight > 0)
        return inverting, inversion_losses(criterion.thickness_weight)

    model.requires_grad_(True)
    if model.overlay is not None:
        model.overlay.requires_grad_(False)
    if phase.name == "frozen":
        model.freeze_prior()
    else:
        model.tune_prior(head=criterion.thickness_weight > 0)
    if model.inversion is not None:
        model.inversion.requires_grad_(phase.name == "tunable")

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        found: dict[str, Tensor] = criterion(network(batch.cloudy), batch.clear, batch.thickness)
        return found

    return model, losses


def inversion_losses(thickness_weight: float) -> Losses:
    """Return the losses of the inversion alone, and of the thickness that guides it."""

    def losses(part: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inverted, thickness = part(batch.cloudy, batch.hidden, batch.stays)
        pixel = psnr_loss(inverted, batch.clear)
        if thickness_weight == 0:
            return {"loss": pixel}
        error = thickness_loss(thickness, batch.thickness)
        return {"loss": pixel + thickness_weight * error, "pixel": pixel, "thickness": error}

    return losses


class InversionAlone(nn.Module):
    """The inversion of a network with its prior, without the network behind it.

    A prior knows the ground that it was trained on, and says more of the clouds above it than of
    others. An inversion that sees the prior of every image would rely on that. An overlay knows
    its training images, too: of others it misses some, which the inversion must restore alone.

    Shape: cloudy images (N, bands, H, W), and twice (N,) bool: those whose prior the inversion does
    not see, and those whose overlay stays; to inverted ones, and the thickness (N, 1, H, W).
    """

    def __init__(self, model: RemovalNetwork) -> None:
        super().__init__()
        assert model.inversion is not None
        self.prior, self.inversion, self.overlay = model.prior, model.inversion, model.overlay

    def train(self, mode: bool = True) -> Self:
        """Set training or eval mode; the prior stays in eval mode."""
        super().train(mode)
        self.prior.eval()
        return self

    def forward(self, cloudy: Tensor, hidden: Tensor, stays: Tensor) -> tuple[Tensor, Tensor]:
        """Invert cloudy images, and return the thickness that the prior sees."""
        uncovered = uncover(self.overlay, cloudy, None, stays)
        prior = self.prior(uncovered.images)
        guide = Prior._make(part * ~hidden[:, None, None, None] for part in prior)
        inverted = self.inversion(uncovered.images, guide, uncovered.statistics)
        return inverted, uncovered.with_overlay(prior.thickness)
