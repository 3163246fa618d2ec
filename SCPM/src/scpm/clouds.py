"""Simulated thin clouds over clear images, with the exact thickness that stage 1 learns to see.

A cloud is a random field of optical depth tau. Light from the ground passes it with the transmission t, and the cloud
adds light of its own colour A (Koschmieder 1924; Narasimhan and Nayar, "Vision and the Atmosphere", 2002). In band b:

    t_b = exp(-tau (lambda_b / lambda_ref)^-alpha)        cloudy_b = clear_b t_b + A_b (1 - t_b)

The Angstrom exponent alpha (Angstrom, "On the Atmospheric Transmission of Sun Radiation", 1929) says how much more
short wavelengths are dimmed: about 0 by droplets and ice, which are much larger than a wavelength; 0.5 to 1 by haze
(Chavez, "An Improved Dark-Object Subtraction Technique", Remote Sensing of Environment, 1988); 1 to 2 by smoke.

The shape of a cloud is Gaussian noise of von Karman's spectrum (1 + (scale k)^2)^(-slope / 2): flat above the largest
scale, falling by a power of the wavenumber k below, as in real clouds (Cahalan and Snider, "Marine Stratocumulus
Structure", Remote Sensing of Environment, 1989), while multiple scattering smooths the finest scales away (Marshak et
al., "Radiative Smoothing in Fractal Clouds", Journal of Geophysical Research, 1995).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.stores import send
from scpm.fields import CloudFields

Range = tuple[float, float]

_THICK = 1.28  # standard deviations; nine tenths of a Gaussian field lie below: there a cloud has its drawn opacity
_CELL = 2  # pixels between the points of the noise, which has no finer structure
_BOX = 32  # points; each side of the noise is a multiple of it: large enough for some waves, fast to transform
_MARGIN = 2  # the noise is periodic, so its box is so much larger than the image
_CHANCES = (
    "opacity", "even", "floor", "coverage", "softness", "texture", "scale", "slope", "smoothing",
    "elongation", "direction", "angstrom", "brightness", "blueness",
)  # fmt: skip


class SimulatedClouds(NamedTuple):
    """Simulated pairs.

    Attributes:
        cloudy: (N, C, H, W) in [0, 1].
        thickness: (N, 1, H, W) in [0, 1], the mean over the bands of 1 - transmission: 0 is clear, 1 opaque.
    """

    cloudy: Tensor
    thickness: Tensor


class Atmosphere(NamedTuple):
    """What lies between the ground and the satellite.

    Attributes:
        transmission: (N, C, H, W) in (0, 1], the share of the ground's light that passes.
        air_light: (N, C, 1, 1) in [0, 1], the colour of an opaque cloud.
    """

    transmission: Tensor
    air_light: Tensor


@dataclass(frozen=True)
class CloudOptions:
    """Ranges from which each cloud is drawn. The defaults cover the real thin clouds of RICE, T-CLOUD and SateHaze1k."""

    opacity: Range = (0.02, 0.97)
    """Opacity (1 - transmission) of the thick parts at the reference wavelength."""
    opacity_skew: float = 1.2
    """1 draws the opacity evenly over its range; the larger, the more thin clouds among few thick ones."""
    even_share: float = 0.25
    """Share of the images under an even veil; the others have patches and streaks."""
    even_floor: Range = (0.75, 1.0)
    """Thickness of the thinnest parts of an even veil, relative to its thick parts."""
    patchy_floor: Range = (0.0, 0.3)
    """The same for patchy clouds: the haze between the patches."""
    coverage: Range = (0.15, 0.95)
    """Share of the image that the patches cover."""
    softness: Range = (0.1, 1.0)
    """Width of the edge of a patch, in standard deviations of the noise."""
    texture: Range = (0.0, 1.0)
    """Strength of the finer changes of thickness within the cloud."""
    scale: Range = (16.0, 1024.0)
    """Largest scale of the cloud's shapes, in pixels."""
    slope: Range = (2.4, 4.4)
    """Fall of the power spectrum with the wavenumber; the larger, the smoother the cloud."""
    smoothing: Range = (1.0, 6.0)
    """Scale below which no structure is left, in pixels."""
    elongation: Range = (1.0, 4.0)
    """How much longer than wide the shapes are; high values make the streaks of cirrus."""
    angstrom: Range = (0.0, 2.0)
    """Angstrom exponent; values near the lower end, gray clouds, are drawn most often."""
    even_brightness: Range = (0.4, 1.0)
    """Brightness of an even veil if it were opaque, most often near the upper end; low in images darkened for display."""
    patchy_brightness: Range = (0.7, 1.0)
    """The same for patchy clouds."""
    blueness: Range = (0.0, 0.25)
    """Brightness that an opaque cloud would lack at the longest wavelength against the shortest; values near the lower end are
    drawn most often. At the top of the atmosphere thin cloud is bluish, because the air above it scatters blue light."""
    tint: float = 0.08
    """Largest difference of that brightness between the bands beside that, of any colour."""
    wavelengths: tuple[float, ...] = (0.655, 0.561, 0.482)
    """Wavelength of each band in micrometres; default: red, green and blue of Landsat 8."""
    reference_wavelength: float = 0.55
    """Wavelength in micrometres at which the opacity is drawn."""

    def __post_init__(self) -> None:
        limits = dict.fromkeys(("even_floor", "patchy_floor", "even_brightness", "patchy_brightness"), (0.0, 1.0)) | {
            "opacity": (0.0, 0.999), "coverage": (0.01, 0.99), "softness": (0.01, 10.0), "texture": (0.0, 3.0),
            "scale": (1.0, 1e6), "slope": (0.0, 10.0), "smoothing": (0.0, 1e6), "elongation": (1.0, 100.0),
            "angstrom": (-1.0, 4.0), "blueness": (0.0, 1.0),
        }  # fmt: skip
        for name, (lowest, highest) in limits.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{name} is ({low}, {high}), expected a low and a high value in [{lowest}, {highest}].")
        if not 0 <= self.even_share <= 1:
            raise ValueError(f"even_share is {self.even_share}, expected a share in [0, 1].")
        if not 0 < self.opacity_skew < math.inf:
            raise ValueError(f"opacity_skew is {self.opacity_skew}, expected a positive number.")
        darkest = min(self.even_brightness[0], self.patchy_brightness[0])
        if not 0 <= self.tint <= darkest - self.blueness[1]:
            raise ValueError(
                f"tint is {self.tint} and the highest blueness {self.blueness[1]}, expected at least 0 and together at most the "
                f"lowest brightness, {darkest}."
            )
        if not self.wavelengths or not all(0 < w < math.inf for w in (*self.wavelengths, self.reference_wavelength)):
            raise ValueError(
                f"wavelengths are {self.wavelengths} and reference_wavelength {self.reference_wavelength}, "
                "expected positive numbers of micrometres."
            )


def simulate_clouds(
    clear: Tensor,
    seeds: Sequence[int],
    options: CloudOptions = CloudOptions(),
    *,
    fields: CloudFields | None = None,
    draw_on: torch.device | str | None = None,
) -> SimulatedClouds:
    """Lay a random thin cloud over each image.

    An image's cloud depends on its seed, its size, the options and the device of the draw; not on the rest of the batch
    nor on global random state, which is neither read nor changed.

    Args:
        clear: floating, (N, C, H, W) in [0, 1], any size. Computed in float32; the results have its dtype and device.
        seeds: N integers, one for each image; the CPU heeds their lower 32 bits.
        options: ranges of the clouds; for other than three bands they must give the wavelengths.
        fields: real shapes, which take the place of the random ones for a fraction of the seeds.
        draw_on: device that draws the clouds; default that of `clear`, which is fastest. Equal seeds draw equal clouds
            on one kind of device, but CPU and GPU differ: "cpu" fixes the clouds of a validation for all machines.

    Raises:
        ValueError: the shape, dtype, number of seeds or number of wavelengths does not fit.
    """
    check_batch(clear, seeds)
    if len(options.wavelengths) != clear.shape[1]:
        raise ValueError(
            f"the images have {clear.shape[1]} bands, the options {len(options.wavelengths)} wavelengths; give "
            "CloudOptions(wavelengths=...) with one for each band, in micrometres."
        )
    height, width = clear.shape[-2:]
    atmosphere = draw_atmosphere(height, width, seeds, options, fields=fields, draw_on=draw_on or clear.device)
    atmosphere = Atmosphere(*(part.to(clear.device) for part in atmosphere))
    clouds = cover(clear.float(), atmosphere)
    return SimulatedClouds(*(part.to(clear.dtype) for part in clouds))


def check_batch(clear: Tensor, seeds: Sequence[int]) -> None:
    """Raise ValueError unless `clear` is floating, (N, C, H, W), not empty, with one seed for each image."""
    if clear.ndim != 4 or 0 in clear.shape or not clear.dtype.is_floating_point:
        raise ValueError(f"expected floating images (N, C, H, W), got {clear.dtype} of the shape {tuple(clear.shape)}.")
    if len(seeds) != len(clear):
        raise ValueError(f"got {len(seeds)} seeds for {len(clear)} images, expected one for each.")


def cover(clear: Tensor, atmosphere: Atmosphere) -> SimulatedClouds:
    """Clear images (N, C, H, W) in [0, 1] seen through an atmosphere: clear t + A (1 - t)."""
    transmission, air_light = atmosphere
    cloudy = (air_light + (clear - air_light) * transmission).clamp(0, 1)  # only rounding could leave [0, 1]
    return SimulatedClouds(cloudy, (1 - transmission).mean(1, keepdim=True))


def draw_atmosphere(
    height: int,
    width: int,
    seeds: Sequence[int],
    options: CloudOptions,
    *,
    fields: CloudFields | None = None,
    draw_on: torch.device | str = "cpu",
) -> Atmosphere:
    """Draw one atmosphere for each seed, float32 on the device of the draw; see `simulate_clouds`."""
    chance, tints, noise = _draw(height, width, seeds, len(options.wavelengths), torch.device(draw_on))
    even = chance["even"] < options.even_share
    points = _noise_fields(chance, noise, options)[..., : height // _CELL + 3, : width // _CELL + 3]
    coarse = _optical_depth(chance, even, _standardised(points), options)
    fine = F.interpolate(coarse, scale_factor=_CELL, mode="bicubic")  # cubic, because linear would show the grid
    inside = fine[..., _CELL : _CELL + height, _CELL : _CELL + width]  # away from the replicated border
    optical_depth = inside.clamp_min(0)  # cubics overshoot
    if fields is not None:
        for number, seed in enumerate(seeds):
            if (drawn := fields.draw(height, width, int(seed))) is not None:
                optical_depth[number] = send(drawn, optical_depth.device)

    relative = send(torch.tensor(options.wavelengths), noise.device).view(1, -1, 1, 1) / options.reference_wavelength
    angstrom = _between(options.angstrom, chance["angstrom"] ** 2)
    brightness = _between_either(even, options.even_brightness, options.patchy_brightness, 1 - chance["brightness"] ** 1.5)
    blueness = _between(options.blueness, chance["blueness"] ** 2) * _from_blue_to_red(relative)
    return Atmosphere(torch.exp(-optical_depth * relative**-angstrom), brightness - blueness - options.tint * tints)


def _from_blue_to_red(wavelengths: Tensor) -> Tensor:
    """0 at the shortest of the wavelengths, 1 at the longest; 0 where they are equal."""
    shortest, longest = torch.aminmax(wavelengths)
    return (wavelengths - shortest) / (longest - shortest).clamp_min(1e-6)


def _draw(
    height: int, width: int, seeds: Sequence[int], bands: int, device: torch.device
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """All randomness: uniform numbers (N, 1, 1, 1) by name, tints (N, bands, 1, 1), noise (N, 1, h, w), complex.

    The few numbers come from the CPU on every device; the noise, which is large, from the device itself.
    """
    box = [_BOX * math.ceil(_MARGIN * length / (_CELL * _BOX)) for length in (height, width)]
    numbers, noises = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(int(seed))
        numbers.append(torch.rand(len(_CHANCES) + bands, 1, 1, generator=generator))
        if device.type != "cpu":
            generator = torch.Generator(device).manual_seed(int(seed))
        noises.append(torch.randn(1, *box, dtype=torch.complex64, generator=generator, device=device))
    columns = send(torch.stack(numbers), device)
    chance = {name: columns[:, index : index + 1] for index, name in enumerate(_CHANCES)}
    return chance, columns[:, len(_CHANCES) :], torch.stack(noises)


def _noise_fields(chance: dict[str, Tensor], noise: Tensor, options: CloudOptions) -> Tensor:
    """Two independent random fields of the same von Karman spectrum, (N, 2, h, w), on points _CELL pixels apart."""
    rows = torch.fft.fftfreq(noise.shape[-2], _CELL, device=noise.device)[:, None]  # cycles per pixel
    columns = torch.fft.fftfreq(noise.shape[-1], _CELL, device=noise.device)
    direction = math.pi * chance["direction"]
    stretch = _between_factors(options.elongation, chance["elongation"])
    along = columns * direction.cos() + rows * direction.sin()
    across = rows * direction.cos() - columns * direction.sin()
    square = stretch * along.square() + across.square() / stretch  # of the wavenumber, as if nothing were elongated
    scale = _between_factors(options.scale, chance["scale"])
    slope = _between(options.slope, chance["slope"])
    smoothing = _between(options.smoothing, chance["smoothing"])
    spectrum = (1 + scale.square() * square) ** (-slope / 4) * torch.exp(-0.5 * (math.pi * smoothing) ** 2 * square)
    complex_field = torch.fft.ifft2(noise * spectrum)
    return torch.cat((complex_field.real, complex_field.imag), 1)  # independent, because the spectrum is symmetric


def _standardised(fields: Tensor) -> Tensor:
    """The fields with mean 0 and standard deviation 1 in each image."""
    centred = fields - fields.mean((-2, -1), keepdim=True)
    return centred / centred.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-30)


def _optical_depth(chance: dict[str, Tensor], even: Tensor, fields: Tensor, options: CloudOptions) -> Tensor:
    """Optical depth (N, 1, h, w) at the reference wavelength: patches with texture over a floor of haze."""
    shape, detail = fields[:, :1], fields[:, 1:]
    coverage = _between(options.coverage, chance["coverage"])
    edge = -math.sqrt(2) * torch.erfinv(2 * coverage - 1)  # a Gaussian field exceeds it on this share of the image
    softness = _between(options.softness, chance["softness"])
    patches = F.softplus((shape - edge) / softness) / F.softplus((_THICK - edge) / softness)
    strength = _between(options.texture, chance["texture"])
    patches = patches * torch.exp(strength * detail - strength.square() / 2)  # a factor of mean 1
    floor = _between_either(even, options.even_floor, options.patchy_floor, chance["floor"])
    opacity = _between(options.opacity, chance["opacity"] ** options.opacity_skew)
    return -torch.log1p(-opacity) * (floor + (1 - floor) * patches)


def _between(limits: Range, share: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * share


def _between_factors(limits: Range, share: Tensor) -> Tensor:
    return limits[0] * (limits[1] / limits[0]) ** share


def _between_either(first: Tensor, limits: Range, other_limits: Range, share: Tensor) -> Tensor:
    return torch.where(first, _between(limits, share), _between(other_limits, share))
