from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import nn

from cloudkit.distributed import World, choose_device, join_world
from cloudkit.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_hold_each_item_once(size: int) -> None:
    items = list(range(7))
    shares = [World(rank, size, CPU).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_gathered_in_the_order_of_the_whole(monkeypatch: pytest.MonkeyPatch, size: int, count: int) -> None:
    items = [f"item {n}" for n in range(count)]
    shares = [World(rank, size, CPU).share(items) for rank in range(size)]
    monkeypatch.setattr(dist, "all_gather_object", lambda parts, mine: parts.__setitem__(slice(None), shares))
    for rank in range(size):
        assert World(rank, size, CPU).gather(shares[rank]) == items


@pytest.mark.parametrize(
    ("exchange", "wait"),
    [
        ("all_gather_object", lambda world: world.gather([1])),
        ("all_reduce", lambda world: world.means({"a": 1.0}, 1)),
        ("barrier", lambda world: world.barrier()),
    ],
)
def test_a_process_that_is_gone(monkeypatch: pytest.MonkeyPatch, exchange: str, wait: Callable[[World], object]) -> None:
    def gone(*_: object) -> None:
        raise dist.DistNetworkError("Connection closed by peer")

    monkeypatch.setattr(dist, exchange, gone)
    with pytest.raises(UserError, match="another process ended before its work was done"):
        wait(World(0, 2, CPU))


def test_alone() -> None:
    with join_world("cpu") as world:
        assert (world.rank, world.size, world.device, world.is_main) == (0, 1, CPU, True)
        assert world.means({"a": 6.0, "b": 1.0}, 4) == {"a": 1.5, "b": 0.25}
        model = nn.Linear(1, 1)
        assert world.wrap(model) is model
        world.barrier()
    assert not World(1, 2, CPU).is_main


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_devices_that_cannot_be_had(name: str) -> None:
    with pytest.raises(UserError, match=f"the device '{name}' cannot be used here .*; try --device auto"):
        choose_device(name)


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU
