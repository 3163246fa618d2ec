"""Memory for training images: that of the host, or that of a GPU.

Both cut the same crops, bit for bit. Nothing here waits for a GPU, so batches are made while it
still computes.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import to_unit
from cloudkit.memory import send

Store = Literal["auto", "device", "host"]
_FRACTION = 0.25  # of a GPU's free memory that images may take; the rest is for training


class Crop(NamedTuple):
    """A square of an image, then flipped left to right, then rotated counter-clockwise."""

    image: int
    """Number of the image."""
    top: int
    left: int
    flip: bool
    rotations: int
    """Quarter turns, 0 to 3."""


class HostStore:
    """Images in host memory. Crops are cut one by one, then sent to the device together.

    Args:
        parts: for each file of a place, its images by place: uint8, int16 (see `stored_alike`) or
            float32, (bands, H, W).
        crop: side of the crops in pixels.
        device: device of the batches.
    """

    def __init__(self, parts: Sequence[Sequence[Tensor]], crop: int, device: torch.device) -> None:
        self._parts, self._side, self._device = parts, crop, device

    def crops(self, crops: Sequence[Crop]) -> list[Tensor]:
        """Return for each file of a place a batch (N, bands, crop, crop), float32 in [0, 1]."""
        return [self._batch(images, crops) for images in self._parts]

    def _batch(self, images: Sequence[Tensor], crops: Sequence[Crop]) -> Tensor:
        cut = [self._cut(images[crop.image], crop) for crop in crops]
        pinned = self._device.type == "cuda"  # memory that a GPU can read by itself
        batch = torch.empty(len(cut), *cut[0].shape, dtype=cut[0].dtype, pin_memory=pinned)
        torch.stack(cut, out=batch)
        return _to_float(batch.to(self._device, non_blocking=pinned))

    def _cut(self, image: Tensor, crop: Crop) -> Tensor:
        square = image[:, crop.top : crop.top + self._side, crop.left : crop.left + self._side]
        if crop.flip:
            square = square.flip(2)
        return torch.rot90(square, crop.rotations, (1, 2))


class DeviceStore:
    """Images in the device's memory, from which one indexing operation takes a whole batch.

    All images of a part lie in one row of values.

    Args:
        parts: as for `HostStore`; the images of one place have one size.
        crop: side of the crops in pixels.
        device: device of the images and the batches.

    Raises:
        UserError: the device has not enough memory.
    """

    def __init__(self, parts: Sequence[Sequence[Tensor]], crop: int, device: torch.device) -> None:
        self._side, self._device = crop, device
        self._sizes = [(image.shape[1], image.shape[2]) for image in parts[0]]
        self._starts = [0]  # pixels before each image
        for height, width in self._sizes:
            self._starts.append(self._starts[-1] + height * width)

        try:
            self._rows = [self._row(images) for images in parts]
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the training images need {size_of(parts) / 1e9:.2f} GB, more than {device} has "
                "free; choose --store host."
            ) from error

        self._along = torch.arange(crop, device=device)
        counts = [images[0].shape[0] for images in parts]
        self._bands = [torch.arange(count, device=device).view(-1, 1, 1) for count in counts]

    def _row(self, images: Sequence[Tensor]) -> Tensor:
        bands = images[0].shape[0]
        row = torch.empty(bands * self._starts[-1], dtype=images[0].dtype, device=self._device)
        for image, first in zip(images, self._starts, strict=False):
            row[bands * first :][: image.numel()].copy_(image.flatten())
        return row

    def crops(self, crops: Sequence[Crop]) -> list[Tensor]:
        """Return for each file of a place a batch (N, bands, crop, crop), float32 in [0, 1]."""
        numbers = send(torch.tensor([self._numbers(crop) for crop in crops]), self._device)
        start, plane, corner, down, right = numbers.view(len(crops), -1, 1, 1, 1).unbind(1)
        pixels = corner + down * self._along[:, None] + right * self._along

        batches = []
        for row, bands in zip(self._rows, self._bands, strict=True):
            batches.append(_to_float(row[start * len(bands) + plane * bands + pixels]))
        return batches

    def _numbers(self, crop: Crop) -> tuple[int, int, int, int, int]:
        """Return where a crop lies in the row of values, in pixels.

        Returns:
            Start of the image, size of one band, start of the crop within a band, and the steps
            from one pixel to the next down and to the right.
        """
        height, width = self._sizes[crop.image]
        corner, down, right = crop.top * width + crop.left, width, 1
        if crop.flip:
            corner, right = corner + self._side - 1, -1
        for _ in range(crop.rotations):
            corner, down, right = corner + (self._side - 1) * right, -right, down
        return self._starts[crop.image], height * width, corner, down, right


def open_store(
    store: Store, parts: Sequence[Sequence[Tensor]], crop: int, device: torch.device
) -> HostStore | DeviceStore:
    """Put images into the memory that `store` names.

    "auto" is the device's memory if it is a GPU with enough room, else the host's.

    Raises:
        UserError: "device" is asked for, and it has not enough memory.
    """
    if store == "device" or (store == "auto" and _has_room(device, size_of(parts))):
        return DeviceStore(parts, crop, device)
    return HostStore(parts, crop, device)


def size_of(parts: Sequence[Sequence[Tensor]]) -> int:
    """Return the number of bytes of all images."""
    return sum(image.nbytes for images in parts for image in images)


def _has_room(device: torch.device, size: int) -> bool:
    return device.type == "cuda" and size <= _FRACTION * torch.cuda.mem_get_info(device)[0]


def stored_alike(images: Sequence[Tensor]) -> list[Tensor]:
    """Convert images to one type that stores can index.

    uint8 stays. uint16 becomes int16 of the same bits, because few kernels take uint16. Images of
    different types all become float32 in [0, 1].

    Args:
        images: uint8, uint16, or float32 in [0, 1].
    """
    if len({image.dtype for image in images}) > 1:
        return [to_unit(image) for image in images]
    if images[0].dtype == torch.uint16:
        return [image.view(torch.int16) for image in images]
    return list(images)


def _to_float(stored: Tensor) -> Tensor:
    """Convert stored pixels as `to_unit` does, equal to the last bit on every device."""
    if stored.dtype.is_floating_point:
        return stored
    peak = torch.iinfo(torch.uint8 if stored.dtype == torch.uint8 else torch.uint16).max
    if stored.dtype == torch.int16:
        stored = stored.to(torch.int32).bitwise_and_(peak)
    # Divide by a tensor: a GPU would multiply with the reciprocal of a number, which rounds
    # differently.
    return stored.to(torch.float32).div_(torch.full((), float(peak), device=stored.device))
