"""The even veil: what one look at an image's statistics says of its haze, taken away before the network begins.

Haze that is even over the image changes every pixel of a band in one way, I = J t + A (1 - t) with the transmission t and the
air light A (Koschmieder 1924), so the clear image is J = k I + b with k = 1 / t and b = A (1 - k). Two numbers a band, which
convolutions see badly, since they look at a neighbourhood, but which the image's histogram nearly tells: real ground has dark
places and a usual contrast. The same law maps statistics to statistics, so the estimator learns from these alone, in a minute.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

_QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_STATISTICS = len(_QUANTILES) + 2  # with mean and standard deviation, which come first
_LOOKED_AT = 2**16  # pixels of an image; more say nothing new
_OF_BANDS = 0.1  # how freely bands may differ, beside what they share: haze is nearly gray
_NOISE = 0.01  # on the statistics in fitting, so that they are not known by heart
_CLEAR = 0.15  # share of the images under no veil
_SMALLEST_ERROR = 1e-5  # in the mean square; below it nothing is to be gained


class EvenVeil(nn.Module):
    """Estimates an even veil from the statistics of an image, and takes it away.

    `fit_veil` fits it before the network is trained; after that it stays as it is. Unfitted it changes nothing.

    Args:
        bands: of the images.

    Shape: (N, bands, H, W) in [0, 1] to the same, not clamped.
    """

    def __init__(self, bands: int = 3) -> None:
        super().__init__()
        self.bands = bands
        layers = (nn.Linear(bands * _STATISTICS, 64), nn.Linear(64, 64), nn.Linear(64, 2 + 2 * bands))
        self.estimate = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        nn.init.zeros_(layers[2].weight)
        nn.init.zeros_(layers[2].bias)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """The images k I + b."""
        with torch.autocast(images.device.type, enabled=False):  # half precision would show as a cast
            gain, offset = self.gain_and_offset(statistics(images))
            return torch.addcmul(offset[..., None, None], gain[..., None, None], images)

    def gain_and_offset(self, of_images: Tensor) -> tuple[Tensor, Tensor]:
        """k and b, each (N, bands), from `statistics` (N, bands, 11)."""
        shared_gain, shared_offset, gains, offsets = self.estimate(4 * (of_images.flatten(1) - 0.4)).split(
            (1, 1, self.bands, self.bands), dim=1
        )
        return torch.exp(shared_gain + _OF_BANDS * gains), (shared_offset + _OF_BANDS * offsets) / 2


def statistics(images: Tensor) -> Tensor:
    """Mean, standard deviation and quantiles of each band: (N, bands, H, W) to float32 (N, bands, 11)."""
    step = max(1, math.isqrt(images.shape[-2] * images.shape[-1] // _LOOKED_AT))
    pixels = images[..., ::step, ::step].flatten(2).float()
    quantiles = torch.quantile(pixels, torch.tensor(_QUANTILES, device=images.device), dim=2).movedim(0, 2)
    return torch.cat((pixels.mean(2, keepdim=True), pixels.std(2, correction=0, keepdim=True), quantiles), dim=2)


class Seen(NamedTuple):
    """What fitting knows of images, for each band: (N, bands, ...)."""

    cloudy: Tensor
    """`statistics` of the cloudy images."""
    clear: Tensor
    """The same of the clear ones."""
    product: Tensor
    """(N, bands): mean of cloudy times clear."""

    def squared_error(self, gain: Tensor, offset: Tensor) -> Tensor:
        """Mean squared error (N,) of gain * cloudy + offset, which moments tell without a pixel."""
        (mean, deviation), (clear_mean, clear_deviation) = (part[..., :2].unbind(2) for part in (self.cloudy, self.clear))
        difference = gain * mean + offset - clear_mean
        covariance = self.product - mean * clear_mean
        variance = (gain * deviation).square() + clear_deviation.square() - 2 * gain * covariance
        return (difference.square() + variance).mean(1).clamp_min(0)


def see(cloudy: Tensor, clear: Tensor) -> Seen:
    """What fitting needs of pairs (N, bands, H, W)."""
    return Seen(statistics(cloudy), statistics(clear), (cloudy * clear).mean((2, 3)))


def veiled(clear: Tensor, random: torch.Generator) -> Seen:
    """The same of clear images under random even veils, without a pixel: statistics change as the pixels do.

    Args:
        clear: `statistics` of the clear images (N, bands, 11), the longest wavelength first, as in RGB: haze dims it least.
        random: on the CPU.
    """
    count, bands, _ = clear.shape
    device = clear.device
    share = torch.rand(4, count, 1, 1, generator=random).to(device)
    transmission = torch.where(share[0] < _CLEAR, 1.0, 1 - 0.92 * share[1])
    transmission = transmission ** (1 + 0.2 * share[3] * torch.linspace(-1, 1, bands, device=device).view(1, -1, 1))
    air_light = 1 - 0.6 * share[2] ** 1.5 - 0.03 * torch.rand(count, bands, 1, generator=random).to(device)
    added = air_light * (1 - transmission)
    cloudy = clear * transmission + added
    cloudy[..., 1:2] -= added  # a deviation does not shift
    mean, deviation = clear[..., :1], clear[..., 1:2]
    product = mean * cloudy[..., :1] + transmission * deviation.square()
    return Seen(cloudy, clear, product.squeeze(2))


def fit_veil(
    veil: EvenVeil,
    pairs: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    batch: int = 192,
    rate: float = 2e-3,
    seed: int = 0,
    show_progress: bool = True,
) -> float:
    """Fit the estimator to what a data set's images look like, and to even veils drawn over its clear ones.

    Args:
        veil: what is fitted, in place; afterwards its weights take no gradients.
        pairs: cloudy and clear images (N, bands, H, W), of any sizes; each is looked at once.
        steps, batch, rate: of Adam; the rate falls to 0 as a cosine.
        seed: of the veils, of the order, and of the noise on the statistics.
        show_progress: whether to show progress bars.

    Returns:
        Root mean square error over those pairs.
    """
    bar = tqdm(pairs, desc="looking at haze", unit="image", leave=False, disable=not show_progress)
    looks = [see(cloudy, clear) for cloudy, clear in bar]
    seen = Seen(*(torch.cat(parts) for parts in zip(*looks, strict=True)))
    random = torch.Generator().manual_seed(seed)
    device = seen.cloudy.device

    def some(count: int) -> Tensor:
        return torch.randint(len(seen.cloudy), (count,), generator=random).to(device)

    veil.requires_grad_(True)
    optimizer = torch.optim.Adam(veil.parameters(), lr=rate)
    with torch.enable_grad():
        for step in tqdm(range(steps), desc="fitting the even veil", unit="step", leave=False, disable=not show_progress):
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            chosen = some(batch - batch // 2)
            parts = zip(Seen(*(part[chosen] for part in seen)), veiled(seen.clear[some(batch // 2)], random), strict=True)
            both = Seen(*(torch.cat(part) for part in parts))
            noise = _NOISE * torch.randn(both.cloudy.shape, generator=random).to(device)
            error = both.squared_error(*veil.gain_and_offset(both.cloudy + noise))
            loss = (error + _SMALLEST_ERROR).sqrt().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    veil.requires_grad_(False)
    return float(seen.squared_error(*veil.gain_and_offset(seen.cloudy)).mean().sqrt())
