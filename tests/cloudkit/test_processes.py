from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import nn

from cloudkit.errors import UserError
from cloudkit.processes import Processes, choose_device, join_processes

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_hold_each_item_once(size: int) -> None:
    items = list(range(7))
    parts = [Processes(rank, size, CPU).split(items) for rank in range(size)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_are_gathered_in_the_order_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, size: int, count: int
) -> None:
    items = [f"item {n}" for n in range(count)]
    parts = [Processes(rank, size, CPU).split(items) for rank in range(size)]

    def all_gather_object(gathered: list[object], mine: object) -> None:
        gathered[:] = parts

    monkeypatch.setattr(dist, "all_gather_object", all_gather_object)
    for rank in range(size):
        assert Processes(rank, size, CPU).gather(parts[rank]) == items


@pytest.mark.parametrize(
    ("exchange", "wait"),
    [
        ("all_gather_object", lambda processes: processes.gather([1])),
        ("all_reduce", lambda processes: processes.means({"a": 1.0}, 1)),
        ("barrier", lambda processes: processes.barrier()),
    ],
)
def test_a_process_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, exchange: str, wait: Callable[[Processes], object]
) -> None:
    def gone(*_: object) -> None:
        raise dist.DistNetworkError("Connection closed by peer")

    monkeypatch.setattr(dist, exchange, gone)
    with pytest.raises(UserError, match="another process ended before its work was done"):
        wait(Processes(0, 2, CPU))


def test_alone() -> None:
    with join_processes("cpu") as processes:
        assert processes == Processes(0, 1, CPU)
        assert processes.is_main
        assert processes.means({"a": 6.0, "b": 1.0}, 4) == {"a": 1.5, "b": 0.25}
        model = nn.Linear(1, 1)
        assert processes.wrap(model) is model
        processes.barrier()
    assert not Processes(1, 2, CPU).is_main


@pytest.mark.parametrize("name", ["nonsense", "gpu", "GPU:0", "CPU", "meta", "", "cuda:x", "cpu "])
def test_names_that_are_no_device(name: str) -> None:
    message = f"the device '{name}' is unknown; expected auto, cpu, cuda, cuda:1 or mps.$"
    with pytest.raises(UserError, match=message):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "mps", "xpu"])
def test_devices_that_are_not_there(name: str) -> None:
    message = f"the device '{name}' cannot be used here .*; try --device auto"
    with pytest.raises(UserError, match=message) as raised:
        choose_device(name)
    assert len(str(raised.value)) < 200


def test_auto_takes_a_gpu_if_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU
