"""Training batches do not depend on the store, on the processes or on the step before."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloudkit.processes import Processes
from tests.helpers import write_images, write_pairs
from thiefcloud.data.batches import Batch, CloudyCrops
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.data.options import DataOptions
from trainkit.data.sampling import batch_loader
from trainkit.data.stores import Store

CPU = torch.device("cpu")
STEPS = range(3, 7)
PAIRS = '[[source]]\ndataset = "folder"\nfolder = "pairs"\nvalidate = false\nkeep_opaque = true\n'
LAND = '[[source]]\ndataset = "clear"\nfolder = "land"\n'


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """All uses of pairs and clear images."""
    write_pairs(tmp_path / "pairs", 4, height=20, width=30)
    write_images(tmp_path / "land", ["a.png", "b.png", "c.png"], height=24)
    path = tmp_path / "mixture.toml"
    text = f"{PAIRS}pairs = 1\nveiled = 1\n{LAND}simulated = 1\nclear = 1\n"
    path.write_text(text, encoding="utf-8")
    return open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=path))


def batches(data: Data, *, store: Store = "host", rank: int = 0, size: int = 1) -> list[Batch]:
    processes = Processes(rank, size, CPU)
    crops = CloudyCrops(data, crop=16, store=store, processes=processes, opaque=0.5, jitter=0.2)
    sampler = crops.sampler(1, 6, seed=5, processes=processes)
    return list(batch_loader(crops, sampler.at(STEPS)))


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    for first, second in zip(one, other, strict=True):
        assert all(map(torch.equal, first, second))


def assert_close(one: Tensor, other: Tensor) -> None:
    """Allow for clouds that are computed for fewer images at once: sums may round differently.

    Then a few pixels may be rounded to another of 256 levels.
    """
    assert (one - other).abs().mean() < 1e-5


def test_batches_are_bit_equal_from_either_store(data: Data) -> None:
    assert_equal(batches(data, store="host"), batches(data, store="device"))


def test_a_step_does_not_depend_on_the_steps_before(data: Data) -> None:
    processes = Processes(0, 1, CPU)
    crops = CloudyCrops(data, crop=16, store="host", processes=processes, opaque=0.5, jitter=0.2)
    sampler = crops.sampler(1, 6, seed=5, processes=processes)
    backward = [crops.__getitems__(sampler.batch_at(step)) for step in reversed(STEPS)]
    assert_equal(batches(data), backward[::-1])


@pytest.mark.parametrize("size", [2, 3])
def test_processes_make_the_batch_of_one_together(data: Data, size: int) -> None:
    parts = [batches(data, rank=rank, size=size) for rank in range(size)]
    for step, whole in enumerate(batches(data)):
        for image, expected in enumerate(whole):
            together = torch.empty_like(expected)
            for rank in range(size):
                together[rank::size] = parts[rank][step][image]
            assert_close(together, expected)


def test_one_sample_is_that_of_a_batch(data: Data) -> None:
    crops = CloudyCrops(data, crop=16, store="host", processes=Processes(0, 1, CPU))
    samples = crops.sampler(0, 6, seed=5, processes=Processes(0, 1, CPU)).batch_at(0)
    together = crops.__getitems__(samples)
    for number, sample in enumerate(samples):
        for image, batch in zip(crops[sample], together, strict=True):
            assert_close(image, batch[number])
