"""What the trainings share: the steps of an epoch, mixed precision, averaged weights, and a state that survives any kill."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from cloudkit.checkpoints import load_weights, read_file, save_checkpoint
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.tuning import ordered_to_train

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Batch = TypeVar("Batch")
Network = TypeVar("Network", bound=nn.Module)
_STATE = {"model", "optimizer", "scaler", "averaged", "progress"}  # what a training goes on from
_CHECK_EVERY = 50  # steps between looks at the loss on a GPU, where each look waits for the device


class NonFiniteLossError(UserError):
    """The loss became infinite or not a number; nothing was saved since."""


@dataclass
class Progress:
    """How far a run has come."""

    phase: int = 0
    epoch: int = 0
    """Finished epochs of this phase."""
    step: int = 0
    """Optimizer steps of all phases."""
    best: float = -math.inf
    """Best validation score so far; larger is better."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One record for each validation."""


class Mixed:
    """Mixed precision on a device: "auto" is bf16 on GPUs that have it, fp16 on other GPUs, fp32 on the CPU."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        if precision == "auto":
            bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
            precision = "bf16" if bf16 else "fp16" if device.type == "cuda" else "fp32"
        if precision == "fp16" and device.type == "cpu":
            raise UserError("fp16 does not train on the CPU; choose --precision fp32 or bf16.")
        self.precision, self.device = precision, device
        self.scaler: torch.amp.GradScaler
        self.begin()

    def begin(self) -> None:
        """Forget what fp16 learnt about the size of gradients."""
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which layers that bear it compute in half precision."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "fp32")


def fuses(device: torch.device) -> bool:
    """Whether Adam and SGD can update all weights in few kernels there (argument `fused`): faster, rounded otherwise."""
    return device.type in ("cuda", "cpu")


class Averaged(AveragedModel):
    """Weights averaged exponentially; torch's own update sends a counter to the GPU at each step, and waits for it.

    Args:
        model: the network.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights after a step; the first are taken as they are, and buffers always."""
        if self.n_averaged == 0:  # a counter on the CPU
            self.module.load_state_dict(model.state_dict())
        else:
            self._average(list(self.module.parameters()), list(model.parameters()), 0)
        for ours, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            ours.copy_(theirs)
        self.n_averaged += 1


class Trainee(Generic[Network]):
    """A network with all that its training must remember.

    Args:
        name: "scpm" or "thiefcloud", noted in checkpoints.
        model: the network, on its device.
        config: the arguments that build the network, noted in checkpoints.
        mixed: the precision to train in.
        ema: decay of the averaged weights, in [0, 1); 0 keeps none.
        world: the processes.
        options: the run's options, noted in checkpoints.
    """

    def __init__(
        self,
        name: str,
        model: Network,
        config: Mapping[str, Any],
        *,
        mixed: Mixed,
        ema: float,
        world: World,
        options: Mapping[str, Any],
    ) -> None:
        self.name, self.model, self.config = name, ordered_to_train(model), config
        self.mixed, self.world, self.options = mixed, world, options
        self.averaged = Averaged(model, ema) if ema > 0 else None
        self.progress = Progress()
        self.optimizer: torch.optim.Optimizer
        self.largest_gradient = math.inf
        self.parallel: nn.Module = model

    def begin_phase(
        self,
        optimizer: torch.optim.Optimizer,
        part: nn.Module | None = None,
        *,
        largest_gradient: float = math.inf,
    ) -> None:
        """Take the phase's optimizer; call after what is frozen and what is not has been set.

        Args:
            optimizer: of what learns in this phase.
            part: module that the losses are given instead of the network, if only a part of it is to run.
            largest_gradient: norm of all gradients together, to which larger ones are scaled down.
        """
        self.optimizer, self.largest_gradient = optimizer, largest_gradient
        self.parallel = self.world.wrap(self.model if part is None else part)
        self.mixed.begin()

    @property
    def best_model(self) -> Network:
        """The network to validate and to keep: the averaged one, once there is one."""
        return self.model if self.averaged is None or self.averaged.n_averaged == 0 else cast(Network, self.averaged.module)

    def train_steps(
        self,
        count: int,
        batch_of: Callable[[int], Batch],
        losses_of: Callable[[nn.Module, Batch], dict[str, Tensor]],
        rate_of: Callable[[int], float],
        *,
        first: int,
        title: str,
    ) -> dict[str, float]:
        """Train for some steps.

        Args:
            count: how many.
            batch_of: the batch of a step of this phase.
            losses_of: the losses of a batch, of which "loss" is minimised and the others are only reported.
            rate_of: the learning rate of a step of this phase.
            first: number of the first step in this phase, from 0.
            title: of the progress bar.

        Returns:
            The mean of each loss over steps and processes.

        Raises:
            NonFiniteLossError: what was saved before is untouched.
        """
        self.parallel.train()
        sums: dict[str, Tensor] = {}
        bar = tqdm(range(first, first + count), desc=title, unit="step", leave=False, disable=not self.world.is_main)
        for step in bar:
            for group in self.optimizer.param_groups:
                group["lr"] = rate_of(step)
            losses = self._step(losses_of, batch_of(step))
            for name, value in losses.items():
                sums[name] = sums[name] + value if name in sums else value
            if self.mixed.device.type == "cpu" or (step + 1) % _CHECK_EVERY == 0:
                self._check_finite(float(sums["loss"]))
                bar.set_postfix({"loss": f"{float(losses['loss']):.4g}"}, refresh=False)
        means = self.world.means({name: float(value) for name, value in sums.items()}, count)
        self._check_finite(means["loss"])
        return means

    def _step(self, losses_of: Callable[[nn.Module, Batch], dict[str, Tensor]], batch: Batch) -> dict[str, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        with self.mixed.autocast():
            losses = losses_of(self.parallel, batch)
        scaler = self.mixed.scaler
        scaler.scale(losses["loss"]).backward()
        if math.isfinite(self.largest_gradient):
            scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parallel.parameters(), self.largest_gradient)
        scaler.step(self.optimizer)
        scaler.update()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        self.progress.step += 1
        return {name: value.detach() for name, value in losses.items()}

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss is {loss} around step {self.progress.step}; the run's last.pt holds the last good state. Go on from "
                "it with --resume and a smaller learning rate, or --precision fp32; if it fails at once, look for damaged images."
            )

    def save_last(self, path: Path) -> None:
        """Write all that `resume` needs; loaders take the best weights of this moment from it."""
        training: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.mixed.scaler.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "progress": asdict(self.progress),
        }
        self._save(path, {"training": training})

    def save_best(self, path: Path) -> None:
        """Write the weights that scored best."""
        self._save(path, {})

    def _save(self, path: Path, extra: Mapping[str, Any]) -> None:
        if self.world.is_main:
            scores = {"score": self.progress.best, "step": self.progress.step, "options": dict(self.options)}
            weights = self.best_model.state_dict()
            save_checkpoint(path, self.name, self.config, {"model": weights, **scores, **extra})

    def resume(self, path: Path) -> dict[str, Any]:
        """Take weights, averaged weights and progress from last.pt; `resume_optimizer` must follow once the phase has begun."""
        training = read_file(path).get("training")
        if training is None:
            raise UserError(f"{path} holds weights but no training to continue; name the folder of a run that has a last.pt.")
        if missing := _STATE - training.keys():
            raise UserError(
                f"{path} lacks {', '.join(sorted(missing))} of the training's state; it may be damaged: name another run."
            )
        load_weights(self.model, training["model"], path)
        if self.averaged is not None and training["averaged"] is not None:
            load_weights(self.averaged, training["averaged"], path)
        self.progress = Progress(**training["progress"])
        return training

    def resume_optimizer(self, training: Mapping[str, Any]) -> None:
        """Take the optimizer's state from what `resume` returned; how it computes, fused or not, is this machine's."""
        state = training["optimizer"]
        own = [{name: group.get(name) for name in ("fused", "foreach")} for group in self.optimizer.param_groups]
        groups = [{**saved, **here} for saved, here in zip(state["param_groups"], own, strict=True)]
        self.optimizer.load_state_dict({**state, "param_groups": groups})
        if training["scaler"] and self.mixed.scaler.is_enabled():
            self.mixed.scaler.load_state_dict(training["scaler"])
