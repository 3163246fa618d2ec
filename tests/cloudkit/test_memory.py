import ctypes
import platform

import pytest
import torch
from torch import Tensor, nn

from cloudkit import memory
from cloudkit.memory import (
    available_memory,
    keep_freed_memory,
    ordered_to_restore,
    ordered_to_train,
    send,
)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))


def orders(model: nn.Sequential) -> set[bool]:
    return {
        layer.weight.is_contiguous(memory_format=torch.channels_last)
        for layer in model
        if isinstance(layer.weight, Tensor)
    }


def test_order_to_restore_is_that_of_the_outputs() -> None:
    model = ordered_to_restore(network())
    assert orders(model) == {True}
    assert model(torch.rand(1, 3, 16, 16)).is_contiguous(memory_format=torch.channels_last)


def test_order_to_train_on_cpus() -> None:
    model = network()
    before = [id(weight) for weight in model.parameters()]
    assert ordered_to_train(ordered_to_restore(model)) is model
    assert orders(model) == {False}
    assert [id(weight) for weight in model.parameters()] == before  # an optimizer may hold them


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_order_to_train_on_gpus() -> None:
    assert orders(ordered_to_train(network().cuda())) == {True}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_c_library_takes_the_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    library, answers = ctypes.CDLL(None), []

    class Recording:
        def mallopt(self, parameter: int, value: int) -> None:
            answers.append((parameter, library.mallopt(parameter, value)))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Recording())
    keep_freed_memory()
    keep_freed_memory(keep=False)
    assert answers == 2 * [(-3, 1), (-1, 1)]  # 1 is success


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("no such library there"))
    keep_freed_memory()


def test_send_copies_the_values() -> None:
    tensor = torch.arange(5)
    assert torch.equal(send(tensor, torch.device("cpu")), tensor)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2000 kB\n"}, 2000 * 1024),
        ({"/sys/fs/cgroup/memory.max": "900\n", "/sys/fs/cgroup/memory.current": "400\n"}, 500),
        (
            {
                "/sys/fs/cgroup/memory.max": "900\n",
                "/sys/fs/cgroup/memory.current": "400\n",
                "/sys/fs/cgroup/memory.stat": "anon 100\nfile 300\ninactive_file 200\n",
            },
            700,
        ),
        (
            {
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "900\n",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes": "400\n",
                "/sys/fs/cgroup/memory/memory.stat": "inactive_file 0\ntotal_inactive_file 50\n",
            },
            550,
        ),
        ({"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "4\n"}, 2**32),
        ({}, 2**32),
    ],
)
def test_the_tightest_limit_of_memory_counts(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(memory, "_text", lambda path: files.get(path, ""))
    assert available_memory(torch.device("cpu")) == expected


def test_this_system_tells_its_memory() -> None:
    assert available_memory(torch.device("cpu")) > 2**24
