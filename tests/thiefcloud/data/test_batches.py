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
RANDOM = {"opaque": 0.5, "jitter": 0.2, "augment": 0.5}
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
    crops = CloudyCrops(data, crop=16, store=store, processes=processes, **RANDOM)
    sampler = crops.sampler(1, 6, seed=5, processes=processes)
    return list(batch_loader(crops, sampler.at(STEPS)))


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


def assert_close(one: Tensor, other: Tensor) -> None:
    """Allow for clouds that are computed for fewer images at once: sums may round differently.

    Then a few pixels may be rounded to another of 256 levels.
    """
    assert torch.equal(one.isnan(), other.isnan())
    assert (one.float() - other.float()).nan_to_num().abs().mean() < 1e-5


def test_batches_are_bit_equal_from_either_store(data: Data) -> None:
    assert_equal(batches(data, store="host"), batches(data, store="device"))


def test_a_step_does_not_depend_on_the_steps_before(data: Data) -> None:
    processes = Processes(0, 1, CPU)
    crops = CloudyCrops(data, crop=16, store="host", processes=processes, **RANDOM)
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


def test_thickness_is_known_where_clouds_are_simulated_over_clear_ground(data: Data) -> None:
    crops = CloudyCrops(data, crop=16, store="host", processes=Processes(0, 1, CPU))
    samples = crops.sampler(0, len(crops), seed=5, processes=Processes(0, 1, CPU)).batch_at(0)
    batch = crops.__getitems__(samples)
    kinds = set()
    for number, sample in enumerate(samples):
        pair, thickness = data.train[sample.index], batch.thickness[number]
        kinds.add((pair.cloudy == pair.clear, pair.simulated))
        if pair.cloudy != pair.clear:
            assert thickness.isnan().all()
        elif not pair.simulated:
            assert (thickness == 0).all()
        else:
            change = (batch.cloudy[number] - batch.clear[number]).abs().mean()
            assert 0 < thickness.mean() < 1
            assert change < thickness.mean() + 0.01, "a cloud changes no more than it hides"
    assert len(kinds) == 4


def test_opaque_clouds_add_to_the_thickness(data: Data) -> None:
    processes = Processes(0, 1, CPU)
    plain, covered = (
        CloudyCrops(data, crop=16, store="host", processes=processes, opaque=fraction)
        for fraction in (0.0, 1.0)
    )
    samples = plain.sampler(0, len(plain), seed=5, processes=processes).batch_at(0)
    before, after = (crops.__getitems__(samples).thickness for crops in (plain, covered))
    assert torch.equal(before.isnan(), after.isnan())
    assert (after - before).nan_to_num().min() > -1e-6
    assert after.nan_to_num().max() > 0.95


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, (0, 0)), (0.5, (0.3, 0.7)), (1.0, (1, 1))]
)
@pytest.mark.parametrize(("option", "flag"), [("hide_prior", "hidden"), ("keep_overlay", "stays")])
def test_priors_are_hidden_and_overlays_stay_of_a_fraction(
    data: Data, fraction: float, expected: tuple[float, float], option: str, flag: str
) -> None:
    processes = Processes(0, 1, CPU)
    chances = {"hide_prior": 0.0, "keep_overlay": 0.0, option: fraction}
    crops = CloudyCrops(data, crop=16, store="host", processes=processes, **chances)
    plain = CloudyCrops(data, crop=16, store="host", processes=processes)
    sampler = crops.sampler(0, len(crops), seed=5, processes=processes)
    flags = []
    for step in range(20):
        samples = sampler.batch_at(step)
        batch, again, other = (each.__getitems__(samples) for each in (crops, crops, plain))
        assert torch.equal(getattr(batch, flag), getattr(again, flag))
        assert int(batch.hidden.sum() + batch.stays.sum()) == getattr(batch, flag).sum()
        assert_close(batch.cloudy, other.cloudy)
        flags.append(getattr(batch, flag))
    assert expected[0] <= torch.cat(flags).float().mean() <= expected[1]


def test_augmented_ground_is_the_truth_below_its_cloud(data: Data) -> None:
    processes = Processes(0, 1, CPU)
    crops = CloudyCrops(data, crop=16, store="host", processes=processes, augment=1.0)
    plain = CloudyCrops(data, crop=16, store="host", processes=processes)
    samples = crops.sampler(0, len(crops), seed=5, processes=processes).batch_at(0)
    augmented, before = crops.__getitems__(samples), plain.__getitems__(samples)
    for number, sample in enumerate(samples):
        pair = data.train[sample.index]
        changed = not torch.equal(augmented.clear[number], before.clear[number])
        assert changed == (pair.cloudy == pair.clear), "real pairs stay as they are"
        if changed and not pair.simulated:
            assert torch.equal(augmented.cloudy[number], augmented.clear[number])
