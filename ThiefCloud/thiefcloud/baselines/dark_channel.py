"""Haze removal by the dark channel prior: a classical method to compare networks with.

In clear outdoor images nearly every patch holds a pixel that is dark in some band, and haze adds
light to it. So the darkest value of a patch tells how much light passes (He, Sun and Tang, "Single
Image Haze Removal Using Dark Channel Prior", CVPR 2009, IEEE TPAMI 2011). The guided filter then
fits the map to the edges of the image (He, Sun and Tang, "Guided Image Filtering", ECCV 2010, IEEE
TPAMI 2013). It replaced the matting of the first paper.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.imaging.padding import check_unit_images
from scpm.simulation.opacity import smoothed

_DARKEST_LIGHT = 1e-3  # air light of a black image, which has none to divide by


@dataclass(frozen=True)
class DarkChannelOptions:
    """Parameters of the method.

    The defaults are the papers', except the radius, which suits images of about 500 pixels a side.
    """

    patch: int = 15
    """Side of the patches whose darkest value counts, in pixels; odd."""
    brightest: float = 0.001
    """Fraction of the pixels among which the air light is searched: the brightest of the dark
    channel, at least one."""
    omega: float = 0.95
    """Fraction of the haze to remove; the rest keeps distant things distant in appearance."""
    radius: int = 40
    """Radius of the guided filter's windows, in pixels. Windows of several patches smooth their
    squares away."""
    epsilon: float = 1e-3
    """Variance of the image below which the guided filter takes a window as flat."""
    smallest_transmission: float = 0.1
    """Lower bound of the divisor, because smaller ones amplify noise."""

    def __post_init__(self) -> None:
        """Reject invalid values."""
        if self.patch < 1 or self.patch % 2 == 0:
            raise ValueError(
                f"patch is {self.patch}, expected an odd number of pixels, for example 15."
            )
        if self.radius < 0:
            raise ValueError(f"radius is {self.radius}, expected 0 or more pixels.")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon is {self.epsilon}, expected more than 0.")

        for name in ("brightest", "omega", "smallest_transmission"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"{name} is {value}, expected a fraction above 0, at most 1.")


def remove_haze(
    image: Tensor, options: DarkChannelOptions | None = None, *, raw: bool = False
) -> tuple[Tensor, Tensor]:
    """Remove haze from one image or a batch.

    Args:
        image: (C, H, W) or (N, C, H, W), floating, in [0, 1], from 1 pixel a side; usually RGB.
        options: parameters. Default: `DarkChannelOptions()`.
        raw: keep restored values outside [0, 1], because some protocols score them.

    Returns:
        The restored image, clamped to [0, 1] unless raw, and the thickness (1 - transmission) in
        [0, 1], (1, H, W) or (N, 1, H, W). Both have the dtype and device of `image`.

    Raises:
        ValueError: an image of another type, shape or range.
    """
    check_unit_images(image)
    options = options or DarkChannelOptions()

    # Half precision is too coarse for variances.
    batch = image if image.ndim == 4 else image[None]
    cloudy = batch.to(torch.promote_types(batch.dtype, torch.float32))

    light = air_light(cloudy, options)
    rough = 1 - options.omega * dark_channel(cloudy / light, options.patch)
    transmission = guided_filter(cloudy, rough, options.radius, options.epsilon).clamp(0, 1)
    restored = (cloudy - light) / transmission.clamp(min=options.smallest_transmission) + light

    restored = restored if raw else restored.clamp(0, 1)
    thickness = 1 - transmission
    if image.ndim == 3:
        restored, thickness = restored[0], thickness[0]
    return restored.to(image), thickness.to(image)


def dark_channel(images: Tensor, patch: int) -> Tensor:
    """Return the darkest value of all bands in the patch around each pixel.

    Patches end at the border.

    Args:
        images: (N, C, H, W).
        patch: side of a patch in pixels, odd.

    Returns:
        (N, 1, H, W).
    """
    darkest = images.amin(dim=1, keepdim=True)
    for size in ((patch, 1), (1, patch)):
        darkest = -F.max_pool2d(-darkest, size, stride=1, padding=(size[0] // 2, size[1] // 2))
    return darkest


def air_light(images: Tensor, options: DarkChannelOptions) -> Tensor:
    """Estimate the colour of the light that haze adds: that of one pixel of each image.

    Among the pixels with the brightest dark channel it is the one of highest intensity, the mean
    over the bands.

    Args:
        images: (N, C, H, W).
        options: the patch and the fraction of brightest pixels.

    Returns:
        (N, C, 1, 1).
    """
    dark = dark_channel(images, options.patch).flatten(1)
    count = max(1, int(options.brightest * dark.shape[1]))
    faintest = dark.topk(count, dim=1).values[:, -1:]

    intensity = images.mean(dim=1).flatten(1).masked_fill(dark < faintest, -1)
    place = intensity.argmax(dim=1)[:, None, None].expand(-1, images.shape[1], 1)
    return images.flatten(2).gather(2, place)[..., None].clamp(min=_DARKEST_LIGHT)


def guided_filter(guide: Tensor, image: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth an image except at edges of a guide of several bands.

    In each window a linear function of the guide's bands is fitted to the image. A pixel takes the
    mean of the fits of all windows that hold it (He et al., TPAMI 2013, form for colour guides).

    Args:
        guide: (N, C, H, W).
        image: (N, 1, H, W).
        radius: windows have 2 radius + 1 pixels a side, and end at the border.
        epsilon: variance of the guide below which slopes are kept small.

    Returns:
        (N, 1, H, W).
    """
    bands, window = guide.shape[1], 2 * radius + 1
    mean_guide, mean_image = smoothed(guide, window), smoothed(image, window)
    covariance = smoothed(guide * image, window) - mean_guide * mean_image
    variance = smoothed(_products(guide), window) - _products(mean_guide)

    # Solve for the slope of each window.
    matrix = variance.movedim(1, -1).unflatten(-1, (bands, bands))
    matrix = matrix + epsilon * torch.eye(bands).to(guide)
    slope = torch.linalg.solve(matrix, covariance.movedim(1, -1)[..., None])[..., 0].movedim(-1, 1)

    offset = mean_image - (slope * mean_guide).sum(dim=1, keepdim=True)
    return (smoothed(slope, window) * guide).sum(dim=1, keepdim=True) + smoothed(offset, window)


def _products(bands: Tensor) -> Tensor:
    """Return the products of all pairs of bands: (N, C, H, W) to (N, C * C, H, W)."""
    return (bands[:, :, None] * bands[:, None]).flatten(1, 2)
