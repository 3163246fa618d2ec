"""Shapes of real clouds, laid over other ground."""

from pathlib import Path

import pytest
import torch

from cloudkit.imaging.images import write_image
from scpm import CloudFields, CloudOptions, simulate_clouds
from scpm.data import read_fields
from scpm.options import PriorTrainOptions
from trainkit.data.pairs import DataError

GRAY = CloudOptions(angstrom=(0.0, 0.0))


@pytest.fixture
def edge() -> torch.Tensor:
    """An opacity map that is clear in one half and 0.6 in the other."""
    opacity = torch.zeros(1, 64, 64)
    opacity[..., 32:] = 0.6
    return opacity


def test_the_given_fraction_of_the_seeds_draws_a_part(edge: torch.Tensor) -> None:
    fields = CloudFields([edge], 0.3)
    drawn = [fields.draw(16, 16, seed) is not None for seed in range(1000)]
    assert sum(drawn) == pytest.approx(300, abs=50)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (5, 90), (64, 64), (200, 130)])
def test_parts_fit_any_size(edge: torch.Tensor, size: tuple[int, int]) -> None:
    fields = CloudFields([edge], 1.0)
    largest = 1.5 * -torch.log(torch.tensor(0.4)) + 0.2  # bicubic interpolation overshoots
    for seed in range(100):
        depth = fields.draw(*size, seed)
        assert depth is not None
        assert depth.shape == (1, *size)
        assert depth.isfinite().all()
        assert 0 <= depth.min() <= depth.max() <= largest


def test_equal_seeds_draw_equal_parts_and_all_orientations_come(edge: torch.Tensor) -> None:
    fields = CloudFields([edge], 1.0)
    thick_sides = set()
    for seed in range(60):
        depth, again = fields.draw(64, 64, seed), fields.draw(64, 64, seed)
        assert depth is not None
        assert again is not None
        assert torch.equal(depth, again)

        halves = {
            "left": depth[..., :8],
            "right": depth[..., -8:],
            "top": depth[:, :8],
            "bottom": depth[:, -8:],
        }
        thick_sides.add(max(halves, key=lambda side: float(halves[side].min())))
    assert thick_sides == {"left", "right", "top", "bottom"}


def test_simulated_clouds_take_their_shape(edge: torch.Tensor) -> None:
    fields = CloudFields([edge], 0.5)
    clear = torch.full((40, 3, 64, 64), 0.2)
    with_shapes = simulate_clouds(clear, range(40), GRAY, fields=fields)
    without = simulate_clouds(clear, range(40), GRAY)

    for seed in range(40):
        depth = fields.draw(64, 64, seed)
        if depth is None:
            assert torch.equal(with_shapes.thickness[seed], without.thickness[seed])
        else:
            thickness = with_shapes.thickness[seed]
            torch.testing.assert_close(thickness, 1 - torch.exp(-depth), rtol=0, atol=1e-5)


def test_fields_are_read_from_a_folder(tmp_path: Path, edge: torch.Tensor) -> None:
    write_image(tmp_path / "a.png", edge, bits=16)
    (read,) = read_fields(tmp_path, 0.3).maps
    torch.testing.assert_close(read.float(), edge, rtol=0, atol=1e-3)
    with pytest.raises(DataError):
        read_fields(tmp_path / "none", 0.3)


@pytest.mark.parametrize(("count", "fraction"), [(0, 0.3), (1, 0.0), (1, 1.5)])
def test_nothing_to_draw_is_refused(edge: torch.Tensor, count: int, fraction: float) -> None:
    message = "expected at least one map, and a fraction above 0 and up to 1"
    with pytest.raises(ValueError, match=message):
        CloudFields([edge] * count, fraction)


def test_options_that_have_no_effect_are_refused() -> None:
    with pytest.raises(ValueError, match="--clouds and --fields have no effect on --backend scg"):
        PriorTrainOptions(backend="scg", fields=Path("clouds"))
    with pytest.raises(ValueError, match="--fields have no effect here"):
        PriorTrainOptions(pairs=Path("pairs"), fields=Path("clouds"))
    with pytest.raises(ValueError, match="--fields-fraction is 2"):
        PriorTrainOptions(fields_fraction=2)
    with pytest.raises(ValueError, match=r"--fields-fraction 0\.5 has no effect without --fields"):
        PriorTrainOptions(fields_fraction=0.5)
