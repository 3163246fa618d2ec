from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from cloudkit.batches import Draw, ImageStore, Sampler, check_same_size
from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.images import write_image
from tests.helpers import noise

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


def sampler(count: int, batch: int, *, seed: int = 1, phase: int = 0, world: World = ALONE) -> Sampler:
    return Sampler(count, batch, seed=seed, phase=phase, world=world)


def indices(sampler: Sampler, steps: int) -> list[int]:
    return [draw.index for step in range(steps) for draw in sampler.draws(step)]


@pytest.mark.parametrize(("count", "batch", "steps"), [(7, 2, 4), (12, 4, 3), (5, 8, 1), (1, 3, 1), (2, 7, 1)])
def test_every_pass_draws_every_image_once(count: int, batch: int, steps: int) -> None:
    one = sampler(count, batch)
    assert one.steps_per_epoch == steps
    drawn = indices(one, 3 * count)
    passes = [tuple(drawn[start : start + count]) for start in range(0, len(drawn), count)]
    assert all(sorted(order) == list(range(count)) for order in passes)
    if count > 5:
        assert len(set(passes)) == len(passes)


def test_any_step_can_be_looked_up() -> None:
    forward = sampler(7, 3)
    in_order = [forward.draws(step) for step in range(20)]
    backward = sampler(7, 3)
    assert [backward.draws(step) for step in reversed(range(20))] == in_order[::-1]


def test_seed_and_phase_change_order_and_draws() -> None:
    runs = [sampler(50, 50), sampler(50, 50, seed=2), sampler(50, 50, phase=1)]
    assert len({tuple(indices(run, 1)) for run in runs}) == 3
    assert len({draw.seed() for run in runs for draw in run.draws(0) + run.draws(1)}) == 300


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_batch_of_one(size: int) -> None:
    one, shares = sampler(7, 6), [sampler(7, 6, world=World(rank, size, CPU)) for rank in range(size)]
    for step in range(5):
        together = [draw for share in shares for draw in share.draws(step)]
        assert sorted(draw.entropy for draw in together) == sorted(draw.entropy for draw in one.draws(step))
        assert {len(share.draws(step)) for share in shares} == {6 // size}


def test_a_batch_that_does_not_divide() -> None:
    with pytest.raises(UserError, match="batch of 5 does not divide into 2 processes; choose a multiple of 2"):
        sampler(7, 5, world=World(0, 2, CPU))


def test_no_image() -> None:
    with pytest.raises(UserError, match="no image to train on"):
        sampler(0, 4)


def test_a_draw_is_the_same_every_time() -> None:
    draw, other = Draw(3, (1, 0, 1, 0, 3)), Draw(3, (1, 0, 1, 1, 3))
    assert draw.generator().integers(1 << 40) == draw.generator().integers(1 << 40)
    assert draw.generator().integers(1 << 40) != other.generator().integers(1 << 40)
    assert draw.seed() == Draw(3, (1, 0, 1, 0, 3)).seed() != other.seed()
    assert 0 <= draw.seed() < 2**63  # what torch takes


@pytest.fixture(params=["host", "device"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., ImageStore]:
    """Write the images of some places and open them, in either memory."""

    def make(*places: tuple[Tensor, ...], crop: int, bits: int = 16) -> ImageStore:
        files = []
        for number, images in enumerate(places):
            files.append(tuple(tmp_path / f"{number}_{part}.tif" for part in range(len(images))))
            for path, image in zip(files[-1], images, strict=True):
                write_image(path, image, bits=bits)
        bands = tuple(image.shape[0] for image in places[0])
        return ImageStore(files, bands, crop, CPU, store=request.param, show_progress=False)

    return make


def numbered(height: int, width: int) -> Tensor:
    """An image whose 16-bit values say where they stand."""
    return torch.arange(height * width).view(1, height, width).double() / 65535


def orientations(image: Tensor) -> set[bytes]:
    return {torch.rot90(i, turns, (1, 2)).contiguous().numpy().tobytes() for i in (image, image.flip(2)) for turns in range(4)}


def draws(count: int, index: int = 0) -> list[Draw]:
    return [Draw(index, (0, number)) for number in range(count)]


def test_all_orientations_occur_and_none_else(store: Callable[..., ImageStore]) -> None:
    image = numbered(8, 8)
    (crops,) = store((image,), crop=8).crops(draws(100))
    assert {crop.numpy().tobytes() for crop in crops} == orientations(image.float())


def test_crops_are_blocks_from_everywhere(store: Callable[..., ImageStore]) -> None:
    height, width = 13, 10
    (crops,) = store((numbered(height, width),), crop=8).crops(draws(200))
    corners = set()
    for values in (crops * 65535).round().long():
        rows, columns = values // width, values % width
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (7, 7)
        assert len(values.unique()) == 64
        corners.add((int(rows.min()), int(columns.min())))
    assert corners == {(top, left) for top in range(6) for left in range(3)}


def test_a_draw_decides_its_crop_for_good(store: Callable[..., ImageStore]) -> None:
    """Position, then mirror, then turns, by numpy from the draw alone: other numbers would change every run that is resumed."""
    height, width = 29, 37
    image = numbered(height, width)
    drawn = draws(30)
    (crops,) = store((image,), crop=8).crops(drawn)
    for crop, draw in zip(crops, drawn, strict=True):
        random = np.random.default_rng(draw.entropy)
        top, left, mirrored, turns = (random.integers(limit) for limit in (height - 7, width - 7, 2, 4))
        block = image[:, top : top + 8, left : left + 8].float()
        assert torch.equal(crop, torch.rot90(block.flip(2) if mirrored else block, int(turns), (1, 2)))


def test_the_note_says_where_images_lie(store: Callable[..., ImageStore], request: pytest.FixtureRequest) -> None:
    opened = store(*[(noise(height=1000, width=1000),)] * 2, crop=8, bits=8)
    memory = "the memory of cpu" if "device" in request.node.name else "host memory"
    assert opened.note == f"2 training images, 0.01 GB, lie in {memory}"


def test_what_belongs_together_is_cropped_together(store: Callable[..., ImageStore]) -> None:
    image = noise(height=20, width=30)
    opened = store((image, image, image[:1]), (1 - image, 1 - image, 1 - image[:1]), crop=16)
    first, second, thickness = opened.crops([*draws(20), *draws(20, index=1)])
    assert first.shape == (40, 3, 16, 16)
    assert torch.equal(first, second)
    assert torch.equal(first[:, :1], thickness)
    torch.testing.assert_close(first[:20], 1 - first[20:], rtol=0, atol=1e-4)  # the draws of both places are alike


@pytest.mark.parametrize("bits", [8, 16])
def test_crops_are_floats_and_the_same_every_time(store: Callable[..., ImageStore], bits: int) -> None:
    image = noise(height=20, width=30)
    opened = store((image,), crop=8, bits=bits)
    (crops,), (again,) = opened.crops(draws(5)), opened.crops(draws(5))
    assert torch.equal(crops, again)
    assert crops.dtype == torch.float32
    stored = torch.unique((image * (2**bits - 1)).round())
    assert torch.isin((crops * (2**bits - 1)).round(), stored).all()


def test_images_of_different_sizes(store: Callable[..., ImageStore]) -> None:
    opened = store((noise(height=8, width=40),), (noise(height=33, width=9),), crop=8)
    (crops,) = opened.crops([*draws(3), *draws(3, index=1)])
    assert crops.shape == (6, 3, 8, 8)
    assert len(opened) == 2


def test_too_small_for_the_crop(store: Callable[..., ImageStore]) -> None:
    with pytest.raises(UserError, match=r"1_0\.tif is 40x15 pixels, smaller than the crop of 16; choose a smaller --crop"):
        store((noise(height=16, width=16),), (noise(height=40, width=15),), crop=16)


def test_sizes_that_differ(store: Callable[..., ImageStore]) -> None:
    with pytest.raises(UserError, match=r"0_0\.tif is 16x16 and .*0_1\.tif is 16x17 pixels; images of one place"):
        store((noise(), noise(width=17)), crop=8)


def test_floats_out_of_range_are_named_before_training(tmp_path: Path) -> None:
    image = np.full((16, 16, 3), 0.5, np.float32)
    tifffile.imwrite(tmp_path / "good.tif", image, photometric="rgb")
    tifffile.imwrite(tmp_path / "bad.tif", 3 * image, photometric="rgb")
    (crops,) = ImageStore([(tmp_path / "good.tif",)], (3,), 8, CPU, show_progress=False).crops(draws(1))
    assert torch.equal(crops, torch.full((1, 3, 8, 8), 0.5))
    with pytest.raises(UserError, match=r"bad\.tif: floating pixels range from 1\.5 to 1\.5"):
        ImageStore([(tmp_path / "bad.tif",)], (3,), 8, CPU, show_progress=False)


def test_same_size_looks_at_height_and_width_alone() -> None:
    check_same_size([torch.zeros(3, 4, 5), torch.zeros(1, 4, 5)], [Path("a"), Path("b")])
    with pytest.raises(UserError, match="a is 4x5 and b is 5x4"):
        check_same_size([torch.zeros(3, 4, 5), torch.zeros(3, 5, 4)], [Path("a"), Path("b")])
