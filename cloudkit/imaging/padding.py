"""Networks that need sizes divisible by 8, on images of any size."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MARGIN = 16  # pixels; about the range of the zeros that convolutions pad with


def at_any_size(
    model: nn.Module,
    images: Tensor,
    multiple: int,
    outputs_of: Callable[[Tensor], Sequence[Tensor]],
) -> tuple[Tensor, ...]:
    """Run a network on images of any size, within a reflected margin against border artefacts.

    Args:
        model: the network, on any device; it runs in eval mode.
        images: (C, H, W) or (N, C, H, W), floating, in [0, 1].
        multiple: number that divides the heights and widths that the network accepts.
        outputs_of: returns the wanted maps (N, any, H', W') of a batch (N, C, H', W') on the device
            of the network.

    Returns:
        The maps, raw, cropped to (any, H, W) or (N, any, H, W), with the dtype and device of
        `images`.

    Raises:
        ValueError: the images have another type, shape or range.
    """
    check_unit_images(images)
    batch = images if images.ndim == 4 else images[None]
    with inference(model):
        outputs = outputs_of(with_margin(batch.to(next(model.parameters())), multiple))

    height, width = images.shape[-2:]
    rows, columns = slice(MARGIN, MARGIN + height), slice(MARGIN, MARGIN + width)
    cropped = tuple(output[..., rows, columns].to(images) for output in outputs)
    return cropped if images.ndim == 4 else tuple(output[0] for output in cropped)


def with_margin(images: Tensor, multiple: int) -> Tensor:
    """Pad (N, C, H, W) by `MARGIN` on each side, and further at the bottom and the right.

    Height and width become divisible by `multiple`. The border is reflected, or repeated along an
    axis that is too short to reflect.
    """
    height, width = images.shape[-2:]
    for axis, size in ((-1, width), (-2, height)):
        after, mode = _padding(size, multiple)
        padding = (MARGIN, after, 0, 0) if axis == -1 else (0, 0, MARGIN, after)
        images = F.pad(images, padding, mode=mode)
    return images


def lines_with_margin(size: int, multiple: int) -> Tensor:
    """Return the line of an image that each line of `with_margin` shows, for an axis of a size."""
    after, mode = _padding(size, multiple)
    lines = torch.arange(size, dtype=torch.float64)
    return F.pad(lines[None], (MARGIN, after), mode=mode)[0].long()


def _padding(size: int, multiple: int) -> tuple[int, str]:
    """Return the lines to add at the end of an axis, and the mode of padding."""
    after = MARGIN + -(size + 2 * MARGIN) % multiple
    return after, "reflect" if after < size else "replicate"


def check_unit_images(images: Tensor, bands: int | None = None) -> None:
    """Check images: floating, (C, H, W) or (N, C, H, W), not empty, in [0, 1].

    Args:
        images: what a user gave.
        bands: the number C that a network takes. Default: any.

    Raises:
        ValueError: the type, shape or range is another one.
    """
    if not isinstance(images, Tensor):
        remedy = "read_unit of cloudkit.imaging.images reads a file"
        if type(images).__module__ == "numpy":
            remedy = "convert it by torch.from_numpy(image)"
        raise ValueError(
            f"images are {type(images).__name__}, expected a floating tensor with values in "
            f"[0, 1]: {remedy}."
        )
    if not images.dtype.is_floating_point:
        raise ValueError(
            f"images are {images.dtype}, expected a floating tensor with values in [0, 1]: scale "
            "them, for example divide uint8 by 255."
        )
    if images.ndim not in (3, 4) or images.numel() == 0:
        raise ValueError(
            f"images have the shape {tuple(images.shape)}, "
            "expected (C, H, W) or (N, C, H, W), none of them 0."
        )
    if bands is not None and images.shape[-3] != bands:
        remedy = f"give the network's {bands} bands"
        if images.shape[-1] == bands:
            order = "2, 0, 1" if images.ndim == 3 else "0, 3, 1, 2"
            remedy = f"move the colours first: image.permute({order})"
        raise ValueError(
            f"images have the shape {tuple(images.shape)}, so {images.shape[-3]} bands, expected "
            f"({bands}, H, W) or (N, {bands}, H, W): {remedy}."
        )

    low, high = torch.aminmax(images)
    if not (low >= 0 and high <= 1):  # NaN must fail, too
        raise ValueError(
            f"images range from {low.item():g} to {high.item():g}, "
            "expected [0, 1] without NaN: scale them first."
        )


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Disable gradients and set eval mode; restore the model's mode afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)
