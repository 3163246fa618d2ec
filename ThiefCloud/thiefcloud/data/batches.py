"""Training batches: random crops of cloudy and clear images, some under simulated clouds."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from cloudkit.imaging.images import read_unit
from cloudkit.memory import send
from cloudkit.processes import Processes
from scpm.data import Simulator
from scpm.simulation.opaque import lay_opaque_clouds
from thiefcloud.data.datasets import Data
from thiefcloud.data.odd import lay_odd_pixels
from thiefcloud.data.opaque import keep_opaque_clouds, keep_simulated_opaque
from trainkit.data.augmentation import augment_ground
from trainkit.data.crops import CropDataset
from trainkit.data.sampling import SampleIndex, StepSampler, draw_fraction
from trainkit.data.stores import Store

Images = tuple[Tensor, Tensor]  # cloudy and clear, each (N, 3, H, W)
# Uses of a sample's randomness, beside its crop and its simulated cloud.
_OPAQUE, _JITTER, _ODD, _AUGMENT, _HIDDEN, _STAYS = 1, 2, 3, 4, 5, 6
_OWN_COLOUR = 0.5  # how much the random change of a band differs from that of the others
_LEVELS = 255  # of simulated images: in finer ones a network would see through opaque cloud

# Whole images, for the coarsest step of the inversion.
_WHOLE = 9  # number in place of a phase, so that they share no randomness with batches
_EACH, _FEWEST, _MOST = 2, 256, 3072  # images for each training pair, and limits of all
_LARGE = 512  # side in pixels from which an image is also used at half scale


class Batch(NamedTuple):
    """Training images."""

    cloudy: Tensor
    """Cloudy images (N, 3, H, W), float32 in [0, 1]."""
    clear: Tensor
    """The images that a network shall make of them, the same."""
    thickness: Tensor
    """True thickness of the clouds (N, 1, H, W) in [0, 1]; NaN where it is unknown, as in real
    pairs."""
    hidden: Tensor
    """(N,) bool: images whose prior the inversion does not see while it learns alone."""
    stays: Tensor
    """(N,) bool: images whose overlay is not removed while the inversion learns alone."""


class CloudyCrops(Dataset[Batch]):
    """Training crops, which are read into memory once and made into whole batches.

    Args:
        data: the dataset.
        crop: side of the crops in pixels.
        store: memory for the images.
        processes: the processes; batches lie on the device of this one.
        opaque: fraction of the crops that opaque clouds are laid over.
        jitter: strength of the random changes of brightness and colour (`jittered`).
        odd: fraction of the crops with a few odd pixels (`lay_odd_pixels`).
        augment: fraction of the clear images that change scale and colour (`augment_ground`).
        hide_prior: fraction of the crops whose prior is hidden from the inversion.
        keep_overlay: fraction of the crops whose overlay is left to the inversion.
    """

    def __init__(
        self,
        data: Data,
        *,
        crop: int,
        store: Store,
        processes: Processes,
        opaque: float = 0.0,
        jitter: float = 0.0,
        odd: float = 0.0,
        augment: float = 0.0,
        hide_prior: float = 0.0,
        keep_overlay: float = 0.0,
    ) -> None:
        files = [(pair.cloudy, pair.clear) for pair in data.train]
        self._pairs = data.train
        self._crops = CropDataset(
            files,
            (3, 3),
            crop,
            processes.device,
            store=store,
            peaks=[(pair.peak, pair.peak) for pair in data.train],
            show_progress=processes.is_main,
        )
        self.note = self._crops.note
        self._simulate, self._opaque = data.simulate, opaque
        self._jitter, self._odd, self._augment = jitter, odd, augment
        self._hide_prior, self._keep_overlay = hide_prior, keep_overlay

    def __len__(self) -> int:
        """Return the number of samples of a pass."""
        return len(self._pairs)

    def sampler(self, phase: int, batch: int, *, seed: int, processes: Processes) -> StepSampler:
        """Return the batch sampler of a phase; see `StepSampler`."""
        return StepSampler(len(self), batch, seed=seed, phase=phase, processes=processes)

    def __getitem__(self, sample: SampleIndex) -> Batch:
        """Return one sample, a `Batch` without its first dimension."""
        return Batch._make(part[0] for part in self.__getitems__([sample]))

    def __getitems__(self, samples: Sequence[SampleIndex]) -> Batch:
        """Return a batch of crops."""
        # Cut the crops.
        pairs = [self._pairs[sample.index] for sample in samples]
        cloudy, clear = self._crops.__getitems__(samples)

        # Change scale and colour of clear ground, then brightness and colour of all.
        ground = [number for number, pair in enumerate(pairs) if pair.cloudy == pair.clear]
        if self._augment and ground:
            seeds = [samples[number].seed(_AUGMENT) for number in ground]
            clear[ground] = augment_ground(clear[ground], seeds, self._augment)
            cloudy[ground] = clear[ground]
        if self._jitter:
            cloudy, clear = jittered(cloudy, clear, samples, self._jitter)

        # Keep opaque cloud of real pairs. Their thickness is unknown.
        thickness = torch.full_like(clear[:, :1], torch.nan)
        thickness[ground] = 0
        for number, pair in enumerate(pairs):
            if pair.keep_opaque:
                clear[number] = keep_opaque_clouds(cloudy[number], clear[number])

        # Simulate thin clouds.
        covered = [number for number, pair in enumerate(pairs) if pair.simulated]
        if covered:
            seeds = [samples[number].seed() for number in covered]
            under_clouds = clouded(cloudy[covered], clear[covered], seeds, self._simulate)
            cloudy[covered], clear[covered], above = under_clouds
            thickness[covered] = joined(thickness[covered], above)

        # Lay opaque clouds and odd pixels over both.
        hidden, stays = torch.zeros(2, len(samples), dtype=torch.bool)
        hidden[draw_fraction(samples, self._hide_prior, _HIDDEN)] = True
        stays[draw_fraction(samples, self._keep_overlay, _STAYS)] = True
        hidden, stays = send(hidden, cloudy.device), send(stays, cloudy.device)
        batch = Batch(cloudy, clear, thickness, hidden, stays)
        return with_odd_pixels(overcast(batch, samples, self._opaque), samples, self._odd)


def clouded(
    cloudy: Tensor, clear: Tensor, seeds: Sequence[int], simulate: Simulator
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay simulated clouds over cloudy images. The truth keeps them where they are opaque.

    The result is rounded to 8 bits, as real images are.

    Returns:
        Cloudy images, clear ones, and the thickness of these clouds.
    """
    clouds = simulate(cloudy, seeds)
    rounded = clouds.cloudy.mul(_LEVELS).round_().div_(_LEVELS)
    return rounded, keep_simulated_opaque(clouds, clear), clouds.thickness


def overcast(batch: Batch, samples: Sequence[SampleIndex], fraction: float) -> Batch:
    """Lay opaque clouds over a fraction of the images. The truth keeps their opaque parts."""
    chosen = draw_fraction(samples, fraction, _OPAQUE)
    if not chosen:
        return batch

    cloudy, clear, thickness, *flags = (part.clone() for part in batch)
    seeds = [samples[number].seed(_OPAQUE) for number in chosen]
    clouds = lay_opaque_clouds(cloudy[chosen], seeds)
    cloudy[chosen] = clouds.cloudy
    clear[chosen] = keep_simulated_opaque(clouds, clear[chosen])
    thickness[chosen] = joined(thickness[chosen], clouds.thickness)
    return Batch(cloudy, clear, thickness, *flags)


def joined(below: Tensor, above: Tensor) -> Tensor:
    """Return the thickness of two layers of cloud together; NaN if that below is unknown."""
    return 1 - (1 - below) * (1 - above)


def with_odd_pixels(batch: Batch, samples: Sequence[SampleIndex], fraction: float) -> Batch:
    """Lay odd pixels over both images of a fraction of the pairs."""
    for number, sample in enumerate(samples):
        random = np.random.default_rng(sample.seed(_ODD))
        if fraction > random.random():
            both = lay_odd_pixels(batch.cloudy[number], batch.clear[number], random)
            batch.cloudy[number], batch.clear[number] = both
    return batch


def jittered(
    cloudy: Tensor, clear: Tensor, samples: Sequence[SampleIndex], strength: float
) -> Images:
    """Change the colours of pairs, both images alike: each band times a random factor.

    The scattering model still holds, because the factor scales ground and cloud alike.

    Args:
        cloudy: (N, bands, H, W) in [0, 1].
        clear: the same. Both results lie in [0, 1] too: no factor makes a band brighter than 1.
        samples: N, whose randomness is used.
        strength: standard deviation of the logarithm of the factor that the bands share.
    """
    bands = clear.shape[1]
    normal = []
    for sample in samples:
        normal.append(np.random.default_rng(sample.seed(_JITTER)).standard_normal(1 + bands))
    drawn = send(torch.tensor(np.array(normal), dtype=torch.float32), clear.device)
    factors = torch.exp(strength * (drawn[:, :1] + _OWN_COLOUR * drawn[:, 1:]))[..., None, None]

    brightest = torch.maximum(cloudy.amax((2, 3), keepdim=True), clear.amax((2, 3), keepdim=True))
    factors = torch.minimum(factors, 1 / brightest.clamp_min(1e-6))
    return (cloudy * factors).clamp_max_(1), (clear * factors).clamp_max_(1)


class WholeImages:
    """Whole training pairs, one by one, for the coarsest step of the inversion.

    Args:
        data: the dataset.
        seed: of the choice.
        device: device of the images.
        opaque: fraction of the images that opaque clouds are laid over.
    """

    def __init__(self, data: Data, *, seed: int, device: torch.device, opaque: float = 0.0) -> None:
        self._data, self._seed, self._device, self._opaque = data, seed, device, opaque

    def __len__(self) -> int:
        """Return the number of images, which is enough for the fit."""
        return min(max(_EACH * len(self._data.train), _FEWEST), _MOST)

    def __iter__(self) -> Iterator[Images]:
        """Yield cloudy and clear, each (1, 3, H, W), large images at half scale too."""
        return map(self._pair, range(len(self)))

    def _pair(self, number: int) -> Images:
        sample = SampleIndex(number, (self._seed, _WHOLE, number))
        random = sample.generator()
        pair = self._data.train[int(random.integers(len(self._data.train)))]
        cloudy = read_unit(pair.cloudy, peak=pair.peak)[None].to(self._device)
        clear = read_unit(pair.clear, peak=pair.peak)[None].to(self._device)

        if min(clear.shape[-2:]) >= _LARGE and random.integers(2):
            cloudy, clear = F.avg_pool2d(cloudy, 2), F.avg_pool2d(clear, 2)
        if pair.keep_opaque:
            clear = keep_opaque_clouds(cloudy[0], clear[0])[None]
        if pair.simulated:
            cloudy, clear, _ = clouded(cloudy, clear, [sample.seed()], self._data.simulate)
        nothing, no = torch.zeros_like(clear[:, :1]), torch.zeros(1, dtype=torch.bool)
        batch = Batch(cloudy, clear, nothing, hidden=no, stays=no)
        return overcast(batch, [sample], self._opaque)[:2]
