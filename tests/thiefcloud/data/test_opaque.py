"""Opaque clouds over both images of a pair."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloudkit.imaging.images import write_image
from scpm import SimulatedClouds
from scpm.simulation.opaque import lay_opaque_clouds
from tests.batches import one_pass
from tests.helpers import write_images
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.data.opaque import keep_opaque_clouds, keep_simulated_opaque
from thiefcloud.data.options import DataOptions
from thiefcloud.training.options import TrainOptions


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    """Six images of fine dark texture, under an even thin cloud and without."""
    clear = 0.3 * torch.rand(6, 3, 70, 53, generator=torch.Generator().manual_seed(1))
    return 0.7 * clear + 0.25, clear


def overcast_pairs(cloudy: Tensor, clear: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Lay opaque clouds over pairs, and keep their opaque parts as the truth."""
    clouds = lay_opaque_clouds(cloudy, seeds)
    return clouds.cloudy, keep_simulated_opaque(clouds, clear)


def texture(images: Tensor) -> Tensor:
    """Difference of neighbouring pixels; clouds are smoother than the ground."""
    return images.diff(dim=-1).abs().mean(1)


def test_opaque_cloud_is_its_own_truth(pairs: tuple[Tensor, Tensor]) -> None:
    cloudy, clear = overcast_pairs(*pairs, range(6))
    assert cloudy.shape == clear.shape == pairs[0].shape
    for image in (cloudy, clear):
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1

    same = (clear == cloudy).all(1)
    ground = (clear == pairs[1]).all(1)
    assert 0.02 < same.float().mean() < 0.6
    assert ground.float().mean() > 0.2
    assert (same | ground).float().mean() < 1, "truth passes from one to the other smoothly"

    hidden = (same[..., 1:] & same[..., :-1]).float()
    visible = (ground[..., 1:] & ground[..., :-1]).float()
    original = texture(pairs[1]).mean()
    assert (texture(cloudy) * hidden).sum() / hidden.sum() < 0.1 * original
    assert (texture(cloudy) * visible).sum() / visible.sum() > 0.25 * original
    assert cloudy.movedim(1, -1)[same].mean() > 0.6, "clouds are bright"


def test_truth_keeps_thick_cloud_that_saturates() -> None:
    """White hides the ground where the cloud is thick; below thin cloud it is bright ground."""
    thickness = torch.tensor([0.3, 0.8, 0.8]).view(1, 1, 1, 3)
    cloudy = torch.tensor([1.0, 1.0, 0.8]).expand(1, 3, 1, 3)
    clear = torch.tensor([0.9, 0.2, 0.2]).expand(1, 3, 1, 3)
    truth = keep_simulated_opaque(SimulatedClouds(cloudy, thickness), clear)
    expected = torch.tensor([0.9, 1.0, 0.2]).expand(1, 3, 1, 3)
    torch.testing.assert_close(truth, expected)


def test_clouds_depend_on_their_seed_alone(pairs: tuple[Tensor, Tensor]) -> None:
    cloudy, clear = (part[4:5] for part in pairs)
    together = overcast_pairs(*pairs, range(6))
    alone, other = (overcast_pairs(cloudy, clear, [seed]) for seed in (4, 5))
    for one, same, different in zip(together, alone, other, strict=True):
        torch.testing.assert_close(one[4:5], same)
        assert not torch.allclose(same, different, atol=0.01)


def under_opaque_cloud(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A pair and its opacity: the cloud is clear at the left, thin in the middle, then opaque."""
    random = torch.Generator().manual_seed(seed)
    clear = 0.1 + 0.3 * torch.rand(3, 80, 80, generator=random)
    cloud = 0.9 + 0.02 * torch.rand(3, 80, 80, generator=random)
    opacity = torch.tensor([0.0] * 30 + [0.15] * 20 + [1.0] * 30).expand(1, 80, 80)
    return torch.lerp(clear, cloud, opacity), clear, opacity


def test_opaque_cloud_of_a_real_pair_is_the_truth() -> None:
    cloudy, clear, _ = under_opaque_cloud(1)
    truth = keep_opaque_clouds(cloudy, clear)
    assert truth.shape == clear.shape
    torch.testing.assert_close(truth[..., :44], clear[..., :44])
    torch.testing.assert_close(truth[..., 56:], cloudy[..., 56:])
    torch.testing.assert_close(keep_opaque_clouds(clear, clear), clear)


def test_a_source_can_keep_its_opaque_clouds(tmp_path: Path) -> None:
    pairs = {name: under_opaque_cloud(seed) for seed, name in enumerate("abcd")}
    for name, (cloudy, clear, _) in pairs.items():
        write_image(tmp_path / "cloudy" / f"{name}.png", cloudy)
        write_image(tmp_path / "clear" / f"{name}.png", clear)
    source = (
        '[[source]]\ndataset = "folder"\nfolder = "."\npairs = 1\nclear = 1\nvalidate = false\n'
    )
    path = tmp_path / "mixture.toml"
    for keeps in (True, False):
        path.write_text(f"{source}keep_opaque = {str(keeps).lower()}\n", encoding="utf-8")
        data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=path))
        cloudy, clear = one_pass(data, crop=80, seed=3)[:2]
        opaque = cloudy.amin(1) > 0.85
        covers = opaque.flatten(1).any(1)
        assert covers.any()
        assert torch.equal(cloudy[~covers], clear[~covers]), "clear samples stay as they are"

        kept = (cloudy == clear).all(1)[opaque].float().mean()
        assert kept > 0.75 if keeps else kept == 0


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Clear images alone, which are both images of their pairs."""
    write_images(tmp_path, [f"{name}.png" for name in "abcdefgh"], height=32, width=32)
    return open_data(DataOptions(dataset="clear", root=tmp_path))


def differ(one: Tensor, other: Tensor) -> Tensor:
    """Tell for each image whether it differs."""
    return (one != other).flatten(1).any(1)


def test_a_fraction_of_the_batch_is_covered(data: Data) -> None:
    none, some, every = (
        one_pass(data, crop=32, seed=3, opaque=fraction)[:2] for fraction in (0.0, 0.5, 1.0)
    )
    assert torch.equal(*none)
    assert differ(every[0], none[0]).all()

    chosen = differ(some[0], none[0])
    assert chosen.any()
    assert not chosen.all()
    assert torch.equal(differ(*some), chosen), "the thin edge of a cloud is not in the truth"
    for part, before, after in zip(some, none, every, strict=True):
        torch.testing.assert_close(part, torch.where(chosen[:, None, None, None], after, before))


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"--opaque is .*, expected a fraction from 0 to 1"):
        TrainOptions(opaque=fraction)
