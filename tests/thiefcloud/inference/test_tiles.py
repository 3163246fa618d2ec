"""Windows, and a scene within the margin of a single pass."""

import numpy as np
import pytest
import torch

from cloudkit.errors import UserError
from cloudkit.imaging.padding import with_margin
from tests.helpers import noise
from thiefcloud.inference.tiles import (
    ArraySource,
    ArrayTarget,
    PaddedScene,
    Window,
    read_valid,
    whole,
)


@pytest.mark.parametrize("side", [1, 5, 7, 64])
def test_tiles_cover_each_pixel_once(side: int) -> None:
    counts = torch.zeros(23, 17)
    for window in Window(2, 3, 20, 11).tiles(side):
        window.of(counts).add_(1)
    assert torch.equal(counts[2:22, 3:14], torch.ones(20, 11))
    assert counts.sum() == 220


def test_a_halo_ends_at_multiples_and_at_the_scene() -> None:
    assert Window(40, 0, 10, 10).grown(5, 8, (200, 12)) == Window(32, 0, 24, 12)
    assert Window(0, 0, 200, 12).grown(64, 32, (200, 12)) == Window(0, 0, 200, 12)


def test_windows_that_lie_apart_share_nothing() -> None:
    shared = Window(0, 0, 4, 4).common(Window(6, 1, 2, 2))
    assert (shared.height, shared.width) == (0, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 9), (17, 30), (41, 64)])
def test_a_padded_scene_reads_as_one_pass_would_pad(size: tuple[int, int]) -> None:
    image = noise(height=size[0] + 5, width=size[1] + 3)
    ground = Window(2, 1, *size)
    scene = PaddedScene(ArraySource(image.numpy()), ground, filters=False)
    expected = with_margin(ground.of(image)[None], 8)
    assert scene.size == tuple(expected.shape[-2:])
    for window in (Window(0, 0, *scene.size), Window(3, 8, 20, 17), Window(30, 30, 2, 3)):
        window = window.common(Window(0, 0, *scene.size))
        assert torch.equal(scene.read(window), window.of(expected))


def test_integers_are_scaled_and_zeros_hold_no_data() -> None:
    array = np.array([[[0, 5000]], [[0, 10000]]], dtype=np.uint16)
    pixels, valid = ArraySource(array, peak=10000).read(Window(0, 0, 1, 2))
    assert pixels.tolist() == [[[0.0, 0.5]], [[0.0, 1.0]]]
    assert valid.tolist() == [[False, True]]


def test_pixels_beyond_the_range_are_refused() -> None:
    source = ArraySource(np.full((3, 8, 8), 300, dtype=np.uint16), peak=255)
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        read_valid(source, whole(source))


def test_arrays_that_hold_no_fractions_are_refused() -> None:
    """All restored values below 1 would become 0."""
    floats, integers = np.zeros((3, 4, 4), np.float16), np.zeros((1, 4, 4), np.uint8)
    ArrayTarget(floats, floats[:1])
    for arrays in ((integers,), (floats, integers)):
        with pytest.raises(UserError, match="holds uint8, expected floats"):
            ArrayTarget(*arrays)
