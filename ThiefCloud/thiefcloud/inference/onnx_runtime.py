"""Exported networks without PyTorch: this file needs numpy and onnxruntime alone, so copy it.

    import numpy as np
    import onnxruntime
    from onnx_runtime import restore

    session = onnxruntime.InferenceSession("model.onnx")
    images = np.random.rand(1, 3, 250, 300).astype(np.float32)  # (N, bands, H, W) in [0, 1]
    padded = np.pad(images, ((0, 0), (0, 0), (16, 22), (16, 20)), "reflect")  # multiples of 8
    maps = restore(session, padded, image_statistics(images))
    restored = maps["restored"][..., 16:266, 16:316].clip(0, 1)

Pad each side by 16 pixels or more, because networks are less sure along borders. Compute the
statistics before, because the padding is no part of the image. Parts of a large image share those
of the whole.
"""

import math

import numpy as np
import onnxruntime
from numpy.typing import NDArray

MULTIPLE = 8  # of which heights and widths must be multiples
_QUANTILES = (0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98)
_SAMPLED = 2**16  # pixels from which statistics are computed; more change nothing


def image_statistics(images: NDArray[np.floating]) -> NDArray[np.float32]:
    """Compute mean, standard deviation and seven quantiles of bands and of their differences.

    Pixels that are 0 in all bands hold no data, and do not count. Mean and deviation are
    those of the values clamped to the outermost quantiles.

    Args:
        images: (N, bands, H, W) in [0, 1], of any size, without padding.

    Returns:
        (N, 2 bands - 1, 9), as the input `statistics` of an exported network.
    """
    step = max(1, math.isqrt(images.shape[2] * images.shape[3] // _SAMPLED))
    sampled = images[..., ::step, ::step].reshape(*images.shape[:2], -1).astype(np.float32)
    found = []
    for image in sampled:
        valid = image.any(0)
        pixels = image[:, valid if valid.any() else ~valid]
        pixels = np.concatenate((pixels, pixels[:-1] - pixels[1:]))
        quantiles = np.moveaxis(np.quantile(pixels, _QUANTILES, axis=1), 0, 1)
        pixels = pixels.clip(quantiles[:, :1], quantiles[:, -1:])
        moments = (pixels.mean(1, keepdims=True), pixels.std(1, keepdims=True))
        found.append(np.concatenate((*moments, quantiles), axis=1))
    return np.stack(found).astype(np.float32)


def restore(
    session: onnxruntime.InferenceSession,
    images: NDArray[np.floating],
    statistics: NDArray[np.floating] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Run an exported network.

    Args:
        session: the network, as onnxruntime opens it.
        images: (N, bands, H, W) in [0, 1]; H and W multiples of 8.
        statistics: (N, 2 bands - 1, 9), those of the whole images if these are parts of them, or
            padded. Default: `image_statistics` of these images.

    Returns:
        The maps by name, not clamped: "restored", (N, bands, H, W), and "thickness", (N, 1, H, W),
        as far as the network has them.

    Raises:
        ValueError: the images have another shape.
    """
    inputs = {node.name: node.shape for node in session.get_inputs()}
    bands = inputs["image"][1]
    if images.ndim != 4 or images.shape[1] != bands:
        raise ValueError(f"images have the shape {images.shape}, expected (N, {bands}, H, W).")
    height, width = images.shape[2:]
    if height % MULTIPLE or width % MULTIPLE or images.size == 0:
        raise ValueError(
            f"images are {height}x{width} pixels, expected positive multiples of {MULTIPLE}: pad "
            "them, and crop the result."
        )

    feed = {"image": images.astype(np.float32)}
    if "statistics" in inputs:
        feed["statistics"] = image_statistics(images) if statistics is None else statistics
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))
