"""How networks use the machine: the order of pixels in memory, and memory that is given back."""

import ctypes
import platform
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # of glibc's mallopt
_KEPT = (2**30, 2**31 - 1)  # bytes: pieces up to which, and how much in all
_KEPT_BY_GLIBC = (2**25, 2**26)  # the most that it comes to by itself


def ordered_to_restore(model: Network) -> Network:
    """The network with its weights channels last, in which convolutions forward are fastest everywhere; images follow suit."""
    return model.to(memory_format=torch.channels_last)


def ordered_to_train(model: Network) -> Network:
    """The network as it trains fastest where it is: channels last on GPUs, but not on CPUs, whose weight gradients are slow so.

    What a network has learnt comes from files of either order; a resumed run is bit-equal only in the same one.
    """
    on_gpu = next(model.parameters()).device.type != "cpu"
    return model.to(memory_format=torch.channels_last if on_gpu else torch.contiguous_format)


def keep_freed_memory(keep: bool = True) -> None:
    """Let this process keep what it frees, pieces up to 1 GB, for the next layer: the system's fresh pages are slow to come.

    Works with glibc, so on most Linux systems; elsewhere nothing happens. Without `keep` glibc keeps what it usually does.
    """
    if platform.libc_ver()[0] == "glibc":
        libc, (piece, most) = ctypes.CDLL(None), _KEPT if keep else _KEPT_BY_GLIBC
        libc.mallopt(_M_MMAP_THRESHOLD, piece)
        libc.mallopt(_M_TRIM_THRESHOLD, most)
