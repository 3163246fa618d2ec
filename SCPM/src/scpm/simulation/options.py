"""Options of the simulated clouds."""

import math
from dataclasses import dataclass

Range = tuple[float, float]

_LIMITS = {
    "opacity": (0.0, 0.999),
    "even_floor": (0.0, 1.0),
    "patchy_floor": (0.0, 1.0),
    "coverage": (0.01, 0.99),
    "softness": (0.01, 10.0),
    "texture": (0.0, 3.0),
    "scale": (1.0, 1e6),
    "slope": (0.0, 10.0),
    "smoothing": (0.0, 1e6),
    "elongation": (1.0, 100.0),
    "angstrom": (-1.0, 4.0),
    "even_brightness": (0.0, 2.0),
    "patchy_brightness": (0.0, 2.0),
    "blueness": (0.0, 1.0),
}


@dataclass(frozen=True)
class CloudOptions:
    """Ranges from which each cloud is drawn.

    The defaults cover the real thin clouds of RICE, T-CLOUD and SateHaze1k, by the statistics of
    `experiments/compare_clouds.py`.
    """

    opacity: Range = (0.02, 0.97)
    """Opacity (1 - transmission) of the thick parts at the reference wavelength."""
    opacity_skew: float = 1.3
    """Preference for thin clouds. 1 draws the opacity evenly over its range; larger values draw
    more thin clouds and fewer thick ones."""
    even_fraction: float = 0.2
    """Fraction of the images under an even veil. The others have patches and streaks."""
    overlay_fraction: float = 0.0
    """Fraction of the even veils that are laid over as a map program lays a layer of cloud: gray,
    and as bright as they are opaque, so that the opacity s adds the light s^2. RICE1's are such."""
    even_floor: Range = (0.75, 1.0)
    """Thickness of the thinnest parts of an even veil, relative to its thick parts."""
    patchy_floor: Range = (0.0, 0.3)
    """Thickness of the haze between patches, relative to the thick parts of the cloud."""
    coverage: Range = (0.1, 0.97)
    """Fraction of the image that the patches cover."""
    softness: Range = (0.1, 1.0)
    """Width of the edge of a patch, in standard deviations of the noise."""
    texture: Range = (0.0, 1.0)
    """Strength of the finer changes of thickness within the cloud."""
    scale: Range = (16.0, 1024.0)
    """Largest scale of the cloud's shapes, in pixels."""
    slope: Range = (2.0, 4.2)
    """Exponent with which the power spectrum falls with the wavenumber. Larger values give smoother
    clouds."""
    smoothing: Range = (1.0, 6.0)
    """Scale in pixels below which a cloud has no structure."""
    elongation: Range = (1.0, 4.0)
    """Ratio of length to width of the shapes. High values make the streaks of cirrus."""
    angstrom: Range = (0.0, 1.2)
    """Angstrom exponent. Values near the lower end, gray clouds, are drawn most often."""
    even_brightness: Range = (0.4, 1.0)
    """Brightness that an even veil would have if it were opaque. Values near the upper end are
    drawn most often. Low values occur in images darkened for display. Above 1 the brightest parts
    saturate, as opaque cloud does in images brightened for display."""
    patchy_brightness: Range = (0.8, 1.0)
    """Brightness that patchy clouds would have if they were opaque, drawn in the same way."""
    blueness: Range = (0.0, 0.2)
    """Difference of that brightness between the shortest and the longest wavelength. Values near
    the lower end are drawn most often. At the top of the atmosphere thin cloud is bluish, because
    the air above it scatters blue light."""
    tint: float = 0.06
    """Largest further difference of that brightness between the bands, of any colour."""
    wavelengths: tuple[float, ...] = (0.655, 0.561, 0.482)
    """Wavelength of each band in micrometres. Default: red, green and blue of Landsat 8."""
    reference_wavelength: float = 0.55
    """Wavelength in micrometres at which the opacity is drawn."""

    def __post_init__(self) -> None:
        """Reject values that no cloud can have."""
        for name, (lowest, highest) in _LIMITS.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(
                    f"{name} is ({low}, {high}), expected a low and a high value in "
                    f"[{lowest}, {highest}]."
                )

        for name in ("even_fraction", "overlay_fraction"):
            fraction = getattr(self, name)
            if not 0 <= fraction <= 1:
                raise ValueError(f"{name} is {fraction}, expected a fraction from 0 to 1.")
        if not 0 < self.opacity_skew < math.inf:
            raise ValueError(f"opacity_skew is {self.opacity_skew}, expected a positive number.")

        darkest = min(self.even_brightness[0], self.patchy_brightness[0])
        if not 0 <= self.tint <= darkest - self.blueness[1]:
            raise ValueError(
                f"tint is {self.tint} and the highest blueness {self.blueness[1]}. Expected a tint "
                "of at least 0, and together at most the lowest brightness, "
                f"{darkest}."
            )

        numbers = (*self.wavelengths, self.reference_wavelength)
        if not self.wavelengths or not all(0 < number < math.inf for number in numbers):
            raise ValueError(
                f"wavelengths are {self.wavelengths} and reference_wavelength "
                f"{self.reference_wavelength}, expected positive numbers of micrometres."
            )
