"""Layers that see a whole scene compute on a tile what they compute on the whole."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scpm import Moments, Tile, current_tile, on_tile
from scpm.network.scene import double_between_corners
from scpm.network.simam import SimAM


class Known(Tile):
    """A tile of a scene whose map is known."""

    def __init__(
        self, at: tuple[int, int], size: tuple[int, int], scene: tuple[int, int], features: Tensor
    ) -> None:
        super().__init__(at, size, scene)
        self.features = features

    def moments(self, module: nn.Module, features: Tensor) -> Moments:
        return Moments(self.features.mean((2, 3)), self.features.var((2, 3)))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (16, 40), (40, 88)])
def test_upsampling_keeps_the_phase_of_the_scene(top: int, left: int) -> None:
    features = torch.rand(1, 4, 11, 17, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)
    row, column = top // 8, left // 8
    part = features[..., row : row + 6, column : column + 6]

    with on_tile(Known((top, left), (48, 48), (88, 136), features)):
        found = double_between_corners(part)
    # At inner edges the neighbour is missing.
    for axis, first, size in ((-2, row, 11), (-1, column, 17)):
        start = 0 if first == 0 else 2
        length = found.shape[axis] - start - (0 if first + 6 >= size else 2)
        found = found.narrow(axis, start, length)
        expected = expected.narrow(axis, 2 * first + start, length)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_attention_takes_the_moments_of_the_scene() -> None:
    features = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    features[..., 8:] += 2
    expected = SimAM()(features)[..., :8]
    with on_tile(Known((0, 0), (16, 8), (16, 16), features)):
        found = SimAM()(features[..., :8])
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(SimAM()(features[..., :8]), expected, atol=0.1)


def test_a_tile_ends_with_its_block_even_after_an_error() -> None:
    tile = Known((0, 0), (8, 8), (8, 8), torch.zeros(1))

    def fail() -> None:
        with on_tile(tile):
            assert current_tile() is tile
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert current_tile() is None
