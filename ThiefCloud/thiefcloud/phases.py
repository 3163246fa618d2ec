"""The phases of training: what learns in each, from which losses, and how fast."""

import math
from collections.abc import Callable
from typing import NamedTuple, Self

import torch.nn.functional as F
from torch import Tensor, nn

from thiefcloud.data import Batch
from thiefcloud.losses import RestorationLoss
from thiefcloud.model import ThiefCloud
from thiefcloud.options import TrainOptions
from thiefcloud.unet import UNet

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
    """Images a step, over all processes."""
    lr: float
    """Learning rate at the start."""
    warm_up: int = 1
    """Steps in which the learning rate rises to its start."""
    largest_gradient: float = math.inf
    """Norm to which larger gradients are scaled down."""

    def lr_at(self, step: int, steps_per_epoch: int, lr_end: float) -> float:
        """Learning rate of a step of this phase: a cosine from `lr` to `lr_end`, epoch by epoch."""
        finished = step // steps_per_epoch / self.epochs
        cosine = lr_end + (self.lr - lr_end) * (1 + math.cos(math.pi * finished)) / 2
        return cosine * min(1.0, (step + 1) / self.warm_up)


def phases_of(options: TrainOptions) -> list[Phase]:
    """All phases in their order; those of 0 epochs are left out when their turn comes.

    A few large steps can spoil the inversion for good, hence its warm-up and its bound.
    """
    return [
        Phase(
            "inversion",
            "inversion",
            2,  # the paper's phases keep the randomness that they always had
            options.epochs_inversion,
            options.batch_inversion,
            options.lr_inversion,
            warm_up=100,
            largest_gradient=1.0,
        ),
        Phase("frozen", "SCPM frozen", 0, options.epochs_frozen, options.batch_frozen, options.lr_frozen),
        Phase("tunable", "SCPM tunable", 1, options.epochs_tunable, options.batch_tunable, options.lr_tunable),
    ]


def prepare(phase: Phase, model: ThiefCloud | UNet, criterion: RestorationLoss) -> tuple[nn.Module, Losses]:
    """Set what learns in a phase.

    Returns:
        The part of the network that runs, and the losses of its output.
    """
    if phase.name == "inversion":
        inverting = InversionAlone(model.requires_grad_(False))
        inverting.inversion.requires_grad_(True)
        return inverting, inversion_loss

    model.requires_grad_(True)
    if phase.name == "frozen":
        model.freeze_prior()
    else:
        model.tune_prior()
    if model.inversion is not None:
        model.inversion.requires_grad_(False)
    return model, lambda network, batch: criterion(network(batch[0]), batch[1])


def inversion_loss(part: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """L1 between inverted and clear images."""
    cloudy, clear = batch
    return {"loss": F.l1_loss(part(cloudy), clear)}


class InversionAlone(nn.Module):
    """The inversion of a network, with the prior that guides it.

    Shape: cloudy images (N, bands, H, W) to inverted ones, without what the network behind would
    add.
    """

    def __init__(self, model: ThiefCloud | UNet) -> None:
        super().__init__()
        assert model.inversion is not None
        self.prior, self.inversion = model.prior, model.inversion

    def train(self, mode: bool = True) -> Self:
        """Set training or eval mode; the prior stays in eval mode."""
        super().train(mode)
        self.prior.eval()
        return self

    def forward(self, cloudy: Tensor) -> Tensor:
        """Invert."""
        inverted: Tensor = self.inversion(cloudy, self.prior(cloudy))
        return inverted
