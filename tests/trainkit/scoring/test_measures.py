import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from tests.helpers import noise
from trainkit.scoring import measures
from trainkit.scoring.measures import METRICS, OPTIONAL, Metric, make_scorer
from trainkit.scoring.metrics import ergas, spectral_angle


def colour(*values: float) -> Tensor:
    """Return a flat image of one colour."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1).expand(1, -1, 4, 5)


def test_every_metric_is_described() -> None:
    assert set(OPTIONAL) < METRICS.keys()
    for name, metric in METRICS.items():
        assert metric.optional == (name in OPTIONAL)
        assert 10 < len(metric.help) < 100, name
        assert "\n" not in metric.help
        assert metric.decimals >= 0


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].prepare is None])
def test_the_direction_of_a_metric_is_that_of_its_function(name: str) -> None:
    clear, metric = noise(0)[None], METRICS[name]
    near = float(metric.function((clear + 0.01 * noise(1)).clamp(0, 1), clear))
    far = float(metric.function((clear + 0.5 * noise(1)).clamp(0, 1), clear))
    assert (near > far) == metric.larger_is_better
    assert near != far


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_as_numpy(bands: int) -> None:
    image, reference = noise(0, bands=bands, height=17), noise(1, bands=bands, height=17)
    x, y = image.double().numpy(), reference.double().numpy()
    cosine = (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    assert spectral_angle(image[None], reference[None]).item() == pytest.approx(angle, abs=1e-6)

    errors = ((x - y) ** 2).mean((1, 2)) / y.mean((1, 2)) ** 2
    expected = 100 * np.sqrt(errors.mean())
    assert ergas(image[None], reference[None]).item() == pytest.approx(expected, rel=1e-9)


def test_a_batch_is_many_images() -> None:
    images = torch.stack([noise(seed) for seed in range(3)])
    others = torch.stack([noise(seed) for seed in range(10, 13)])
    for metric in (spectral_angle, ergas):
        single = torch.cat([metric(images[i : i + 1], others[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(metric(images, others), single, rtol=0, atol=1e-12)
        assert metric(images, others).dtype == torch.float64
        assert len(set(single.tolist())) == 3


@pytest.mark.parametrize(
    ("first", "second", "degrees"),
    [
        ((1, 0, 0), (0, 1, 0), 90),
        ((0.3, 0, 0), (0.3, 0.3, 0), 45),
        ((1e-5, 0, 0), (1e-5, 1e-5, 0), 45),  # nearly black is not black
        ((0.2, 0.4, 0.6), (0.1, 0.2, 0.3), 0),
        ((0.5, 0.5, 0.5), (1, 0, 0), math.degrees(math.acos(1 / math.sqrt(3)))),
        ((0, 0, 0), (0, 0, 0), 0),
        ((0, 0, 0), (0.2, 0.1, 0.3), 90),
        ((1, 1e-7, 0), (1, 0, 0), math.degrees(1e-7)),
    ],
)
def test_known_angles(first: tuple[float, ...], second: tuple[float, ...], degrees: float) -> None:
    x, y = colour(*first), colour(*second)
    assert spectral_angle(x, y).item() == pytest.approx(degrees, abs=1e-10)
    assert spectral_angle(y, x).item() == pytest.approx(degrees, abs=1e-10)


def test_black_pixels_count_in_the_mean() -> None:
    image, reference = colour(0.2, 0.4, 0.6).clone(), colour(0.2, 0.4, 0.6).clone()
    image[..., 0, 0] = 0
    assert spectral_angle(image, reference).item() == pytest.approx(90 / 20)
    reference[..., 0, 0] = 0
    assert spectral_angle(image, reference).item() == pytest.approx(0, abs=1e-12)


def test_known_relative_errors() -> None:
    reference = colour(0.1, 0.5, 0.8)
    assert ergas(reference, reference).item() == 0
    assert ergas(1.1 * reference, reference).item() == pytest.approx(10)  # 10 % in every band
    off = reference + torch.tensor([0.01, 0.0, 0.0]).view(1, 3, 1, 1)
    assert ergas(off, reference).item() == pytest.approx(100 * math.sqrt(0.1**2 / 3), rel=1e-6)
    assert ergas(0.5 * off, 0.5 * reference).item() == pytest.approx(ergas(off, reference).item())


def test_a_black_band() -> None:
    reference, image = colour(0.0, 0.5, 0.8), colour(0.0, 0.6, 0.8)
    assert ergas(image, reference).item() == pytest.approx(100 * math.sqrt(0.2**2 / 3))
    assert ergas(colour(0.01, 0.5, 0.8), reference).item() == math.inf
    assert math.isfinite(ergas(reference, colour(0.01, 0.5, 0.8)).item())


def test_a_scorer_clamps_and_names() -> None:
    clear, restored = noise(0), 3 * noise(1) - 1
    clamped = restored.clamp(0, 1)
    scores = make_scorer(["ergas", "mae"])(restored, clear)
    assert list(scores) == ["ergas", "mae"]

    expected = (clamped.double() - clear.double()).abs().mean().item()
    assert scores["mae"] == pytest.approx(expected, abs=1e-12)

    none = {"mae": 0, "sam": 0, "ergas": 0}
    assert make_scorer(list(none))(clear, clear) == pytest.approx(none, abs=1e-12)
    angle = spectral_angle(clamped[None], clear[None]).item()
    score = make_scorer(["sam"])(restored.requires_grad_(), clear)
    assert score == {"sam": pytest.approx(angle, abs=1e-12)}
    assert make_scorer([])(restored, clear) == {}


def test_a_scorer_rejects_invalid_names_and_shapes() -> None:
    expected = ", ".join(METRICS)
    with pytest.raises(UserError, match=f"there is no metric psrn; expected {expected}"):
        make_scorer(["mae", "psrn"])
    with pytest.raises(ValueError, match=r"\(3, 16, 16\) and \(1, 16, 16\)"):
        make_scorer(["mae"])(noise(), noise(bands=1))


def test_the_help_of_the_option_follows_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "OPTIONAL", ("bias", "sam"))
    bias = Metric(ergas, help="mean difference", unit="levels", larger_is_better=True)
    monkeypatch.setitem(METRICS, "bias", bias)
    assert measures._option_help() == (
        "(bias: mean difference, levels, larger is better; "
        "sam: spectral angle between the colours of a pixel, degrees, smaller is better)"
    )
