"""One process or several: what torchrun tells through the environment, and the few exchanges that training needs."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from cloudkit.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class World:
    """The processes of this run, and this one's device."""

    rank: int
    """This process, from 0; 0 writes the files."""
    size: int
    """Number of processes."""
    device: torch.device
    """Where this process computes."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of `items`; the parts of all processes hold each item once."""
        return items[self.rank :: self.size]

    def gather(self, share: Sequence[Item]) -> list[Item]:
        """The inverse of `share`: what all processes made of their parts, in the order of the whole; the same in every process.

        Args:
            share: one item for each of this process's part; pickled, so small and on the CPU.
        """
        parts: list[Any] = [list(share)] * self.size
        if self.size > 1:
            with _waiting_for_others():
                dist.all_gather_object(parts, list(share))
        whole: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            whole[rank :: self.size] = part
        return whole

    def means(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Sums and counts of all processes, added up: the overall means, the same in every process."""
        totals = torch.tensor([*sums.values(), count], dtype=torch.float64)
        if self.size > 1:
            totals = totals.to(self.device)
            with _waiting_for_others():
                dist.all_reduce(totals)
        return dict(zip(sums, (totals[:-1] / totals[-1]).tolist(), strict=True))

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, or what averages its gradients over the processes; BatchNorm sees the whole batch on GPUs only."""
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
    """Say in one line that another process is gone, which has told why."""
    try:
        yield
    except RuntimeError as error:
        raise UserError("another process ended before its work was done; its own message says why.") from error


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """The world of this process: alone, or one of those that torchrun started.

    Args:
        device: "auto" (a GPU where there is one, else the CPU), or any name that torch knows: "cpu", "cuda", "cuda:1", "mps".
            Under torchrun each process takes the GPU of its own number.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if size == 1:
        yield World(0, 1, chosen)
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {local_rank} on this machine has no GPU of its own: there are {torch.cuda.device_count()}. "
                "Start as many processes as there are GPUs (torchrun --nproc-per-node), or add --device cpu."
            )
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    yield World(rank, size, chosen)
    dist.destroy_process_group()  # not after an error, which this process shall tell before the others miss it and end


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one, else the CPU. Raises UserError where it cannot be had."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device {name!r} cannot be used here ({str(error).splitlines()[0]}); try --device auto.") from error
    return device
