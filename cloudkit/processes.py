"""The processes of a run: one, or several that torchrun started."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from cloudkit.errors import UserError

Item = TypeVar("Item")
# Kinds of devices that images can be restored on; torch knows others without arithmetic.
_DEVICES = r"(cpu|cuda|mps|xpu)(:\d+)?"
_LONGEST_REASON = 100  # characters of torch's own message


@dataclass(frozen=True)
class Processes:
    """All processes of this run, as one of them sees them."""

    rank: int
    """Number of this process, from 0. Process 0 writes the files."""
    size: int
    """Number of processes."""
    device: torch.device
    """Device on which this process computes."""

    @property
    def is_main(self) -> bool:
        """True for the process that writes files and shows progress."""
        return self.rank == 0

    def split(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's part of `items`. The parts of all processes hold each item once."""
        return items[self.rank :: self.size]

    def gather(self, part: Sequence[Item]) -> list[Item]:
        """Undo `split`: collect what all processes made of their parts.

        Args:
            part: one item for each item of this process's part. They are pickled, so they should be
                small and on the CPU.

        Returns:
            The items in the order of the whole, the same in every process.
        """
        parts: list[Any] = [list(part)] * self.size
        if self.size > 1:
            with _waiting_for_others():
                dist.all_gather_object(parts, list(part))

        whole: list[Any] = [None] * sum(map(len, parts))
        for rank, gathered in enumerate(parts):
            whole[rank :: self.size] = gathered
        return whole

    def means(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Add up the sums and counts of all processes.

        Returns:
            The means over all processes, the same in every process.
        """
        totals = torch.tensor([*sums.values(), count], dtype=torch.float64)
        if self.size > 1:
            totals = totals.to(self.device)
            with _waiting_for_others():
                dist.all_reduce(totals)
        return dict(zip(sums, (totals[:-1] / totals[-1]).tolist(), strict=True))

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wrap a model in DistributedDataParallel if there are several processes.

        On GPUs, BatchNorm then sees the batch of all processes; on the CPU PyTorch cannot do that.
        """
        if self.size == 1:
            return model
        if self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)

    def barrier(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            with _waiting_for_others():
                dist.barrier()


@contextmanager
def _waiting_for_others() -> Iterator[None]:
    """Report in one line that another process has ended; that one has said why."""
    try:
        yield
    except RuntimeError as error:
        message = "another process ended before its work was done; its own message says why."
        raise UserError(message) from error


@contextmanager
def join_processes(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started, or run alone.

    Args:
        device: "auto" (a GPU if there is one, else the CPU), or torch's name of one: "cpu",
            "cuda", "cuda:1", "mps". Under torchrun each process takes the GPU of its own number.

    Raises:
        UserError: the device cannot be used, or there are fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if size == 1:
        yield Processes(0, 1, chosen)
        return

    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {local_rank} on this machine has no GPU of its own: there are "
                f"{torch.cuda.device_count()}. Start as many processes as there are GPUs "
                "(torchrun --nproc-per-node), or add --device cpu."
            )
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)

    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    yield Processes(rank, size, chosen)
    # After an error the group stays: this process must print it before the others notice and end.
    dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" is a GPU if there is one, else the CPU.

    Raises:
        UserError: the device cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(_DEVICES, name):
        raise UserError(f"the device {name!r} is unknown; expected auto, cpu, cuda, cuda:1 or mps.")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = re.split(r"[.\n]", str(error))[0]
        raise UserError(
            f"the device {name!r} cannot be used here ({reason[:_LONGEST_REASON]}); "
            "try --device auto."
        ) from error
    return device
