"""The peak memory of one case alone."""

import gc
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.speedkit.measuring import seconds_of
from benchmarks.speedkit.settings import Case

MB = 2**20


class Peak(NamedTuple):
    """What one case needed; memory in MB (2**20 bytes), None where this system does not tell."""

    memory: float | None
    """Most that was held: by the allocator of the GPU, or by the whole process on the CPU."""
    before: float | None
    """Most that was held until network and data were there."""
    seconds: float
    """How long the case took, the first time."""


def peak(case: Case) -> Peak | None:
    """Run a case once and see what it needs; None if there is not enough memory for it."""
    kind = torch.device(case.device).type
    if kind == "cpu":
        with ProcessPoolExecutor(1, mp_context=_clean_processes()) as pool:
            try:
                return pool.submit(_peak, case).result()
            except BrokenProcessPool:  # the system ended it
                return None
    if kind != "cuda":
        return _peak(case)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(case.device)
    held = torch.cuda.memory_allocated(case.device)
    found = _peak(case)
    torch.cuda.empty_cache()
    if found is None or found.memory is None or found.before is None:
        return found
    return found._replace(memory=found.memory - held / MB, before=found.before - held / MB)


@cache
def _clean_processes() -> BaseContext:
    """What starts processes that hold nothing but the modules, which a server loads once for all of them where there is one."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _peak(case: Case) -> Peak | None:
    device = torch.device(case.device)
    try:
        call = case.call()
        before = held_at_most(device)
        seconds = seconds_of(call, device)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            return None
        raise
    return Peak(held_at_most(device), before, seconds)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch says that memory is at an end; on the CPU it has no class of its own for that."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def held_at_most(device: torch.device) -> float | None:
    """Peak memory of this process in MB: on the GPU, or resident on the CPU; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    status = Path("/proc/self/status")
    if device.type == "cpu" and status.is_file():
        # Linux: getrusage would count the parent's peak too, which a new process inherits from the moment of its birth
        lines = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
        return float(lines[0].split()[1]) / 1024 if lines else None
    if device.type == "cpu" and sys.platform == "darwin":
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB
    return None
