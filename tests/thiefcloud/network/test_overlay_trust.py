"""Trust in the inversion behind an overlay, and overlays that stay."""

import pytest
import torch

from tests.thiefcloud.network.overlays import changing, fix, laid_over, land, recognise_bright
from thiefcloud import restore
from thiefcloud.network.overlay import Overlay, uncover
from thiefcloud.network.statistics import image_statistics


@pytest.mark.parametrize("trust", [0.0, 0.5, 1.0])
def test_the_inversion_is_followed_as_far_as_it_is_trusted(trust: float) -> None:
    model, images = changing(), laid_over(land(), 0.4)
    overlay = fix(model.add_overlay(), 0.4)
    uncovered = uncover(overlay, images, None)
    with torch.no_grad():
        inverted = model(images, supervision=True).inverted
        overlay.trust.fill_(trust)
        found = model.eval()(images, supervision=True).inverted
    assert inverted is not None
    assert (inverted - uncovered.images).abs().mean() > 0.01
    expected = uncovered.images + trust * (inverted - uncovered.images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    gain = uncover(overlay, images, None).total_gain(torch.full_like(images, 3.0))
    torch.testing.assert_close(gain, torch.full_like(images, (1 + 2 * trust) / 0.6))


def test_without_an_overlay_in_the_image_the_inversion_is_trusted() -> None:
    model, images = changing(), land()
    expected = restore(model, images)
    overlay = recognise_bright(fix(model.add_overlay(), 0.4), 2.0)
    overlay.trust.zero_()
    assert torch.equal(restore(model.eval(), images), expected)
    assert torch.equal(uncover(overlay, images, None).trust, torch.ones(2, 1, 1, 1))


def test_overlays_that_shall_stay_stay() -> None:
    images, overlay = laid_over(land(), 0.4), fix(Overlay(), 0.4)
    overlay.trust.zero_()
    found = uncover(overlay, images, None, torch.tensor([True, False]))
    assert torch.equal(found.images[0], images[0])
    torch.testing.assert_close(found.images[1], land()[1], rtol=0, atol=1e-5)
    assert found.trust.flatten().tolist() == [1, 0]
    assert found.statistics is not None
    assert torch.equal(found.statistics[0], image_statistics(images)[0])
