"""Each protocol against a computation of its own, and what holds for all."""

import math
import warnings
from typing import get_args

import pytest
import torch

from tests.helpers import noise
from tests.trainkit.scoring.references import EXACT, REFERENCES, SIX_DB, SIZE, arrays, raw, scene
from trainkit.scoring.protocols import PROTOCOLS, Protocol, score


@pytest.mark.parametrize("size", [(150, 172), (144, 420), (400, 391), (512, 512)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_as_computed_independently(protocol: Protocol, size: tuple[int, int]) -> None:
    for restored, clear in (scene(*size), raw(*size)):
        expected = REFERENCES[protocol](*arrays(restored, clear))
        scores = score(protocol, restored, clear)
        assert scores.keys() == expected.keys()
        # the reference resizes in float32, after which a few pixels truncate to another level
        loose = protocol == "sui" and max(size) > 256
        assert scores["psnr"] == pytest.approx(expected["psnr"], abs=1e-3 if loose else 1e-9)
        for name in scores.keys() - {"psnr"}:
            assert scores[name] == pytest.approx(expected[name], abs=1e-4 if loose else 1e-9)


def test_every_protocol_is_described() -> None:
    assert tuple(PROTOCOLS) == get_args(Protocol)
    for name, rules in PROTOCOLS.items():
        summary = str(rules.compute.__doc__).splitlines()[0]
        assert summary.startswith("Score as ")
        assert summary.endswith("(exact)." if name in EXACT else "(reconstructed).")
        metrics = ["psnr", "ssim", "ssim_gaussian"] if name == "plain" else ["psnr", "ssim"]
        assert list(score(name, *scene(SIZE))) == metrics


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_equal_images(protocol: Protocol) -> None:
    _, clear = scene(SIZE)
    assert score(protocol, clear, clear)["psnr"] == math.inf
    assert score(protocol, clear, clear)["ssim"] == pytest.approx(1)
    worst = score(protocol, torch.zeros(3, SIZE, SIZE), torch.ones(3, SIZE, SIZE))
    lowest = {
        "thiefcloud": SIX_DB,
        "matlab-y": 20 * math.log10(255 / 219),
        "spagan": -20 * math.log10(1.000001),
    }

    assert worst["psnr"] == pytest.approx(lowest.get(protocol, 0), abs=1e-12)
    assert worst["ssim"] == pytest.approx(
        {"thiefcloud": 0.8, "spagan": 0, "matlab-y": 0.1357}.get(protocol, 0), abs=2e-3
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_invariances(protocol: Protocol) -> None:
    """Flipped, rotated and exchanged images inside [0, 1] score alike; a worse one scores worse."""
    restored, clear = scene(160)
    scores = score(protocol, restored, clear)
    assert score(protocol, restored.flip(1), clear.flip(1)) == pytest.approx(scores, abs=1e-9)
    assert score(protocol, restored.transpose(1, 2), clear.transpose(1, 2)) == pytest.approx(
        scores, abs=1e-9
    )
    assert score(protocol, clear, restored) == pytest.approx(scores, abs=1e-9)
    assert score(protocol, restored.double(), clear.double()) == pytest.approx(scores, abs=1e-12)
    assert all(isinstance(value, float) for value in scores.values())

    worse = score(protocol, scene(160, harm=2)[0], clear)
    assert all(worse[name] < scores[name] for name in scores)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_inputs_stay_unchanged_and_get_no_gradient(protocol: Protocol) -> None:
    restored, clear = raw(300)
    before = restored.clone(), clear.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns when a gradient is lost
        score(protocol, restored.requires_grad_(), clear)
    assert torch.equal(restored, before[0])
    assert torch.equal(clear, before[1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_too_small(protocol: Protocol) -> None:
    smallest = PROTOCOLS[protocol].smallest
    assert smallest == {"rsdformer": 139, "spagan": 7, "sui": 7, "geocr": 7}.get(protocol, 11)
    image = noise(height=smallest, width=smallest + 1)
    assert math.isfinite(score(protocol, image, 0.9 * image)["ssim"])
    narrow = noise(height=smallest + 1, width=smallest - 1)
    message = (
        f"the protocol {protocol} cannot score {smallest + 1}x{smallest - 1} pixels, "
        f"expected at least {smallest}x{smallest}"
    )
    with pytest.raises(ValueError, match=message):
        score(protocol, narrow, narrow)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_invalid_images_are_rejected(protocol: Protocol) -> None:
    good = noise(height=SIZE, width=SIZE)
    for bad in (math.nan, math.inf):
        broken = good.clone()
        broken[1, 2, 3] = bad
        with pytest.raises(ValueError, match="not finite"):
            score(protocol, broken, good)
        with pytest.raises(ValueError, match="clear image ranges"):
            score(protocol, good, broken)

    for image in (good - 0.01, good + 0.01):
        with pytest.raises(ValueError, match=r"the clear image ranges from .* expected \[0, 1\]"):
            score(protocol, good, image)
    for shape in ((1, 3, SIZE, SIZE), (1, SIZE, SIZE), (4, SIZE, SIZE)):
        with pytest.raises(ValueError, match=r"expected \(3, H, W\) twice the same"):
            score(protocol, torch.zeros(shape), torch.zeros(shape))

    with pytest.raises(ValueError, match=r"\(3, 144, 144\) and \(3, 144, 145\)"):
        score(protocol, good, noise(height=SIZE, width=SIZE + 1))
