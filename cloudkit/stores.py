"""Where training images lie, and how a batch of crops is cut from them there: host memory, or the memory of the device.

Both give the same batches, bit for bit. On a GPU nothing here waits for the device, so batches are made while it still computes.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.images import to_unit

Store = Literal["auto", "device", "host"]
_SHARE = 0.25  # of a GPU's free memory that images may take; the rest is for training


class Cut(NamedTuple):
    """One crop: a square of an image, then mirrored left to right, then turned counter-clockwise."""

    image: int
    """Its number."""
    top: int
    left: int
    mirrored: bool
    turns: int
    """Quarters, 0 to 3."""


class HostStore:
    """Images in host memory: crops are cut and turned one by one as they are stored, then sent together.

    Args:
        parts: for each file of a place its images by place, uint8, int16 (see `stored_alike`) or float32, (bands, H, W).
        crop: side of the crops in pixels.
        device: where batches go.
    """

    def __init__(self, parts: Sequence[Sequence[Tensor]], crop: int, device: torch.device) -> None:
        self._parts, self._crop, self._device = parts, crop, device

    def crops(self, cuts: Sequence[Cut]) -> list[Tensor]:
        """For each file of a place the batch (N, bands, crop, crop), float32 in [0, 1], on the device."""
        return [self._batch([self._cut(images[cut.image], cut) for cut in cuts]) for images in self._parts]

    def _cut(self, image: Tensor, cut: Cut) -> Tensor:
        crop = image[:, cut.top : cut.top + self._crop, cut.left : cut.left + self._crop]
        return torch.rot90(crop.flip(2) if cut.mirrored else crop, cut.turns, (1, 2))

    def _batch(self, crops: Sequence[Tensor]) -> Tensor:
        pinned = self._device.type == "cuda"  # what a GPU can fetch by itself
        batch = torch.empty(len(crops), *crops[0].shape, dtype=crops[0].dtype, pin_memory=pinned)
        torch.stack(list(crops), out=batch)
        return _unit(batch.to(self._device, non_blocking=pinned))


class DeviceStore:
    """Images in the device's memory, all of a part in one row of values, from which one gather takes a whole batch.

    Args:
        parts: as for `HostStore`; the images of one place have one size.
        crop: side of the crops in pixels.
        device: where images lie and batches are made.

    Raises:
        UserError: the memory does not suffice.
    """

    def __init__(self, parts: Sequence[Sequence[Tensor]], crop: int, device: torch.device) -> None:
        self._crop, self._device = crop, device
        self._sizes = [(image.shape[1], image.shape[2]) for image in parts[0]]
        self._starts = [0]  # pixels before each image; times the bands, values before it
        for height, width in self._sizes:
            self._starts.append(self._starts[-1] + height * width)
        try:
            self._rows = [self._row(images) for images in parts]
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the training images need {size_of(parts) / 1e9:.2f} GB, more than {device} has free; choose --store host."
            ) from error
        self._along = torch.arange(crop, device=device)
        self._bands = [torch.arange(images[0].shape[0], device=device).view(-1, 1, 1) for images in parts]

    def _row(self, images: Sequence[Tensor]) -> Tensor:
        bands = images[0].shape[0]
        row = torch.empty(bands * self._starts[-1], dtype=images[0].dtype, device=self._device)
        for image, first in zip(images, self._starts, strict=False):
            row[bands * first :][: image.numel()].copy_(image.flatten())
        return row

    def crops(self, cuts: Sequence[Cut]) -> list[Tensor]:
        """For each file of a place the batch (N, bands, crop, crop), float32 in [0, 1], on the device."""
        numbers = send(torch.tensor([self._numbers(cut) for cut in cuts]), self._device)
        start, plane, corner, down, right = numbers.view(len(cuts), -1, 1, 1, 1).unbind(1)
        within = corner + down * self._along[:, None] + right * self._along
        return [
            _unit(row[start * len(bands) + plane * bands + within]) for row, bands in zip(self._rows, self._bands, strict=True)
        ]

    def _numbers(self, cut: Cut) -> tuple[int, int, int, int, int]:
        """In pixels: where the image starts, the size of its bands, where the crop starts in them, its steps down and right."""
        height, width = self._sizes[cut.image]
        corner, down, right = cut.top * width + cut.left, width, 1
        if cut.mirrored:
            corner, right = corner + self._crop - 1, -1
        for _ in range(cut.turns):
            corner, down, right = corner + (self._crop - 1) * right, -right, down
        return self._starts[cut.image], height * width, corner, down, right


def open_store(store: Store, parts: Sequence[Sequence[Tensor]], crop: int, device: torch.device) -> HostStore | DeviceStore:
    """The store of that name; "auto" is the device if it is a GPU with room for the images, else the host.

    Raises:
        UserError: "device" is asked for, and its memory does not suffice.
    """
    if store == "device" or (store == "auto" and _has_room(device, size_of(parts))):
        return DeviceStore(parts, crop, device)
    return HostStore(parts, crop, device)


def size_of(parts: Sequence[Sequence[Tensor]]) -> int:
    """Bytes of all images."""
    return sum(image.nbytes for images in parts for image in images)


def _has_room(device: torch.device, size: int) -> bool:
    return device.type == "cuda" and size <= _SHARE * torch.cuda.mem_get_info(device)[0]


def stored_alike(images: Sequence[Tensor]) -> list[Tensor]:
    """Images as stores keep them: uint8 as it is, uint16 as int16 of the same bits, and if types differ all as float32 in [0, 1].

    Few kernels take uint16, on a GPU fewer still.

    Args:
        images: uint8, uint16, or float32 in [0, 1].
    """
    if len({image.dtype for image in images}) > 1:
        return [to_unit(image) for image in images]
    return [image.view(torch.int16) if image.dtype == torch.uint16 else image for image in images]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor from the CPU to the device, without waiting for what a GPU has still to do."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _unit(stored: Tensor) -> Tensor:
    """Pixels of a store as `cloudkit.images.to_unit` gives them, to the last bit on every device."""
    if stored.dtype.is_floating_point:
        return stored
    peak = torch.iinfo(torch.uint8 if stored.dtype == torch.uint8 else torch.uint16).max
    if stored.dtype == torch.int16:
        stored = stored.to(torch.int32).bitwise_and_(peak)
    # by a tensor on the device: by a number a GPU would multiply with its reciprocal, which rounds differently
    return stored.to(torch.float32).div_(torch.full((), float(peak), device=stored.device))
