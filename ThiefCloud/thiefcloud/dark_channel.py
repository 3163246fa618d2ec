"""Haze removal by the dark channel prior: a classical method without training, to compare networks with.

In clear outdoor images nearly every patch holds a pixel that is dark in some band; haze adds light to it. How bright the darkest
value of a patch is thus tells how much light passes (He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior",
CVPR 2009, IEEE TPAMI 2011). The map is then fitted to the edges of the image by the guided filter (He, Sun and Tang, "Guided
Image Filtering", ECCV 2010, IEEE TPAMI 2013), which took the place of the first paper's matting.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cloudkit.padding import check_unit_images

_DARKEST_LIGHT = 1e-3  # air light of a black image, which has none to divide by


@dataclass(frozen=True)
class DarkChannelOptions:
    """Parameters of the method; the defaults are the papers' but for the radius, for images of about 500 pixels a side."""

    patch: int = 15
    """Side of the patches whose darkest value counts, in pixels; odd."""
    brightest: float = 0.001
    """Share of the pixels, the brightest of the dark channel, among which the air light is looked for; one pixel at least."""
    omega: float = 0.95
    """Share of the haze that is taken away; the rest keeps distant things looking distant."""
    radius: int = 40
    """Of the guided filter's windows, in pixels: several patches wide, so that the squares they leave are smoothed away."""
    epsilon: float = 1e-3
    """Of the guided filter: variance of the image below which a window counts as flat."""
    smallest_transmission: float = 0.1
    """Lower bound in the recovery, where division would blow up noise."""

    def __post_init__(self) -> None:
        """Reject what the method cannot use."""
        if self.patch < 1 or self.patch % 2 == 0:
            raise ValueError(f"patch is {self.patch}, expected an odd number of pixels, for example 15.")
        if self.radius < 0:
            raise ValueError(f"radius is {self.radius}, expected 0 or more pixels.")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon is {self.epsilon}, expected more than 0.")
        for name in ("brightest", "omega", "smallest_transmission"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {value}, expected a share: more than 0, 1 at most.")


def remove_haze(image: Tensor, options: DarkChannelOptions | None = None, *, raw: bool = False) -> tuple[Tensor, Tensor]:
    """Remove haze from one image or a batch.

    Args:
        image: (C, H, W) or (N, C, H, W), floating, in [0, 1], any height and width from 1 pixel; usually RGB.
        options: parameters; default: `DarkChannelOptions()`.
        raw: keep restored values outside [0, 1], as some protocols of scoring want them.

    Returns:
        The restored image, clamped to [0, 1] unless raw, and the thickness (1 - transmission) in [0, 1], (1, H, W) or
        (N, 1, H, W); both with the dtype and device of `image`.

    Raises:
        ValueError: an image of another type, shape or range.
    """
    check_unit_images(image)
    options = options or DarkChannelOptions()
    batch = image if image.ndim == 4 else image[None]
    cloudy = batch.to(torch.promote_types(batch.dtype, torch.float32))  # half precision is too coarse for variances
    light = air_light(cloudy, options)
    rough = 1 - options.omega * dark_channel(cloudy / light, options.patch)
    transmission = guided_filter(cloudy, rough, options.radius, options.epsilon).clamp(0, 1)
    restored = (cloudy - light) / transmission.clamp(min=options.smallest_transmission) + light
    outputs = (restored if raw else restored.clamp(0, 1), 1 - transmission)
    restored, thickness = (output.to(image) for output in (outputs if image.ndim == 4 else (part[0] for part in outputs)))
    return restored, thickness


def dark_channel(images: Tensor, patch: int) -> Tensor:
    """Darkest value of all bands in the patch around each pixel: (N, C, H, W) to (N, 1, H, W); patches end at the border."""
    darkest = images.amin(dim=1, keepdim=True)
    for size in ((patch, 1), (1, patch)):
        darkest = -F.max_pool2d(-darkest, size, stride=1, padding=(size[0] // 2, size[1] // 2))
    return darkest


def air_light(images: Tensor, options: DarkChannelOptions) -> Tensor:
    """Colour (N, C, 1, 1) of the light that haze adds: the image's at one pixel of (N, C, H, W).

    Among the pixels with the brightest dark channel it is the one of highest intensity (mean over the bands).
    """
    dark = dark_channel(images, options.patch).flatten(1)
    count = max(1, int(options.brightest * dark.shape[1]))
    faintest = dark.topk(count, dim=1).values[:, -1:]
    intensity = images.mean(dim=1).flatten(1).masked_fill(dark < faintest, -1)
    place = intensity.argmax(dim=1)[:, None, None].expand(-1, images.shape[1], 1)
    return images.flatten(2).gather(2, place)[..., None].clamp(min=_DARKEST_LIGHT)


def guided_filter(guide: Tensor, image: Tensor, radius: int, epsilon: float) -> Tensor:
    """Smooth an image but for edges that a guide of several bands has too.

    In each window the image is fitted by a linear function of the guide's bands; what the windows that hold a pixel say of it is
    averaged (He et al., TPAMI 2013, the form for colour guides).

    Args:
        guide: (N, C, H, W).
        image: (N, 1, H, W).
        radius: windows have 2 radius + 1 pixels a side, and end at the border.
        epsilon: keeps slopes small where the guide varies less than this variance.

    Returns:
        (N, 1, H, W).
    """
    mean_guide, mean_image = box_mean(guide, radius), box_mean(image, radius)
    covariance = box_mean(guide * image, radius) - mean_guide * mean_image
    products = (guide[:, :, None] * guide[:, None]).flatten(1, 2)
    variance = box_mean(products, radius) - (mean_guide[:, :, None] * mean_guide[:, None]).flatten(1, 2)
    matrix = variance.movedim(1, -1).unflatten(-1, (guide.shape[1], guide.shape[1]))
    matrix = matrix + epsilon * torch.eye(guide.shape[1]).to(guide)
    slope = torch.linalg.solve(matrix, covariance.movedim(1, -1)[..., None])[..., 0].movedim(-1, 1)
    offset = mean_image - (slope * mean_guide).sum(dim=1, keepdim=True)
    return (box_mean(slope, radius) * guide).sum(dim=1, keepdim=True) + box_mean(offset, radius)


def box_mean(images: Tensor, radius: int) -> Tensor:
    """Mean of (N, C, H, W) over the window of 2 radius + 1 pixels a side around each pixel; windows end at the border."""
    for size, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        images = F.avg_pool2d(images, size, stride=1, padding=padding, count_include_pad=False)
    return images
