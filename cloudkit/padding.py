"""Running a network, which wants sizes that are multiples of 8, on images of any size."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MARGIN = 16  # pixels; about as far as a network sees that its convolutions' zeros are no image


def at_any_size(
    model: nn.Module, images: Tensor, multiple: int, outputs_of: Callable[[Tensor], Sequence[Tensor]]
) -> tuple[Tensor, ...]:
    """Run a network on images of any size, within a reflected margin, so that its maps have no frame along the border.

    Args:
        model: the network, on any device; it runs in eval mode.
        images: (C, H, W) or (N, C, H, W), floating, in [0, 1].
        multiple: height and width that the network takes are multiples of it.
        outputs_of: what is wanted of the network for a batch (N, C, H', W') on its device: maps (N, any, H', W').

    Returns:
        The maps, raw, cropped to (any, H, W) or (N, any, H, W), with the dtype and device of `images`.

    Raises:
        ValueError: images of another type, shape or range.
    """
    check_unit_images(images)
    batch = images if images.ndim == 4 else images[None]
    height, width = images.shape[-2:]
    with inference(model):
        outputs = outputs_of(with_margin(batch.to(next(model.parameters())), multiple))
    cropped = tuple(output[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width].to(images) for output in outputs)
    return cropped if images.ndim == 4 else tuple(output[0] for output in cropped)


def with_margin(images: Tensor, multiple: int) -> Tensor:
    """Extend (N, C, H, W) by `MARGIN` on each side, and at the bottom and right on to multiples of `multiple`.

    The border is reflected, or repeated along an axis that is too short to reflect.
    """
    height, width = images.shape[-2:]
    for axis, size in ((-1, width), (-2, height)):
        before, after = MARGIN, MARGIN + -(size + 2 * MARGIN) % multiple
        mode = "reflect" if after < size else "replicate"
        images = F.pad(images, (before, after, 0, 0) if axis == -1 else (0, 0, before, after), mode=mode)
    return images


def check_unit_images(images: Tensor) -> None:
    """Raise ValueError unless `images` is floating, (C, H, W) or (N, C, H, W), not empty, with values in [0, 1]."""
    if not isinstance(images, Tensor) or not images.dtype.is_floating_point:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images are {kind}, expected a floating tensor with values in [0, 1] (divide uint8 by 255).")
    if images.ndim not in (3, 4) or images.numel() == 0:
        raise ValueError(f"images have the shape {tuple(images.shape)}, expected (C, H, W) or (N, C, H, W), none of them 0.")
    low, high = torch.aminmax(images)
    if not (low >= 0 and high <= 1):  # so written that NaN fails too
        raise ValueError(f"images range from {low.item():g} to {high.item():g}, expected [0, 1] without NaN: scale them first.")


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Run without gradients and in eval mode; afterwards the model trains again if it did before."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)
