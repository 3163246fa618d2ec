from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import check_same_size, write_image
from cloudkit.processes import Processes
from tests.helpers import noise
from trainkit.data.crops import CropDataset
from trainkit.data.sampling import SampleIndex, StepSampler, batch_loader

CPU = torch.device("cpu")
MakeDataset = Callable[..., CropDataset]


@pytest.fixture(params=["host", "device"])
def dataset_of(tmp_path: Path, request: pytest.FixtureRequest) -> MakeDataset:
    """Write the images of some places and open them, in either memory."""

    def make(*places: tuple[Tensor, ...], crop: int, bits: int = 16) -> CropDataset:
        files = []
        for number, images in enumerate(places):
            paths = tuple(tmp_path / f"{number}_{part}.tif" for part in range(len(images)))
            for path, image in zip(paths, images, strict=True):
                write_image(path, image, bits=bits)
            files.append(paths)

        bands = tuple(image.shape[0] for image in places[0])
        return CropDataset(files, bands, crop, CPU, store=request.param, show_progress=False)

    return make


def numbered(height: int, width: int) -> Tensor:
    """An image whose 16-bit values are the positions of its pixels."""
    return torch.arange(height * width).view(1, height, width).double() / 65535


def orientations(image: Tensor) -> set[bytes]:
    found = set()
    for original in (image, image.flip(2)):
        for rotations in range(4):
            found.add(torch.rot90(original, rotations, (1, 2)).contiguous().numpy().tobytes())
    return found


def samples(count: int, index: int = 0) -> list[SampleIndex]:
    return [SampleIndex(index, (0, number)) for number in range(count)]


def test_all_orientations_occur_and_none_else(dataset_of: MakeDataset) -> None:
    image = numbered(8, 8)
    (crops,) = dataset_of((image,), crop=8).__getitems__(samples(100))
    assert {crop.numpy().tobytes() for crop in crops} == orientations(image.float())


def test_crops_are_blocks_from_everywhere(dataset_of: MakeDataset) -> None:
    height, width = 13, 10
    (crops,) = dataset_of((numbered(height, width),), crop=8).__getitems__(samples(200))
    corners = set()
    for values in (crops * 65535).round().long():
        rows, columns = values // width, values % width
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (7, 7)
        assert len(values.unique()) == 64
        corners.add((int(rows.min()), int(columns.min())))
    assert corners == {(top, left) for top in range(6) for left in range(3)}


def test_a_sample_decides_its_crop_for_good(dataset_of: MakeDataset) -> None:
    """Position, then flip, then rotation, by numpy from the sample alone.

    Other numbers would change every run that is resumed.
    """
    height, width = 29, 37
    image = numbered(height, width)
    (crops,) = dataset_of((image,), crop=8).__getitems__(samples(30))
    for crop, sample in zip(crops, samples(30), strict=True):
        random = np.random.default_rng(sample.entropy)
        limits = (height - 7, width - 7, 2, 4)
        top, left, flip, rotations = (int(random.integers(limit)) for limit in limits)

        block = image[:, top : top + 8, left : left + 8].float()
        if flip:
            block = block.flip(2)
        assert torch.equal(crop, torch.rot90(block, rotations, (1, 2)))


def test_the_note_names_the_memory_of_the_images(
    dataset_of: MakeDataset, request: pytest.FixtureRequest
) -> None:
    opened = dataset_of(*[(noise(height=1000, width=1000),)] * 2, crop=8, bits=8)
    memory = "the memory of cpu" if "device" in request.node.name else "host memory"
    assert opened.note == f"2 training images, 0.01 GB, lie in {memory}"


def test_files_of_one_place_are_cropped_alike(dataset_of: MakeDataset) -> None:
    image = noise(height=20, width=30)
    inverse = 1 - image
    opened = dataset_of((image, image, image[:1]), (inverse, inverse, inverse[:1]), crop=16)
    first, second, thickness = opened.__getitems__([*samples(20), *samples(20, index=1)])
    assert first.shape == (40, 3, 16, 16)
    assert torch.equal(first, second)
    assert torch.equal(first[:, :1], thickness)
    # The samples of both places have the same randomness.
    torch.testing.assert_close(first[:20], 1 - first[20:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("bits", [8, 16])
def test_crops_are_floats_and_the_same_every_time(dataset_of: MakeDataset, bits: int) -> None:
    image = noise(height=20, width=30)
    opened = dataset_of((image,), crop=8, bits=bits)
    (crops,), (again,) = opened.__getitems__(samples(5)), opened.__getitems__(samples(5))
    assert torch.equal(crops, again)
    assert crops.dtype == torch.float32
    stored = torch.unique((image * (2**bits - 1)).round())
    assert torch.isin((crops * (2**bits - 1)).round(), stored).all()


def test_images_of_different_sizes(dataset_of: MakeDataset) -> None:
    opened = dataset_of((noise(height=8, width=40),), (noise(height=33, width=9),), crop=8)
    (crops,) = opened.__getitems__([*samples(3), *samples(3, index=1)])
    assert crops.shape == (6, 3, 8, 8)
    assert len(opened) == 2


def test_one_sample_is_that_of_a_batch(dataset_of: MakeDataset) -> None:
    opened = dataset_of((noise(height=20), noise(height=20)[:1]), crop=8)
    together = opened.__getitems__(samples(3))
    alone = opened[samples(3)[1]]
    for part, image in zip(together, alone, strict=True):
        assert torch.equal(part[1], image)


def test_a_loader_gives_the_batch_of_each_step(dataset_of: MakeDataset) -> None:
    opened = dataset_of(*[(noise(seed, height=20),) for seed in range(3)], crop=8)
    processes = Processes(0, 1, CPU)
    sampler = StepSampler(3, 2, seed=1, phase=0, processes=processes).at(range(5, 9))
    batches = list(batch_loader(opened, sampler))
    assert len(batches) == 4
    for step, (crops,) in zip(range(5, 9), batches, strict=True):
        assert torch.equal(crops, opened.__getitems__(sampler.batch_at(step))[0])


def test_too_small_for_the_crop(dataset_of: MakeDataset) -> None:
    message = r"1_0\.tif is 40x15 pixels, smaller than the crop of 16; choose a smaller --crop"
    with pytest.raises(UserError, match=message):
        dataset_of((noise(height=16, width=16),), (noise(height=40, width=15),), crop=16)


def test_sizes_that_differ(dataset_of: MakeDataset) -> None:
    message = r"0_0\.tif is 16x16 and .*0_1\.tif is 16x17 pixels; images of one place"
    with pytest.raises(UserError, match=message):
        dataset_of((noise(), noise(width=17)), crop=8)


def test_floats_out_of_range_are_named_before_training(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    image = np.full((16, 16, 3), 0.5, np.float32)
    tifffile.imwrite(good, image, photometric="rgb")
    tifffile.imwrite(bad, 3 * image, photometric="rgb")

    opened = CropDataset([(good,)], (3,), 8, CPU, show_progress=False)
    (crops,) = opened.__getitems__(samples(1))
    assert torch.equal(crops, torch.full((1, 3, 8, 8), 0.5))
    with pytest.raises(UserError, match=r"bad\.tif: floating pixels range from 1\.5 to 1\.5"):
        CropDataset([(bad,)], (3,), 8, CPU, show_progress=False)


def test_same_size_compares_height_and_width_alone() -> None:
    check_same_size([torch.zeros(3, 4, 5), torch.zeros(1, 4, 5)], [Path("a"), Path("b")])
    with pytest.raises(UserError, match="a is 4x5 and b is 5x4"):
        check_same_size([torch.zeros(3, 4, 5), torch.zeros(3, 5, 4)], [Path("a"), Path("b")])


def test_a_place_that_several_samples_show_is_stored_once(tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.png", noise(height=20, width=24))
    files = [(tmp_path / f"{name}.png",) for name in "aba"]
    several = CropDataset(files, (3,), 8, CPU, show_progress=False)
    once = CropDataset(files[:2], (3,), 8, CPU, show_progress=False)
    assert len(several) == 3
    assert several.note == once.note

    keys = [(0, number) for number in range(20)]
    (crops,) = several.__getitems__([SampleIndex(2, key) for key in keys])
    (expected,) = once.__getitems__([SampleIndex(0, key) for key in keys])
    assert torch.equal(crops, expected)


def test_signed_pixels_are_no_unsigned_ones(tmp_path: Path) -> None:
    """Stores hold uint16 in the bits of int16, which must not happen to int16 of a file."""
    pixels = np.linspace(-100, 32767, 16 * 16 * 3).reshape(16, 16, 3).astype(np.int16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    files = [(tmp_path / "a.tif",)]
    dataset = CropDataset(files, (3,), 16, torch.device("cpu"), show_progress=False)
    (crop,) = dataset[SampleIndex(0, (0, 0))]
    expected = np.sort((pixels / 32767).clip(0, 1), axis=None)
    np.testing.assert_allclose(np.sort(crop.numpy(), axis=None), expected, atol=1e-6)
