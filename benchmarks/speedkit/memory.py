"""Peak memory of one case alone."""

import gc
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.speedkit.measuring import seconds_of
from benchmarks.speedkit.settings import Case

MB = 2**20


class Peak(NamedTuple):
    """Memory in MB (2**20 bytes) and time of one case; memory is None if it cannot be read."""

    memory: float | None
    """Peak of the GPU's allocator, or of the whole process on the CPU."""
    before: float | None
    """Peak until network and data were loaded."""
    seconds: float
    """Time of the first run."""


def measure_peak(case: Case) -> Peak | None:
    """Run a case once and return its peak; None if there is not enough memory for it."""
    kind = torch.device(case.device).type
    if kind == "cpu":
        # "spawn": a forked process would start with the memory of this one.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                return pool.submit(_measure_here, case).result()
            except BrokenProcessPool:  # the system killed it
                return None
    if kind != "cuda":
        return _measure_here(case)

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(case.device)
    allocated = torch.cuda.memory_allocated(case.device) / MB
    peak = _measure_here(case)
    torch.cuda.empty_cache()

    if peak is None or peak.memory is None or peak.before is None:
        return peak
    return peak._replace(memory=peak.memory - allocated, before=peak.before - allocated)


def _measure_here(case: Case) -> Peak | None:
    device = torch.device(case.device)
    try:
        call = case.call()
        before = peak_memory(device)
        seconds = seconds_of(call, device)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or is_out_of_memory(error):
            return None
        raise

    return Peak(peak_memory(device), before, seconds)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of PyTorch means out of memory; on the CPU it has no own class."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def peak_memory(device: torch.device) -> float | None:
    """Return the peak memory of this process in MB: on the GPU, or resident on the CPU.

    Returns:
        None if the system does not report it. On the CPU, only Linux does.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    status = Path("/proc/self/status")
    if device.type == "cpu" and status.is_file():
        # Not getrusage: a new process inherits its parent's peak there.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    return None
