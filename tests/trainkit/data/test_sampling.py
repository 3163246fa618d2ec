import copy
from collections.abc import Sequence

import pytest
import torch
from torch.utils.data import Dataset

from cloudkit.errors import UserError
from cloudkit.processes import Processes
from trainkit.data.sampling import SampleIndex, StepSampler, batch_loader

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)


def sampler(
    count: int, batch: int, *, seed: int = 1, phase: int = 0, processes: Processes = ALONE
) -> StepSampler:
    return StepSampler(count, batch, seed=seed, phase=phase, processes=processes)


def indices(sampler: StepSampler, steps: int) -> list[int]:
    return [sample.index for step in range(steps) for sample in sampler.batch_at(step)]


@pytest.mark.parametrize(
    ("count", "batch", "steps"), [(7, 2, 4), (12, 4, 3), (5, 8, 1), (1, 3, 1), (2, 7, 1)]
)
def test_every_pass_holds_every_sample_once(count: int, batch: int, steps: int) -> None:
    one = sampler(count, batch)
    assert one.steps_per_epoch == steps

    order = indices(one, 3 * count)
    passes = [tuple(order[start : start + count]) for start in range(0, len(order), count)]
    assert all(sorted(indices_of_pass) == list(range(count)) for indices_of_pass in passes)
    if count > 5:
        assert len(set(passes)) == len(passes)


def test_any_step_can_be_looked_up() -> None:
    forward, backward = sampler(7, 3), sampler(7, 3)
    in_order = [forward.batch_at(step) for step in range(20)]
    assert [backward.batch_at(step) for step in reversed(range(20))] == in_order[::-1]


def test_an_iteration_goes_over_the_steps_that_were_chosen() -> None:
    whole = sampler(7, 3)
    some = whole.at(range(4, 9))
    assert list(some) == [whole.batch_at(step) for step in range(4, 9)]
    assert list(some) == list(some)
    assert len(some) == 5
    assert len(whole) == 0  # the original keeps its own steps
    assert list(whole) == []


def test_seed_and_phase_change_order_and_randomness() -> None:
    runs = [sampler(50, 50), sampler(50, 50, seed=2), sampler(50, 50, phase=1)]
    assert len({tuple(indices(run, 1)) for run in runs}) == 3

    seeds = set()
    for run in runs:
        seeds |= {sample.seed() for sample in run.batch_at(0) + run.batch_at(1)}
    assert len(seeds) == 300


@pytest.mark.parametrize("size", [2, 3])
def test_processes_split_the_batch_of_one(size: int) -> None:
    one = sampler(7, 6)
    parts = [sampler(7, 6, processes=Processes(rank, size, CPU)) for rank in range(size)]
    for step in range(5):
        together = [sample for part in parts for sample in part.batch_at(step)]
        assert sorted(sample.entropy for sample in together) == sorted(
            sample.entropy for sample in one.batch_at(step)
        )
        assert {len(part.batch_at(step)) for part in parts} == {6 // size}


def test_a_batch_that_does_not_divide() -> None:
    with pytest.raises(
        UserError, match="batch of 5 does not divide into 2 processes; choose a multiple of 2"
    ):
        sampler(7, 5, processes=Processes(0, 2, CPU))


def test_no_image() -> None:
    with pytest.raises(UserError, match="no image to train on"):
        sampler(0, 4)


def test_a_sample_has_the_same_randomness_every_time() -> None:
    sample, other = SampleIndex(3, (1, 0, 1, 0, 3)), SampleIndex(3, (1, 0, 1, 1, 3))
    assert sample.generator().integers(1 << 40) == sample.generator().integers(1 << 40)
    assert sample.generator().integers(1 << 40) != other.generator().integers(1 << 40)
    assert sample.seed() == SampleIndex(3, (1, 0, 1, 0, 3)).seed() != other.seed()
    assert 0 <= sample.seed() < 2**63  # the range that torch takes


def test_uses_of_a_sample_share_no_randomness() -> None:
    sample = SampleIndex(3, (1, 0, 1, 0, 3))
    assert len({sample.seed(use) for use in range(5)}) == 5


class Recording(Dataset[list[int]]):
    """A dataset of whole batches that notes the samples asked for."""

    def __init__(self) -> None:
        self.batches: list[list[SampleIndex]] = []

    def __len__(self) -> int:
        return 7

    def __getitems__(self, samples: Sequence[SampleIndex]) -> list[int]:
        self.batches.append(list(samples))
        return [sample.index for sample in samples]


def test_a_loader_gives_the_batches_of_the_dataset_as_they_are() -> None:
    dataset, steps = Recording(), sampler(7, 3).at(range(2, 6))
    loader = batch_loader(dataset, steps)
    assert len(loader) == 4
    assert list(loader) == [[sample.index for sample in batch] for batch in steps]
    assert dataset.batches == list(steps)


def test_a_loader_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    loader = batch_loader(Recording(), sampler(7, 3).at(range(20)))
    first = copy.deepcopy(list(loader))
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(99)
    assert list(loader) == first
