"""The training step, and the state that a training goes on from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cloudkit.checkpoints import load_weights, read_file, save_checkpoint
from cloudkit.errors import UserError
from cloudkit.memory import ordered_to_train
from cloudkit.processes import Processes
from cloudkit.progress import progress_bar
from trainkit.training.precision import AveragedWeights, MixedPrecision
from trainkit.training.state import check_training, optimizer_state

Network = TypeVar("Network", bound=nn.Module)
Losses = Callable[[nn.Module, Any], dict[str, Tensor]]
_CHECK_EVERY = 50  # steps between looks at the loss on a GPU: each look waits for the device


class NonFiniteLossError(UserError):
    """The loss is infinite or not a number. Nothing was saved since."""


@dataclass
class Progress:
    """Progress of a run."""

    phase: int = 0
    epoch: int = 0
    """Finished epochs of this phase."""
    step: int = 0
    """Optimizer steps of all phases."""
    best: float = -math.inf
    """Best validation score so far; larger is better."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One record for each validation."""


class Trainer(Generic[Network]):
    """A network with everything that its training must remember.

    Args:
        name: "scpm" or "thiefcloud", noted in checkpoints.
        model: the network, on its device.
        config: the arguments that build the network, noted in checkpoints.
        precision: arithmetic of the training.
        ema: decay of the averaged weights, in [0, 1); 0 keeps none.
        processes: the processes of the run.
        options: the run's options, noted in checkpoints.
    """

    def __init__(
        self,
        name: str,
        model: Network,
        config: Mapping[str, Any],
        *,
        precision: MixedPrecision,
        ema: float,
        processes: Processes,
        options: Mapping[str, Any],
    ) -> None:
        self.name, self.model, self.config = name, ordered_to_train(model), config
        self.precision, self.processes, self.options = precision, processes, options
        self.averaged = AveragedWeights(model, ema) if ema > 0 else None
        self.progress = Progress()
        self.optimizer: torch.optim.Optimizer
        self.max_gradient = math.inf
        self.parallel: nn.Module = model
        self._restored: tuple[Path, Mapping[str, Any]] | None = None  # a state and its file

    @property
    def best_model(self) -> Network:
        """The network to validate and to keep: the averaged one if there is one."""
        if self.averaged is None or self.averaged.n_averaged == 0:
            return self.model
        return cast(Network, self.averaged.module)

    def begin_phase(
        self,
        optimizer: torch.optim.Optimizer,
        part: nn.Module | None = None,
        *,
        max_gradient: float = math.inf,
    ) -> None:
        """Take the optimizer of a phase. Freeze and unfreeze weights before.

        If this is the phase that `restore` read, the optimizer takes the state of then.

        Args:
            optimizer: of the weights that learn in this phase.
            part: module to run instead of the whole network.
            max_gradient: norm to which larger gradients are scaled down.
        """
        self.optimizer, self.max_gradient = optimizer, max_gradient
        self.model.zero_grad()  # those of frozen weights would count towards the bound
        self.parallel = self.processes.wrap(self.model if part is None else part)
        self.precision.begin()

        restored, self._restored = self._restored, None
        if restored is not None and restored[1]["progress"]["phase"] == self.progress.phase:
            self._restore_optimizer(*restored)

    def train_steps(
        self,
        batches: DataLoader[Any],
        compute_losses: Losses,
        learning_rate: Callable[[int], float],
        *,
        first: int,
        title: str,
    ) -> dict[str, float]:
        """Train on each batch once.

        Args:
            batches: the batches, one for each step.
            compute_losses: losses of a batch; "loss" is minimised, the others are only reported.
            learning_rate: learning rate of a step of this phase.
            first: number of the first step in this phase, from 0.
            title: of the progress bar.

        Returns:
            The mean of each loss over steps and processes.

        Raises:
            NonFiniteLossError: what was saved before is untouched.
        """
        self.parallel.train()
        sums: dict[str, Tensor] = {}
        bar = progress_bar(
            batches,
            desc=title,
            unit="step",
            leave=False,
            show=self.processes.is_main,
        )
        for step, batch in enumerate(bar, start=first):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(step)
            losses = self._step(batch, compute_losses)

            for name, value in losses.items():
                sums[name] = sums[name] + value if name in sums else value
            if self.processes.device.type == "cpu" or (step + 1) % _CHECK_EVERY == 0:
                self._check_finite(float(sums["loss"]))
                bar.set_postfix({"loss": f"{float(losses['loss']):.4g}"}, refresh=False)

        totals = {name: float(value) for name, value in sums.items()}
        means = self.processes.means(totals, len(batches))
        self._check_finite(means["loss"])
        return means

    def _step(self, batch: Any, compute_losses: Losses) -> dict[str, Tensor]:
        # Forward.
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            losses = compute_losses(self.parallel, batch)

        # Backward.
        scaler = self.precision.scaler
        scaler.scale(losses["loss"]).backward()
        if math.isfinite(self.max_gradient):
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parallel.parameters(), self.max_gradient)

        # Update.
        scaler.step(self.optimizer)
        scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        self.progress.step += 1
        return {name: value.detach() for name, value in losses.items()}

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss is {loss} around step {self.progress.step}; the run's last.pt holds the "
                "last good state. Go on from it with --resume and a smaller learning rate, or "
                "--precision fp32; if it fails at once, look for damaged images."
            )

    def save_last(self, path: Path) -> None:
        """Write everything that `restore` needs. Loaders take the best weights from the file."""
        training: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "progress": asdict(self.progress),
        }
        self._save(path, {"training": training})

    def save_best(self, path: Path) -> None:
        """Write the weights that scored best."""
        self._save(path, {})

    def _save(self, path: Path, extra: Mapping[str, Any]) -> None:
        if not self.processes.is_main:
            return
        state = {
            "model": self.best_model.state_dict(),
            "score": self.progress.best,
            "step": self.progress.step,
            "options": dict(self.options),
            **extra,
        }
        save_checkpoint(path, self.name, self.config, state)

    def restore(self, path: Path) -> None:
        """Go on from last.pt: take weights and progress now, the optimizer's state in its phase.

        Raises:
            UserError: the file holds no training, or only a part of one.
        """
        training = read_file(path).get("training")
        if training is None:
            raise UserError(
                f"{path} holds weights but no training to continue; name the folder of a run that "
                "has a last.pt."
            )
        check_training(training, path)
        load_weights(self.model, training["model"], path)
        if self.averaged is not None and training["averaged"] is not None:
            load_weights(self.averaged, training["averaged"], path)
        self.progress = Progress(**training["progress"])
        self._restored = (path, training)

    def _restore_optimizer(self, path: Path, training: Mapping[str, Any]) -> None:
        state = optimizer_state(self.optimizer, training["optimizer"], path)
        self.optimizer.load_state_dict(state)

        saved, scaler = training["scaler"], self.precision.scaler
        if not saved or not scaler.is_enabled():
            return
        if saved.keys() != scaler.state_dict().keys():
            raise UserError(
                f"{path} is damaged: its gradient scaler holds {sorted(saved)}, expected "
                f"{sorted(scaler.state_dict())}. Name another run."
            )
        scaler.load_state_dict(dict(saved))
