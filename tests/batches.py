"""Training batches for tests."""

import torch

from cloudkit.processes import Processes
from thiefcloud.data.batches import Batch, CloudyCrops
from thiefcloud.data.datasets import Data
from trainkit.data.sampling import SampleIndex, StepSampler, batch_loader

ALONE = Processes(0, 1, torch.device("cpu"))


def one_pass(data: Data, *, crop: int, seed: int, **options: float) -> Batch:
    """Return one pass over the training images as one batch. Options go to `CloudyCrops`."""
    crops = CloudyCrops(data, crop=crop, store="host", processes=ALONE, **options)
    sampler = crops.sampler(0, len(crops), seed=seed, processes=ALONE)
    (batch,) = batch_loader(crops, sampler.at(range(1)))
    return batch


def samples_of_one_pass(data: Data, *, seed: int) -> list[SampleIndex]:
    """Return the samples of `one_pass` in their order."""
    count = len(data.train)
    return StepSampler(count, count, seed=seed, phase=0, processes=ALONE).batch_at(0)
