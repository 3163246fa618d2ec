"""Training batches of the prior: crops of cloudy images with their thickness maps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cloudkit.processes import Processes
from scpm.data import PriorData
from scpm.simulation.opaque import lay_opaque_clouds
from trainkit.data.augmentation import augment_ground
from trainkit.data.crops import CropDataset
from trainkit.data.sampling import SampleIndex, draw_fraction
from trainkit.data.stores import Store

Batch = tuple[Tensor, Tensor]  # cloudy (N, 3, H, W) and thickness (N, 1, H, W)
_OPAQUE, _AUGMENT = 1, 2  # uses of a sample's randomness, beside its crop and its thin cloud


class PriorCrops(Dataset[Batch]):
    """Training crops, which are read into memory once and made into whole batches.

    Args:
        data: the images.
        crop: side of the crops in pixels.
        store: memory for the images.
        processes: the processes; batches lie on the device of this one.
        opaque: fraction of the crops that opaque clouds are laid over.
        augment: fraction of the clear crops that change scale and colour (`augment_ground`).
    """

    def __init__(
        self,
        data: PriorData,
        *,
        crop: int,
        store: Store,
        processes: Processes,
        opaque: float = 0.0,
        augment: float = 0.0,
    ) -> None:
        files = [sample.files for sample in data.train]
        self._samples, self._simulate = data.train, data.simulate
        self._has_maps = len(files[0]) == 2
        self._crops = CropDataset(
            files,
            (3, 1)[: len(files[0])],
            crop,
            processes.device,
            store=store,
            peaks=[(sample.peak, None)[: len(files[0])] for sample in data.train],
            show_progress=processes.is_main,
        )
        self.note = self._crops.note
        self._opaque, self._augment = opaque, augment

    def __len__(self) -> int:
        """Return the number of samples of a pass."""
        return len(self._samples)

    def __getitem__(self, sample: SampleIndex) -> Batch:
        """Return one sample: cloudy (3, crop, crop) and thickness (1, crop, crop)."""
        cloudy, thickness = self.__getitems__([sample])
        return cloudy[0], thickness[0]

    def __getitems__(self, samples: Sequence[SampleIndex]) -> Batch:
        """Return a batch, float32 in [0, 1]. Clear images without clouds have the thickness 0."""
        crops = self._crops.__getitems__(samples)
        if self._has_maps:
            cloudy, thickness = crops
        else:
            cloudy, thickness = self._simulated(crops[0], samples)
        return self._overcast(cloudy, thickness, samples)

    def _simulated(self, clear: Tensor, samples: Sequence[SampleIndex]) -> Batch:
        """Lay thin clouds over those of the clear crops that get one."""
        if self._augment:
            seeds = [sample.seed(_AUGMENT) for sample in samples]
            clear = augment_ground(clear, seeds, self._augment)

        cloudy, thickness = clear, torch.zeros_like(clear[:, :1])
        covered = []
        for number, sample in enumerate(samples):
            if self._samples[sample.index].simulated:
                covered.append(number)
        if covered:
            seeds = [samples[number].seed() for number in covered]
            cloudy[covered], thickness[covered] = self._simulate(cloudy[covered], seeds)
        return cloudy, thickness

    def _overcast(self, cloudy: Tensor, thickness: Tensor, samples: Sequence[SampleIndex]) -> Batch:
        """Lay opaque clouds over a fraction of the crops."""
        chosen = draw_fraction(samples, self._opaque, _OPAQUE)
        if chosen:
            seeds = [samples[number].seed(_OPAQUE) for number in chosen]
            cloudy[chosen], opaque = lay_opaque_clouds(cloudy[chosen], seeds)
            thickness[chosen] = 1 - (1 - thickness[chosen]) * (1 - opaque)
        return cloudy, thickness
