import copy
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import to_unit
from cloudkit.memory import send
from trainkit.data.stores import (
    Crop,
    DeviceStore,
    HostStore,
    Store,
    open_store,
    size_of,
    stored_alike,
)

CPU = torch.device("cpu")
CROP = 8
SIZES = [(8, 8), (13, 10), (9, 40), (33, 8)]
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def pixels(dtype: torch.dtype, *shape: int) -> Tensor:
    """Random pixels over the whole range of a type."""
    random = np.random.default_rng(sum(shape))
    if dtype == torch.float32:
        return torch.from_numpy(random.random(shape, np.float32))
    values = random.integers(0, torch.iinfo(dtype).max, shape, np.uint16, endpoint=True)
    return torch.from_numpy(values).to(dtype)


def images(*dtypes: torch.dtype, bands: int = 3) -> list[Tensor]:
    """An image of each size, of each type in turn."""
    return [pixels(dtypes[number % len(dtypes)], bands, *size) for number, size in enumerate(SIZES)]


PARTS = {
    "8 bits": [images(torch.uint8), images(torch.uint8)],
    "8 bits and 16": [images(torch.uint8), images(torch.uint16, bands=1)],
    "floats": [images(torch.float32)],
    "mixed": [
        images(torch.uint8, torch.uint16, torch.float32),
        images(torch.uint16, torch.uint8, bands=1),
    ],
}
each_part = pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)


def random_crops(count: int = 60) -> list[Crop]:
    """Crops of all images in all orientations, those at each corner among them."""
    random = np.random.default_rng(0)
    crops = []
    for number in range(count):
        image, rotations = number % len(SIZES), number // len(SIZES) % 4
        top, left = (position(size - CROP, random) for size in SIZES[image])
        crops.append(Crop(image, top, left, bool(random.integers(2)), rotations))
    return crops


def position(last: int, random: np.random.Generator) -> int:
    """The first position, the last, or one between."""
    return int(random.choice([0, last, int(random.integers(last + 1))]))


def one_by_one(part: list[Tensor]) -> Tensor:
    """The batch by the definition: cut, converted, flipped, rotated."""
    batch = []
    for crop in random_crops():
        image = part[crop.image]
        square = to_unit(image[:, crop.top : crop.top + CROP, crop.left : crop.left + CROP])
        if crop.flip:
            square = square.flip(2)
        batch.append(torch.rot90(square, crop.rotations, (1, 2)))
    return torch.stack(batch)


def assert_exact(
    store: HostStore | DeviceStore, parts: list[list[Tensor]], device: torch.device
) -> None:
    batches = store.crops(random_crops())
    assert len(batches) == len(parts)
    for batch, part in zip(batches, parts, strict=True):
        assert batch.device.type == device.type
        assert batch.dtype == torch.float32
        assert torch.equal(batch.cpu(), one_by_one(part))


@each_part
@pytest.mark.parametrize("kind", [HostStore, DeviceStore])
def test_batches_are_bit_equal_to_crops_one_by_one(
    kind: Callable[..., HostStore | DeviceStore], parts: list[list[Tensor]]
) -> None:
    before = copy.deepcopy(parts)
    store = kind([stored_alike(part) for part in parts], CROP, CPU)
    assert_exact(store, parts, CPU)
    store.crops(random_crops())[0].zero_()  # a batch belongs to its receiver
    assert_exact(store, parts, CPU)
    for part, copies in zip(parts, before, strict=True):
        assert all(map(torch.equal, part, copies))


@gpu
@each_part
@pytest.mark.parametrize("kind", [HostStore, DeviceStore])
def test_batches_on_a_gpu_are_bit_equal_and_wait_for_nothing(
    kind: Callable[..., HostStore | DeviceStore], parts: list[list[Tensor]]
) -> None:
    device = torch.device("cuda")
    store = kind([stored_alike(part) for part in parts], CROP, device)
    assert_exact(store, parts, device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        store.crops(random_crops())
        send(torch.ones(3), device)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", [HostStore, DeviceStore])
def test_every_stored_value_becomes_that_of_to_unit(
    kind: Callable[..., HostStore | DeviceStore],
) -> None:
    deep = torch.from_numpy(np.arange(2**16, dtype=np.uint16)).view(1, 256, 256)
    shallow = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    for image in (deep, shallow):
        side = image.shape[-1]
        (batch,) = kind([stored_alike([image])], side, CPU).crops([Crop(0, 0, 0, False, 0)])
        assert torch.equal(batch[0], to_unit(image))


def test_types_are_kept_but_where_they_differ() -> None:
    kept = {}
    for name, (part, *_) in PARTS.items():
        kept[name] = {image.dtype for image in stored_alike(part)}
    assert kept["8 bits"] == {torch.uint8}
    assert kept["floats"] == kept["mixed"] == {torch.float32}

    deep = images(torch.uint16)
    stored = stored_alike(deep)
    assert {image.dtype for image in stored} == {torch.int16}
    assert [image.data_ptr() for image in stored] == [image.data_ptr() for image in deep]  # no copy
    count = sum(height * width for height, width in SIZES)
    assert size_of([stored, images(torch.uint8)]) == 3 * 3 * count


def test_the_host_keeps_images_as_they_are() -> None:
    """One copy in memory, not two."""
    part = images(torch.uint8)
    store = HostStore([part], CROP, CPU)
    assert store._parts[0] is part


@pytest.mark.parametrize(
    ("free", "size", "expected"), [(4000, 1000, DeviceStore), (3999, 1000, HostStore)]
)
def test_auto_leaves_room_for_training(
    monkeypatch: pytest.MonkeyPatch, free: int, size: int, expected: type[HostStore | DeviceStore]
) -> None:
    made: list[tuple] = []
    for kind in (HostStore, DeviceStore):
        monkeypatch.setattr(
            f"trainkit.data.stores.{kind.__name__}",
            lambda *arguments, kind=kind: made.append((kind, arguments)),
        )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))

    parts, device = [[torch.zeros(1, 10, size // 10, dtype=torch.uint8)]], torch.device("cuda")
    open_store("auto", parts, CROP, device)
    assert made == [(expected, (parts, CROP, device))]
    open_store("host", parts, CROP, device)
    open_store("device", parts, CROP, device)
    assert [kind for kind, _ in made[1:]] == [HostStore, DeviceStore]


@pytest.mark.parametrize("store", get_args(Store))
def test_the_cpu_has_one_memory(store: Store) -> None:
    found = open_store(store, [stored_alike(images(torch.uint8))], CROP, CPU)
    assert type(found) is (DeviceStore if store == "device" else HostStore)


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    part = [torch.zeros(1, 1000, 10000, dtype=torch.uint8).expand(3, -1, -1)]
    monkeypatch.setattr(torch, "empty", full)
    message = r"need 0\.03 GB, more than cpu has free; choose --store host"
    with pytest.raises(UserError, match=message):
        DeviceStore([part], CROP, CPU)
