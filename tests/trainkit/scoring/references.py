"""Images to score, and each protocol computed with NumPy, SciPy, scikit-image and Pillow."""

import math

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from tests.helpers import noise
from trainkit.scoring.protocols import Protocol

EXACT: list[Protocol] = ["plain", "thiefcloud", "dehazeformer", "matlab-y"]
SIX_DB = 20 * math.log10(2)
SIZE = 144  # above the smallest size of every protocol
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def scene(
    size: int, width: int | None = None, *, seed: int = 0, harm: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return a soft, noisy, tinted image and its clear one in 8-bit levels, (3, H, W) in [0, 1]."""
    random = np.random.default_rng(seed)
    shape = (size, width or size)
    texture = sum(
        gaussian_filter(random.normal(size=shape), s, mode="wrap") * s * a
        for s, a in ((1, 0.15), (4, 0.5), (20, 1))
    )
    bands = np.stack(
        [0.4 + 0.08 * b + 0.08 * texture + 0.02 * random.normal(size=shape) for b in range(3)]
    )
    clear = np.round(255 * bands.clip(0.15, 0.85)) / 255
    soft = np.stack([gaussian_filter(band, 1.0 * harm) for band in clear])
    haze = 0.1 * harm * gaussian_filter(random.normal(size=shape), 25, mode="wrap") * 25
    restored = (
        soft
        + haze
        + np.array([0.03, 0.0, -0.02])[:, None, None] * harm
        + 0.01 * harm * random.normal(size=(3, *shape))
    )
    return torch.from_numpy(restored.clip(0.05, 0.95)).float(), torch.from_numpy(clear).float()


def raw(size: int, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Return such images with restored values below -1, below 0 and above 1, as of networks."""
    restored, clear = scene(size, width)
    restored = 1.6 * restored - 0.3 + 0.4 * (noise(3, height=size, width=width or size) - 0.5)
    restored[:, 40, 40:44] = torch.tensor([-1.5, -0.4, 1.3, 2.5])
    assert restored.min() < -1
    assert restored.max() > 1
    return restored, clear


def arrays(*images: Tensor) -> list[np.ndarray]:
    """Return the images as (H, W, 3) in float64."""
    return [image.permute(1, 2, 0).double().numpy() for image in images]


def reference_plain(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    x = np.clip(x, 0, 1)
    return {
        "psnr": peak_signal_noise_ratio(y, x, data_range=1),
        "ssim": structural_similarity(x, y, channel_axis=-1, data_range=1),
        "ssim_gaussian": structural_similarity(x, y, channel_axis=-1, data_range=1, **GAUSSIAN),
    }


def adaptive_pool(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pool as PyTorch does: cell i of n is from floor(i H / n) to ceil((i + 1) H / n)."""
    for cells in (height, width):
        length = image.shape[0]
        means = []
        for i in range(cells):
            means.append(image[i * length // cells : -(-(i + 1) * length // cells)].mean(axis=0))
        image = np.stack(means).swapaxes(0, 1)
    return image


def pooled_ssim(x: np.ndarray, y: np.ndarray) -> float:
    ratio = max(1, round(min(x.shape[:2]) / 256))
    size = int(x.shape[0] / ratio), int(x.shape[1] / ratio)
    x, y = adaptive_pool(x, *size), adaptive_pool(y, *size)
    return structural_similarity(x, y, channel_axis=-1, data_range=1, **GAUSSIAN)


def reference_thiefcloud(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    x, y = 0.5 * np.clip(x, -1, 1) + 0.5, 0.5 * y + 0.5
    return {"psnr": 10 * np.log10(1 / ((x - y) ** 2).mean()), "ssim": pooled_ssim(x, y)}


def reference_dehazeformer(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    x = np.clip(x, 0, 1)
    return {"psnr": 10 * np.log10(1 / ((x - y) ** 2).mean()), "ssim": pooled_ssim(x, y)}


def wang_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Compute ssim_index.m of Wang et al. for levels of 0 to 255, line by line."""
    grid = np.arange(-5, 6)
    window = np.exp(-(grid[:, None] ** 2 + grid[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu1, mu2 = convolve2d(x, window, "valid"), convolve2d(y, window, "valid")
    sigma1 = convolve2d(x * x, window, "valid") - mu1**2
    sigma2 = convolve2d(y * y, window, "valid") - mu2**2
    sigma12 = convolve2d(x * y, window, "valid") - mu1 * mu2
    ratio = (
        (2 * mu1 * mu2 + c1)
        * (2 * sigma12 + c2)
        / ((mu1**2 + mu2**2 + c1) * (sigma1 + sigma2 + c2))
    )
    return ratio.mean()


def reference_matlab_y(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    levels = [np.floor(255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8) for image in (x, y)]
    luma = [np.floor(rgb2ycbcr(image)[..., 0] + 0.5 + 1e-9) for image in levels]
    return {
        "psnr": 10 * np.log10(255**2 / ((luma[0] - luma[1]) ** 2).mean()),
        "ssim": wang_ssim(*luma),
    }


def reference_spagan(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    gray = [
        np.tensordot(np.clip(image, 0, 1)[..., ::-1], [0.298912, 0.586611, 0.114478], axes=1)
        for image in (x, y)
    ]
    return {
        "psnr": peak_signal_noise_ratio(*gray, data_range=1),
        "ssim": structural_similarity(*gray, data_range=2),
    }


def reduced(image: np.ndarray) -> np.ndarray:
    """Resize to 256x256 with Pillow, band by band in float32."""
    bands = []
    for band in np.moveaxis(image.astype(np.float32), -1, 0):
        resized = Image.fromarray(band).resize((256, 256), Image.Resampling.BILINEAR)
        bands.append(np.asarray(resized))
    return np.stack(bands, axis=-1).astype(np.float64)


def reference_sui(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    images = [np.clip(image, 0, 1) for image in (x, y)]
    if max(x.shape) > 256:
        images = [reduced(image) for image in images]
    levels = [(255 * image + 1e-6).astype(np.uint8) for image in images]
    gray = [np.floor(image @ np.array([0.299, 0.587, 0.114]) + 0.5 + 1e-9) for image in levels]
    return {
        "psnr": peak_signal_noise_ratio(*levels, data_range=255),
        "ssim": structural_similarity(*gray, win_size=7, data_range=255),
    }


def reference_rsdformer(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    x, y = np.clip(x, 0, 1)[64:-64, 64:-64], y[64:-64, 64:-64]
    errors = ((x - y) ** 2).mean(axis=(0, 1))
    return {
        "psnr": np.mean(-10 * np.log10(errors)),
        "ssim": structural_similarity(x, y, channel_axis=-1, data_range=1, **GAUSSIAN),
    }


def reference_geocr(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {
        "psnr": peak_signal_noise_ratio(y, x, data_range=1),
        "ssim": structural_similarity(x, y, channel_axis=-1, data_range=1),
    }


REFERENCES = {
    "plain": reference_plain,
    "thiefcloud": reference_thiefcloud,
    "dehazeformer": reference_dehazeformer,
    "matlab-y": reference_matlab_y,
    "spagan": reference_spagan,
    "sui": reference_sui,
    "rsdformer": reference_rsdformer,
    "geocr": reference_geocr,
}
