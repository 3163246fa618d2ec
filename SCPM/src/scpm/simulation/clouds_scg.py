"""Simulated clouds of the package satellite-cloud-generator, which the paper used.

This is an optional second backend. Czerkawski, Atkinson, Michie and Tachtatzis,
"SatelliteCloudGenerator: Controllable Cloud and Shadow Synthesis for Multi-Spectral Optical
Satellite Images", Remote Sensing, 2023.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.errors import UserError
from scpm.simulation.clouds import SimulatedClouds, check_batch

_MIN_SIDE = 64  # pixels; in smaller or very narrow images the package's noise divides by zero

# These settings make the mask of the package the exact label. They switch off all that is no
# function of the cloud alone: blur of the ground, clouds coloured by the ground, and shifts of the
# bands, which leave wrapped strips at the border.
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
    """Lay a random cloud over each image with satellite-cloud-generator.

    The package draws from torch's global generator and normalises over the batch. It therefore runs
    on the CPU, one image at a time. The generator is seeded before each image and restored after
    it, so the cloud of an image depends on its seed and size alone. Several threads must not call
    this function at once.

    Args:
        clear: floating images (N, C, H, W) in [0, 1], of any size. They are computed in float32.
            The results have their dtype and device.
        seeds: N integers, one for each image. Only their lower 32 bits count.

    Raises:
        UserError: the package is not installed.
        ValueError: the shape, the dtype or the number of seeds is wrong.
    """
    add_cloud = _load_package()
    check_batch(clear, seeds)

    height, width = clear.shape[-2:]
    side = max(height, width, _MIN_SIDE)
    square = F.pad(clear.float().cpu(), (0, side - width, 0, side - height))
    cloudy, opacity = [], []
    for image, seed in zip(square, seeds, strict=True):
        cloudy_image, mask = _add_seeded_cloud(add_cloud, image[None], seed)
        cloudy.append(cloudy_image[..., :height, :width])
        opacity.append(mask[..., :height, :width])

    images = torch.cat(cloudy).to(clear).clamp(0, 1)
    return SimulatedClouds(images, torch.cat(opacity).to(clear).mean(1, keepdim=True))


def _load_package() -> Callable[..., tuple[Tensor, Tensor]]:
    try:
        from satellite_cloud_generator import add_cloud
    except ImportError as error:
        raise UserError(
            "the scg backend needs the package satellite-cloud-generator, which cannot be imported "
            f'({error}); install it with: pip install -e ".[scg]"'
        ) from error
    return add_cloud


def _add_seeded_cloud(
    add_cloud: Callable[..., tuple[Tensor, Tensor]], image: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Return one image (1, C, H, W) with its cloud, and the opacity of the cloud (1, C, H, W)."""
    # torch.manual_seed would reset the generators of the GPUs as well.
    generator = torch.default_generator
    state = generator.get_state()
    try:
        generator.manual_seed(int(seed))
        return add_cloud(image, **_SETTINGS)
    finally:
        generator.set_state(state)
