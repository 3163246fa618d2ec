"""Simulated clouds of the package satellite-cloud-generator, which the paper used: an optional second backend.

Czerkawski, Atkinson, Michie and Tachtatzis, "SatelliteCloudGenerator: Controllable Cloud and Shadow Synthesis for
Multi-Spectral Optical Satellite Images", Remote Sensing, 2023.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.errors import UserError
from scpm.clouds import SimulatedClouds, check_batch

_SMALLEST = 64  # pixels; in smaller or very narrow images the package's noise divides by zero

# Every step of the package that is no function of the cloud alone is switched off, so that its mask is the exact label:
# blur of the ground, clouds coloured by the ground, and shifts of the bands, which leave wrapped strips at the border.
_SETTINGS: dict[str, Any] = {
    "min_lvl": (0.0, 0.1),
    "max_lvl": (0.4, 0.7),
    "clear_threshold": 0.0,
    "decay_factor": 1.0,
    "locality_degree": (1, 3),
    "channel_offset": 0,
    "channel_magnitude_shift": 0.05,
    "blur_scaling": 0.0,
    "cloud_color": False,
    "return_cloud": True,
}


def simulate_clouds_scg(clear: Tensor, seeds: Sequence[int]) -> SimulatedClouds:
    """Lay a random cloud over each image, as `scpm.clouds.simulate_clouds` does, with satellite-cloud-generator.

    The package draws from torch's global generator and normalises over the batch. It is therefore run on the CPU, one
    image at a time, with that generator seeded before and put back after: an image's cloud depends on its seed and size
    alone. Not safe in several threads at once.

    Args:
        clear: floating, (N, C, H, W) in [0, 1], any size. Computed in float32; the results have its dtype and device.
        seeds: N integers, one for each image; their lower 32 bits count.

    Raises:
        UserError: the package is not installed.
        ValueError: the shape, dtype or number of seeds does not fit.
    """
    add_cloud = _load_package()
    check_batch(clear, seeds)
    height, width = clear.shape[-2:]
    side = max(height, width, _SMALLEST)
    square = F.pad(clear.float().cpu(), (0, side - width, 0, side - height))
    pairs = [_seeded(add_cloud, image[None], seed) for image, seed in zip(square, seeds, strict=True)]
    cloudy, mask = (torch.cat(part)[..., :height, :width].to(clear) for part in zip(*pairs, strict=True))
    return SimulatedClouds(cloudy.clamp(0, 1), mask.mean(1, keepdim=True))


def _load_package() -> Callable[..., tuple[Tensor, Tensor]]:
    try:
        from satellite_cloud_generator import add_cloud
    except ImportError as error:
        raise UserError(
            f"the scg backend needs the package satellite-cloud-generator, which cannot be imported ({error}); "
            'install it with: pip install -e ".[scg]"'
        ) from error
    return add_cloud


def _seeded(add_cloud: Callable[..., tuple[Tensor, Tensor]], image: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """One image (1, C, H, W) with its cloud, and the cloud's opacity (1, C, H, W)."""
    generator = torch.default_generator  # of the CPU; torch.manual_seed would reset those of the GPUs as well
    state = generator.get_state()
    try:
        generator.manual_seed(int(seed))
        return add_cloud(image, **_SETTINGS)
    finally:
        generator.set_state(state)
