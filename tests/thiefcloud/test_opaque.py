"""Opaque clouds over both halves of a pair."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloudkit.distributed import World
from cloudkit.images import write_image
from tests.helpers import write_images
from thiefcloud.data import Batch, Data, TrainingBatches, open_data
from thiefcloud.opaque import keep_opaque_clouds, lay_opaque_clouds
from thiefcloud.options import DataOptions, TrainOptions

CPU = torch.device("cpu")


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    """Six clear images of fine dark texture, and the same under an even veil."""
    clear = 0.3 * torch.rand(6, 3, 70, 53, generator=torch.Generator().manual_seed(1))
    return 0.7 * clear + 0.25, clear


def texture(images: Tensor) -> Tensor:
    """What neighbouring pixels differ in; clouds are smoother than the ground."""
    return images.diff(dim=-1).abs().mean(1)


def test_what_no_light_passed_is_the_truth_as_it_is(pairs: tuple[Tensor, Tensor]) -> None:
    cloudy, clear = lay_opaque_clouds(*pairs, range(6))
    assert cloudy.shape == clear.shape == pairs[0].shape
    assert all(float(image.min()) >= 0 and float(image.max()) <= 1 for image in (cloudy, clear))
    same = (clear == cloudy).all(1)
    ground = (clear == pairs[1]).all(1)
    assert 0.02 < same.float().mean() < 0.6
    assert ground.float().mean() > 0.2
    assert (same | ground).float().mean() < 1, "truth passes from one to the other smoothly"
    hidden = (same[..., 1:] & same[..., :-1]).float()
    seen_through = (ground[..., 1:] & ground[..., :-1]).float()
    assert (texture(cloudy) * hidden).sum() / hidden.sum() < 0.1 * texture(pairs[1]).mean()
    assert (texture(cloudy) * seen_through).sum() / seen_through.sum() > 0.25 * texture(pairs[1]).mean()
    assert cloudy.movedim(1, -1)[same].mean() > 0.6, "clouds are bright"


def test_clouds_depend_on_their_seed_alone(pairs: tuple[Tensor, Tensor]) -> None:
    cloudy, clear = (part[4:5] for part in pairs)
    together = lay_opaque_clouds(*pairs, range(6))
    alone, other = (lay_opaque_clouds(cloudy, clear, [seed]) for seed in (4, 5))
    for one, same, different in zip(together, alone, other, strict=True):
        torch.testing.assert_close(one[4:5], same)
        assert not torch.allclose(same, different, atol=0.01)


def under_opaque_cloud(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A pair whose cloud lets all light through at the left, most in the middle and none at the right, and its opacity."""
    random = torch.Generator().manual_seed(seed)
    clear = 0.1 + 0.3 * torch.rand(3, 80, 80, generator=random)
    opacity = torch.tensor([0.0] * 30 + [0.15] * 20 + [1.0] * 30).expand(1, 80, 80)
    return torch.lerp(clear, 0.9 + 0.02 * torch.rand(3, 80, 80, generator=random), opacity), clear, opacity


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
    source = '[[source]]\ndataset = "folder"\nfolder = "."\npairs = 1\nclear = 1\nvalidate = false\n'
    for keeps in (True, False):
        (tmp_path / "mixture.toml").write_text(f"{source}keep_opaque = {str(keeps).lower()}\n", encoding="utf-8")
        data = open_data(DataOptions(dataset="mixture", root=tmp_path, mixture=tmp_path / "mixture.toml"))
        cloudy, clear = batch(data, 0.0, crop=80)
        opaque = cloudy.amin(1) > 0.85
        covers = opaque.flatten(1).any(1)
        assert covers.any()
        assert torch.equal(cloudy[~covers], clear[~covers]), "what is drawn as clear stays so"
        kept = (cloudy == clear).all(1)[opaque].float().mean()
        assert kept > 0.75 if keeps else kept == 0


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Clear images alone, which are both halves of their pairs."""
    write_images(tmp_path, [f"{name}.png" for name in "abcdefgh"], height=32, width=32)
    return open_data(DataOptions(dataset="clear", root=tmp_path))


def batch(data: Data, opaque: float, crop: int = 32) -> Batch:
    """One pass over the images."""
    batches = TrainingBatches(data, crop=crop, seed=3, store="host", world=World(0, 1, CPU), opaque=opaque)
    return batches.of_phase(0, len(data.train))[0](0)


def covered(one: Tensor, other: Tensor) -> Tensor:
    """Which images differ."""
    return (one != other).flatten(1).any(1)


def test_a_share_of_the_batch_is_covered(data: Data) -> None:
    none, some, all_of_them = (batch(data, share) for share in (0.0, 0.5, 1.0))
    assert torch.equal(*none)
    assert covered(all_of_them[0], none[0]).all()
    chosen = covered(some[0], none[0])
    assert chosen.any()
    assert not chosen.all()
    assert torch.equal(covered(*some), chosen), "the thin edge of a cloud is not in the truth"
    for part, before, after in zip(some, none, all_of_them, strict=True):
        torch.testing.assert_close(part, torch.where(chosen[:, None, None, None], after, before))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match=r"--opaque is .*, expected a share from 0 to 1"):
        TrainOptions(opaque=share)
