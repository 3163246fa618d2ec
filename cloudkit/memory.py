"""Memory layout of networks, memory that the process keeps, and transfer to a GPU."""

import ctypes
import errno
import gc
import os
import platform
import re
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # options of glibc's mallopt
_KEEP = (2**30, 2**31 - 1)  # bytes: largest kept piece, largest kept total
# Parts of the messages of allocators that raise a plain RuntimeError: those of PyTorch on CPUs
# (Linux, Windows), CUDA and its libraries, Metal, oneDNN, C++.
_OUT_OF_MEMORY = re.compile(
    "DefaultCPUAllocator|allocate memory|not enough memory|out of memory|ALLOC_FAILED|"
    "Invalid buffer size|could not create a (memory|primitive)|could not execute|bad_alloc|"
    "can't start new thread"
)
_UNKNOWN = 4 * 2**30  # bytes: taken for free on systems that do not tell
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB", re.MULTILINE)
# Files with limit, use and parts of a container's memory, of both versions of cgroups.
_CGROUPS = (
    (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory.current",
        "/sys/fs/cgroup/memory.stat",
    ),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
# Cached files that may be forgotten. The first name is that of the first version of cgroups, whose
# other one does not count containers within.
_CACHE = (
    re.compile(r"^total_inactive_file (\d+)", re.MULTILINE),
    re.compile(r"^inactive_file (\d+)", re.MULTILINE),
)
_GLIBC_DEFAULT = (2**25, 2**26)  # the most that glibc's own adaptation reaches


def ordered_to_restore(model: Network) -> Network:
    """Return the network in channels-last order, the fastest for inference on every device."""
    return model.to(memory_format=torch.channels_last)


def ordered_to_train(model: Network) -> Network:
    """Return the network in the order that trains fastest on its device.

    GPUs get channels last; CPUs do not, because their weight gradients are slow in that order.
    Files of either order hold the same weights, but a resumed run is bit-equal only in the same.
    """
    on_gpu = next(model.parameters()).device.type != "cpu"
    return model.to(memory_format=torch.channels_last if on_gpu else torch.contiguous_format)


def keep_freed_memory(keep: bool = True) -> None:
    """Let this process keep freed memory for the next layer, in pieces of up to 1 GB.

    Fresh pages from the system are slow. This works with glibc, so on most Linux systems, and does
    nothing elsewhere. If `keep` is False, glibc keeps its usual amount.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        piece, total = _KEEP if keep else _GLIBC_DEFAULT
        libc.mallopt(_M_MMAP_THRESHOLD, piece)
        libc.mallopt(_M_TRIM_THRESHOLD, total)


def memory_error(error: BaseException) -> BaseException | None:
    """Return the error, or one that it came from, that says that memory was refused; else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError | torch.OutOfMemoryError):
            return cause
        if isinstance(cause, OSError) and cause.errno == errno.ENOMEM:
            return cause
        if isinstance(cause, RuntimeError) and _OUT_OF_MEMORY.search(str(cause)):
            return cause
        cause = cause.__cause__
    return None


def available_memory(device: torch.device) -> int:
    """Return the bytes that this process may still take on a device.

    Limits of the system, of a container and of the process (`ulimit -v`) count.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused

    amounts = []
    found = _AVAILABLE.search(_text("/proc/meminfo"))
    if found:
        amounts.append(int(found[1]) * 1024)
    for limit, used, parts in _CGROUPS:
        if _text(limit).strip().isdigit() and _text(used).strip().isdigit():
            amounts.append(int(_text(limit)) - int(_text(used)) + _cached(_text(parts)))
    amounts += _left_of_address_space()
    return max(0, min(amounts, default=_UNKNOWN))


def _cached(parts: str) -> int:
    """Return the bytes of cached files that the system forgets if memory is needed."""
    for pattern in _CACHE:
        if found := pattern.search(parts):
            return int(found[1])
    return 0


def _left_of_address_space() -> list[int]:
    """Return the bytes that a limit of the process leaves, if it has one."""
    pages = _text("/proc/self/statm").split()
    if not pages:
        return []
    import resource  # Windows has none

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = int(pages[0]) * os.sysconf("SC_PAGE_SIZE")
    return [] if limit == resource.RLIM_INFINITY else [limit - used]


def _text(path: str) -> str:
    """Read a file of the system, or nothing if it has none."""
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def free_memory() -> None:
    """Free what nothing uses any more, after an image that was too large."""
    gc.collect()
    return_memory()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def return_memory() -> None:
    """Give what `keep_freed_memory` has kept back to the system, between works of some seconds.

    Works of different sizes leave holes that the next one cannot use, so the memory would grow.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor from the CPU to the device, without waiting for the GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
