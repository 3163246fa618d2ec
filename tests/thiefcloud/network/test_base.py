"""The base class of networks, by a network that is as small as one can be."""

import pytest
import torch
from torch import Tensor, nn

from cloudkit.errors import UserError
from scpm import Prior
from thiefcloud import NoPrior, RemovalNetwork, Restoration, restore_and_detect
from thiefcloud.inference.weights import build


class Scaling(RemovalNetwork):
    """One gain for each band."""

    kind = "scaling"

    def __init__(
        self, in_channels: int = 3, *, residual: bool = False, inversion: bool = False
    ) -> None:
        super().__init__(in_channels, residual=residual, inversion=inversion)
        self.prior, self.inversion = NoPrior(in_channels), None
        self.gain = nn.Parameter(torch.full((in_channels, 1, 1), 0.5))

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        return Restoration(self.gain * image, None, None, prior.thickness)


def test_a_small_network_is_complete() -> None:
    model, image = Scaling(4), torch.rand(4, 13, 21)
    restored, thickness = restore_and_detect(model, image, flips=True)
    torch.testing.assert_close(restored, 0.5 * image)
    assert torch.equal(thickness, torch.zeros(1, 13, 21))
    assert model.freeze_prior() is model.tune_prior() is model


def test_it_is_built_from_its_config() -> None:
    model = Scaling(2, residual=True)
    assert Scaling.from_config(model.config).config == model.config
    older = {"in_channels": 2}
    assert Scaling.from_config(older).config == Scaling(2).config


def test_a_network_without_removal_is_refused() -> None:
    with pytest.raises(TypeError, match="abstract"):
        RemovalNetwork(3, residual=False, inversion=False)  # type: ignore[abstract]


def test_a_network_without_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="Nameless has no kind; give it one"):
        type("Nameless", (RemovalNetwork,), {})


@pytest.mark.parametrize("part", ["prior", "inversion"])
def test_a_network_without_a_part_is_refused_when_it_is_built(part: str) -> None:
    class Incomplete(Scaling):
        def __init__(self, in_channels: int, *, residual: bool = False, inversion: bool = False):
            super().__init__(in_channels, residual=residual, inversion=inversion)
            delattr(self, part)

    build(Scaling, Scaling(2).config)
    with pytest.raises(UserError, match=f"scaling has no `{part}`, expected one; set self.{part}"):
        build(Incomplete, Scaling(2).config)
