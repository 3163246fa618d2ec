"""The network that a training begins with, and the options that its checkpoints note."""

import copy
from pathlib import Path
from typing import Any

import torch

import scpm
import thiefcloud
from cloudkit.checkpoints import require_rgb
from cloudkit.errors import UserError
from cloudkit.script.command_line import plain
from scpm import SCPM
from scpm.paths import default_prior
from thiefcloud.inference.weights import BUILDERS, NETWORKS
from thiefcloud.network.base import NoPrior, RemovalNetwork
from thiefcloud.network.model import ThiefCloud
from thiefcloud.training.losses import LEVEL_WEIGHTS
from thiefcloud.training.options import BROUGHT_ALONG, TrainOptions

_SIDE = 32  # pixels of the images that show if a network can be trained


def new_model(options: TrainOptions) -> RemovalNetwork:
    """Build the network to begin with: from a file, or at random with its prior from a file.

    Raises:
        UserError: the options do not fit the file.
    """
    if options.pretrained is not None:
        return pretrained_model(options, options.pretrained)
    torch.manual_seed(options.seed)
    prior = new_prior(options)
    torch.manual_seed(options.seed)  # so that the network is the same for every prior
    config = {
        "in_channels": prior.in_channels,
        "residual": options.residual,
        "inversion": options.epochs_inversion > 0,
    }
    model = BUILDERS[options.network](config, prior)
    if options.epochs_inversion and model.inversion is None:
        raise UserError(
            f"--network {options.network} has no inversion to train; give --epochs-inversion 0."
        )
    require_levels(model)
    return model


def require_levels(model: RemovalNetwork) -> None:
    """Require that a network in training returns all outputs that the loss compares.

    A copy restores noise, so that neither the network nor the random numbers change.

    Raises:
        UserError: one is missing.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        outputs = copy.deepcopy(model).train()(torch.rand(2, model.in_channels, _SIDE, _SIDE))
    missing = [level for level in LEVEL_WEIGHTS if getattr(outputs, level, None) is None]
    if missing:
        raise UserError(
            f"the network {model.kind} returns no {' and no '.join(missing)} while it trains, "
            "expected a Restoration with each: a network with one output returns it for all."
        )


def pretrained_model(options: TrainOptions, path: Path) -> RemovalNetwork:
    """Load the network to begin with, and give it another prior if the options name one."""
    model = require_rgb(thiefcloud.load(path), f"--pretrained {path}")
    if options.prior is not None:
        if not isinstance(model, ThiefCloud):
            raise UserError(
                f"--pretrained {path} is a {model.kind}, which takes no prior; leave out --prior."
            )
        model.replace_prior(load_prior(options.prior))
    if options.epochs_inversion and model.inversion is None:
        raise UserError(
            f"--pretrained {path} has no inversion to train; leave out --epochs-inversion, or "
            "--pretrained."
        )
    if options.tune_with_inversion and not isinstance(model.prior, SCPM):
        raise UserError(
            f"--pretrained {path} has no prior to tune; leave out --tune-with-inversion."
        )
    if options.keep_overlay and model.overlay is None:
        raise UserError(
            f"--pretrained {path} removes no overlays; leave out --keep-overlay, or let "
            "ThiefCloud/fit_overlay.py fit them before."
        )
    return model


def new_prior(options: TrainOptions) -> SCPM | NoPrior:
    """Build the prior to begin with: from a file, untrained, or none."""
    if not uses_prior(options):
        return NoPrior()
    return SCPM() if options.untrained_prior else load_prior(options.prior or default_prior())


def load_prior(path: Path) -> SCPM:
    """Load a prior for RGB images."""
    return require_rgb(scpm.load(path), f"--prior {path}")


def uses_prior(options: TrainOptions) -> bool:
    """Tell whether a network that is built anew has a prior."""
    return NETWORKS[options.network].takes_prior and not options.no_prior


def describe_start(options: TrainOptions) -> str | None:
    """Name the weights to begin with, for people; None if there are none."""
    if options.pretrained is not None:
        replaced = f", with the prior {options.prior}" if options.prior is not None else ""
        return f"weights to begin with: {options.pretrained}{replaced}"
    if not uses_prior(options):
        return None
    return f"prior: {'untrained' if options.untrained_prior else options.prior or default_prior()}"


def options_in_force(options: TrainOptions) -> dict[str, Any]:
    """Return the options that checkpoints note: those that pretrained weights did not decide."""
    noted = plain(options)
    if options.pretrained is None:
        return noted
    decided = set(BROUGHT_ALONG)
    if options.prior is not None:
        decided.remove("prior")
    return {name: value for name, value in noted.items() if name not in decided}
