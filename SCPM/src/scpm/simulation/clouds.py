"""Simulated thin clouds over clear images, with the exact thickness that SCPM learns to detect.

A cloud is a random field of optical depth tau. Light from the ground passes it with the
transmission t. The cloud adds light of its own colour A (Koschmieder 1924; Narasimhan and Nayar,
"Vision and the Atmosphere", 2002). In band b:

    t_b = exp(-tau (lambda_b / lambda_ref)^-alpha)        cloudy_b = clear_b t_b + A_b (1 - t_b)

`scpm.simulation.atmosphere` draws t and A.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scpm.simulation.atmosphere import Atmosphere, draw_atmosphere
from scpm.simulation.fields import CloudFields
from scpm.simulation.options import CloudOptions

_DEFAULTS = CloudOptions()


class SimulatedClouds(NamedTuple):
    """Cloudy images and their thickness."""

    cloudy: Tensor
    """Cloudy images (N, C, H, W) in [0, 1]."""
    thickness: Tensor
    """Mean over the bands of 1 - transmission, (N, 1, H, W) in [0, 1]: 0 is clear, 1 opaque."""


def simulate_clouds(
    clear: Tensor,
    seeds: Sequence[int],
    options: CloudOptions = _DEFAULTS,
    *,
    fields: CloudFields | None = None,
    draw_on: torch.device | str | None = None,
) -> SimulatedClouds:
    """Lay a random thin cloud over each image.

    The cloud of an image depends on its seed, its size, the options and the device that draws. It
    does not depend on the rest of the batch. The global random state is neither read nor changed.

    Args:
        clear: floating images (N, C, H, W) in [0, 1], of any size. They are computed in float32.
            The results have their dtype and device.
        seeds: N integers, one for each image. On the CPU only their lower 32 bits count.
        options: ranges of the clouds. With other than three bands they must give the wavelengths.
        fields: shapes of real clouds. They replace the random shapes for a fraction of the seeds.
        draw_on: device that draws the clouds. Default: that of `clear`, which is fastest. Equal
            seeds draw equal clouds on one kind of device, but CPU and GPU differ. "cpu" fixes the
            clouds of a validation for all machines.

    Raises:
        ValueError: the shape, the dtype, the number of seeds or the number of wavelengths is wrong.
    """
    check_batch(clear, seeds)
    if len(options.wavelengths) != clear.shape[1]:
        raise ValueError(
            f"the images have {clear.shape[1]} bands, the options {len(options.wavelengths)} "
            "wavelengths; give CloudOptions(wavelengths=...) with one for each band, in "
            "micrometres."
        )

    height, width = clear.shape[-2:]
    device = draw_on or clear.device
    atmosphere = draw_atmosphere(height, width, seeds, options, fields=fields, draw_on=device)
    atmosphere = Atmosphere(*(part.to(clear.device) for part in atmosphere))
    clouds = apply_atmosphere(clear.float(), atmosphere)
    return SimulatedClouds(*(part.to(clear.dtype) for part in clouds))


def check_batch(clear: Tensor, seeds: Sequence[int]) -> None:
    """Raise ValueError unless `clear` holds floating images (N, C, H, W) and each has a seed."""
    if clear.ndim != 4 or 0 in clear.shape or not clear.dtype.is_floating_point:
        raise ValueError(
            f"images have the dtype {clear.dtype} and the shape {tuple(clear.shape)}, expected "
            "floating images (N, C, H, W)."
        )
    if len(seeds) != len(clear):
        raise ValueError(
            f"there are {len(seeds)} seeds for {len(clear)} images, expected one for each."
        )


def apply_atmosphere(clear: Tensor, atmosphere: Atmosphere) -> SimulatedClouds:
    """Cover clear images (N, C, H, W) in [0, 1] with an atmosphere: clear t + A (1 - t)."""
    transmission, air_light = atmosphere
    cloudy = air_light + (clear - air_light) * transmission
    # A cloud brighter than 1 saturates. Otherwise only rounding can leave [0, 1].
    return SimulatedClouds(cloudy.clamp(0, 1), (1 - transmission).mean(1, keepdim=True))
