"""The order of training samples: batches of indices for PyTorch's DataLoader.

Randomness depends on the seed, the phase, the pass over the data and the sample, never on history
or on the process. So a resumed run draws what an unbroken one would draw, and several processes
together draw what one would draw.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from cloudkit.errors import UserError
from cloudkit.processes import Processes

_ORDER, _SAMPLE = 0, 1  # two uses of randomness that must not share numbers


@dataclass(frozen=True)
class SampleIndex:
    """The index of a sample in its dataset, with the randomness of this one use of it."""

    index: int
    entropy: tuple[int, ...]
    """Numbers that the randomness depends on: seed, phase, pass and index."""

    def generator(self) -> np.random.Generator:
        """Return a generator for this sample alone. It is equal every time."""
        return np.random.default_rng(self.entropy)

    def seed(self, use: int = 0) -> int:
        """Return a seed for another generator, such as that of a simulated cloud.

        Args:
            use: number of the use; different uses share no randomness.
        """
        sequence = np.random.SeedSequence((*self.entropy, use))
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def draw_fraction(samples: Sequence[SampleIndex], fraction: float, use: int) -> list[int]:
    """Draw about a fraction of the samples of a batch.

    Args:
        samples: the samples.
        fraction: probability of each.
        use: number of the use of their randomness (`SampleIndex.seed`).

    Returns:
        The numbers of those drawn, within the batch.
    """
    drawn = []
    for number, sample in enumerate(samples):
        if fraction > np.random.default_rng(sample.seed(use)).random():
            drawn.append(number)
    return drawn


class StepSampler(Sampler[list[SampleIndex]]):
    """Batch sampler for a DataLoader: one permutation of all samples after the other, in batches.

    Args:
        count: samples in the dataset.
        batch: samples in a step, over all processes; a multiple of the number of processes.
        seed: of the run.
        phase: number of the training phase; phases draw different samples.
        processes: the processes; each gets its part of every batch.

    Raises:
        UserError: the dataset is empty, or the batch does not divide.
    """

    def __init__(
        self, count: int, batch: int, *, seed: int, phase: int, processes: Processes
    ) -> None:
        if count < 1:
            raise UserError("there is no image to train on.")
        if batch % processes.size:
            raise UserError(
                f"the batch of {batch} does not divide into {processes.size} processes; choose a "
                f"multiple of {processes.size}."
            )
        self.count, self.batch, self.processes = count, batch, processes
        self.steps = range(0)
        self._entropy = (seed, phase)
        # Two permutations are enough: a batch rarely spans more than two passes.
        self._order = lru_cache(maxsize=2)(self._permutation)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that draw every sample about once."""
        return -(-self.count // self.batch)

    def at(self, steps: range) -> Self:
        """Return a sampler that iterates over these steps of the phase, counted from 0."""
        sampler = copy.copy(self)
        sampler.steps = steps
        return sampler

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        """Yield this process's part of the batch of each step."""
        return map(self.batch_at, self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def batch_at(self, step: int) -> list[SampleIndex]:
        """Return this process's part of the batch of one step."""
        first = step * self.batch
        positions = self.processes.split(range(first, first + self.batch))
        return [self._sample(*divmod(position, self.count)) for position in positions]

    def _sample(self, number_of_pass: int, position: int) -> SampleIndex:
        index = int(self._order(number_of_pass)[position])
        return SampleIndex(index, (*self._entropy, _SAMPLE, number_of_pass, index))

    def _permutation(self, number_of_pass: int) -> np.ndarray:
        random = np.random.default_rng((*self._entropy, _ORDER, number_of_pass))
        return random.permutation(self.count)


def batch_loader(dataset: Dataset[Any], sampler: StepSampler) -> DataLoader[Any]:
    """Return a DataLoader for a dataset that makes whole batches itself, in `__getitems__`.

    The images lie in memory already, so there is nothing for worker processes to do.
    """
    # A generator of its own, because the DataLoader would otherwise draw from the global one.
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=_as_it_is, generator=torch.Generator()
    )


def _as_it_is(batch: Any) -> Any:
    return batch
