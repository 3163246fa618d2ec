"""Mixed precision, and averaged weights."""

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cloudkit.errors import UserError

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class MixedPrecision:
    """Mixed precision on a device.

    Args:
        precision: "auto" is bf16 on GPUs that have it, fp16 on other GPUs, fp32 on the CPU.
        device: device of the training.

    Raises:
        UserError: fp16 on the CPU.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        if precision == "auto":
            precision = _best_precision(device)
        if precision == "fp16" and device.type == "cpu":
            raise UserError("fp16 does not train on the CPU; choose --precision fp32 or bf16.")
        self.precision, self.device = precision, device
        self.scaler: torch.amp.GradScaler
        self.begin()

    def begin(self) -> None:
        """Reset the gradient scaler of fp16."""
        enabled = self.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=enabled)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which layers compute in half precision where they can."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "fp32")


def _best_precision(device: torch.device) -> Precision:
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


class AveragedWeights(AveragedModel):
    """Exponential moving average of weights.

    PyTorch's own update sends a counter to the GPU at each step and waits for it; this one does
    not.

    Args:
        model: the network.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights after a step to the average. Buffers are copied."""
        if self.n_averaged == 0:  # a counter on the CPU
            self.module.load_state_dict(model.state_dict())
        else:
            self._average(list(self.module.parameters()), list(model.parameters()), 0)
        for ours, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            ours.copy_(theirs)
        self.n_averaged += 1


def has_fused_optimizer(device: torch.device) -> bool:
    """Tell whether Adam and SGD can update all weights in few kernels (argument `fused`)."""
    return device.type in ("cuda", "cpu")
