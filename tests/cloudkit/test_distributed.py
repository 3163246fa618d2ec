import pytest
import torch
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
