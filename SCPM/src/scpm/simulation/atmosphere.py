"""Random thin clouds: their transmission in each band, and the colour that they add.

The Angstrom exponent alpha (Angstrom, "On the Atmospheric Transmission of Sun Radiation", 1929)
says how much more short wavelengths are dimmed. It is about 0 for droplets and ice, which are much
larger than a wavelength. It is 0.5 to 1 for haze (Chavez, "An Improved Dark-Object Subtraction
Technique", Remote Sensing of Environment, 1988), and 1 to 2 for smoke.

The shape of a cloud is Gaussian noise of von Karman's spectrum (1 + (scale k)^2)^(-slope / 2). The
spectrum is flat above the largest scale. Below it falls by a power of the wavenumber k, as in real
clouds (Cahalan and Snider, "Marine Stratocumulus Structure", Remote Sensing of Environment, 1989).
Multiple scattering smooths the finest scales (Marshak et al., "Radiative Smoothing in Fractal
Clouds", Journal of Geophysical Research, 1995).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.memory import send
from scpm.simulation.fields import CloudFields
from scpm.simulation.options import CloudOptions, Range

# Value that nine tenths of a Gaussian field stay below, in standard deviations. There a cloud has
# the opacity that was drawn for it.
_THICK = 1.28
_GRID_STEP = 2  # pixels between the points of the noise, which has no finer structure
_PERIOD = 2  # the noise is periodic, so its period must be longer than the image by this factor
_PERIOD_MULTIPLE = 32  # points; large enough for some waves, and fast to transform
# The order fixes which random number a seed gives to each property.
_PROPERTIES = (
    "opacity",
    "even",
    "floor",
    "coverage",
    "softness",
    "texture",
    "scale",
    "slope",
    "smoothing",
    "elongation",
    "direction",
    "angstrom",
    "brightness",
    "blueness",
)


class Atmosphere(NamedTuple):
    """Light that passes from the ground to the satellite, and light that the cloud adds."""

    transmission: Tensor
    """Fraction of the ground's light that passes, (N, C, H, W) in (0, 1]."""
    air_light: Tensor
    """Colour of the cloud, (N, C, H, W), at least 0. Above 1 its opaque parts saturate."""


def draw_atmosphere(
    height: int,
    width: int,
    seeds: Sequence[int],
    options: CloudOptions,
    *,
    fields: CloudFields | None = None,
    draw_on: torch.device | str = "cpu",
) -> Atmosphere:
    """Draw one atmosphere for each seed, in float32 on the device `draw_on`.

    See `scpm.simulation.clouds.simulate_clouds` for the arguments.
    """
    device = torch.device(draw_on)
    uniform, tints, noise = _draw_random(height, width, seeds, len(options.wavelengths), device)
    even = uniform["even"] < options.even_fraction
    depth = _draw_depth(height, width, uniform, even, noise, options)
    if fields is not None:
        for number, seed in enumerate(seeds):
            shape = fields.draw(height, width, int(seed))
            if shape is not None:
                depth[number] = send(shape, depth.device)

    wavelengths = send(torch.tensor(options.wavelengths), noise.device).view(1, -1, 1, 1)
    relative = wavelengths / options.reference_wavelength
    angstrom = _linear(options.angstrom, uniform["angstrom"] ** 2)
    transmission = torch.exp(-depth * relative**-angstrom)

    bright = 1 - uniform["brightness"] ** 1.5
    brightness = _linear_either(even, options.even_brightness, options.patchy_brightness, bright)
    blueness = _linear(options.blueness, uniform["blueness"] ** 2) * _normalised(relative)
    air_light = brightness - blueness - options.tint * tints

    overlay = uniform["even"] < options.even_fraction * options.overlay_fraction
    gray = torch.exp(-depth)
    return Atmosphere(
        torch.where(overlay, gray, transmission), torch.where(overlay, 1 - gray, air_light)
    )


def _draw_random(
    height: int, width: int, seeds: Sequence[int], bands: int, device: torch.device
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Draw all random numbers of the seeds.

    The uniform numbers come from the CPU on every device. The noise is large and therefore comes
    from the device itself.

    Returns:
        Uniform numbers (N, 1, 1, 1) by property, tints (N, bands, 1, 1), and complex noise
        (N, 1, h, w).
    """
    points = []
    for length in (height, width):
        periods = math.ceil(_PERIOD * length / (_GRID_STEP * _PERIOD_MULTIPLE))
        points.append(_PERIOD_MULTIPLE * periods)

    numbers, noises = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(int(seed))
        numbers.append(torch.rand(len(_PROPERTIES) + bands, 1, 1, generator=generator))
        if device.type != "cpu":
            generator = torch.Generator(device).manual_seed(int(seed))
        noise = torch.randn(1, *points, dtype=torch.complex64, generator=generator, device=device)
        noises.append(noise)

    columns = send(torch.stack(numbers), device)
    uniform = {name: columns[:, index : index + 1] for index, name in enumerate(_PROPERTIES)}
    return uniform, columns[:, len(_PROPERTIES) :], torch.stack(noises)


def _draw_depth(
    height: int,
    width: int,
    uniform: dict[str, Tensor],
    even: Tensor,
    noise: Tensor,
    options: CloudOptions,
) -> Tensor:
    """Return the optical depth (N, 1, H, W) at the reference wavelength."""
    points = _filter_noise(uniform, noise, options)
    points = points[..., : height // _GRID_STEP + 3, : width // _GRID_STEP + 3]
    coarse = _depth_of_fields(uniform, even, _standardised(points), options)

    # Bilinear interpolation would show the grid. Bicubic interpolation repeats the border, which is
    # cut off, and it may overshoot below 0.
    fine = F.interpolate(coarse, scale_factor=_GRID_STEP, mode="bicubic")
    inside = fine[..., _GRID_STEP : _GRID_STEP + height, _GRID_STEP : _GRID_STEP + width]
    return inside.clamp_min(0)


def _filter_noise(uniform: dict[str, Tensor], noise: Tensor, options: CloudOptions) -> Tensor:
    """Return two independent periodic Gaussian fields (N, 2, h, w) of each cloud's spectrum."""
    # Wavenumbers are in cycles per pixel.
    rows = torch.fft.fftfreq(noise.shape[-2], _GRID_STEP, device=noise.device)[:, None]
    columns = torch.fft.fftfreq(noise.shape[-1], _GRID_STEP, device=noise.device)
    direction = math.pi * uniform["direction"]
    stretch = _geometric(options.elongation, uniform["elongation"])
    along = columns * direction.cos() + rows * direction.sin()
    across = rows * direction.cos() - columns * direction.sin()
    wavenumber_squared = stretch * along.square() + across.square() / stretch

    scale = _geometric(options.scale, uniform["scale"])
    slope = _linear(options.slope, uniform["slope"])
    smoothing = _linear(options.smoothing, uniform["smoothing"])
    von_karman = (1 + scale.square() * wavenumber_squared) ** (-slope / 4)
    blur = torch.exp(-0.5 * (math.pi * smoothing) ** 2 * wavenumber_squared)

    # The spectrum is symmetric, so the real and the imaginary part are independent.
    complex_field = torch.fft.ifft2(noise * (von_karman * blur))
    return torch.cat((complex_field.real, complex_field.imag), 1)


def _standardised(fields: Tensor) -> Tensor:
    """Return the fields with mean 0 and standard deviation 1 in each image."""
    centred = fields - fields.mean((-2, -1), keepdim=True)
    return centred / centred.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-30)


def _depth_of_fields(
    uniform: dict[str, Tensor], even: Tensor, fields: Tensor, options: CloudOptions
) -> Tensor:
    """Make an optical depth (N, 1, h, w) of two fields: textured patches over a floor of haze."""
    shape, detail = fields[:, :1], fields[:, 1:]
    coverage = _linear(options.coverage, uniform["coverage"])
    # A Gaussian field exceeds this value on the fraction `coverage` of the image.
    edge = -math.sqrt(2) * torch.erfinv(2 * coverage - 1)
    softness = _linear(options.softness, uniform["softness"])
    patches = F.softplus((shape - edge) / softness) / F.softplus((_THICK - edge) / softness)

    # The factor of the texture has the mean 1.
    strength = _linear(options.texture, uniform["texture"])
    patches = patches * torch.exp(strength * detail - strength.square() / 2)

    floor = _linear_either(even, options.even_floor, options.patchy_floor, uniform["floor"])
    opacity = _linear(options.opacity, uniform["opacity"] ** options.opacity_skew)
    return -torch.log1p(-opacity) * (floor + (1 - floor) * patches)


def _normalised(wavelengths: Tensor) -> Tensor:
    """Map the shortest wavelength to 0 and the longest to 1. Equal wavelengths become 0."""
    shortest, longest = torch.aminmax(wavelengths)
    return (wavelengths - shortest) / (longest - shortest).clamp_min(1e-6)


def _linear(limits: Range, fraction: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * fraction


def _geometric(limits: Range, fraction: Tensor) -> Tensor:
    return limits[0] * (limits[1] / limits[0]) ** fraction


def _linear_either(first: Tensor, limits: Range, other_limits: Range, fraction: Tensor) -> Tensor:
    return torch.where(first, _linear(limits, fraction), _linear(other_limits, fraction))
