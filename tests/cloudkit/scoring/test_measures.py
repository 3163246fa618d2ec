import importlib.util
import math
import sys
import types
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cloudkit.errors import UserError
from cloudkit.scoring.measures import (
    LPIPS_SMALLEST,
    MEASURES,
    MeasureName,
    ergas,
    load_lpips,
    measurer,
    perceptual_distance,
    spectral_angle,
)
from tests.helpers import noise

FAST: tuple[MeasureName, ...] = ("mae", "sam", "ergas")
has_lpips = pytest.mark.skipif(importlib.util.find_spec("lpips") is None, reason="the package lpips is not installed")


def colour(*values: float) -> Tensor:
    """A flat image of one colour."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1).expand(1, -1, 4, 5)


def test_every_measure_is_described() -> None:
    assert tuple(MEASURES) == get_args(MeasureName)
    for name, measure in MEASURES.items():
        assert 10 < len(measure.description) < 160, name
        assert "\n" not in measure.description
        assert not measure.larger_is_better  # all four are errors or distances


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_as_numpy(bands: int) -> None:
    image, reference = noise(0, bands=bands, height=17), noise(1, bands=bands, height=17)
    x, y = (t.double().numpy() for t in (image, reference))
    cosine = (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))
    expected_sam = np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()
    expected_ergas = 100 * np.sqrt(np.mean([((a - b) ** 2).mean() / b.mean() ** 2 for a, b in zip(x, y, strict=True)]))
    assert spectral_angle(image[None], reference[None]).item() == pytest.approx(expected_sam, abs=1e-6)
    assert ergas(image[None], reference[None]).item() == pytest.approx(expected_ergas, rel=1e-9)


def test_a_batch_is_many_images() -> None:
    images, others = (torch.stack([noise(seed + shift) for seed in range(3)]) for shift in (0, 10))
    for measure in (spectral_angle, ergas):
        single = torch.cat([measure(images[i : i + 1], others[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(measure(images, others), single, rtol=0, atol=1e-12)
        assert measure(images, others).dtype == torch.float64
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
    for pair in ((colour(*first), colour(*second)), (colour(*second), colour(*first))):
        assert spectral_angle(*pair).item() == pytest.approx(degrees, abs=1e-10)


def test_black_pixels_count_in_the_mean() -> None:
    image, reference = colour(0.2, 0.4, 0.6).clone(), colour(0.2, 0.4, 0.6).clone()
    image[..., 0, 0] = 0
    assert spectral_angle(image, reference).item() == pytest.approx(90 / 20)
    reference[..., 0, 0] = 0
    assert spectral_angle(image, reference).item() == pytest.approx(0, abs=1e-12)


def test_known_relative_errors() -> None:
    reference = colour(0.1, 0.5, 0.8)
    assert ergas(reference, reference).item() == 0
    assert ergas(1.1 * reference, reference).item() == pytest.approx(10)  # ten per cent off in every band
    off = reference + torch.tensor([0.01, 0.0, 0.0]).view(1, 3, 1, 1)
    assert ergas(off, reference).item() == pytest.approx(100 * math.sqrt(0.1**2 / 3), rel=1e-6)
    assert ergas(0.5 * off, 0.5 * reference).item() == pytest.approx(ergas(off, reference).item())


def test_a_black_band() -> None:
    reference, image = colour(0.0, 0.5, 0.8), colour(0.0, 0.6, 0.8)
    assert ergas(image, reference).item() == pytest.approx(100 * math.sqrt(0.2**2 / 3))
    assert ergas(colour(0.01, 0.5, 0.8), reference).item() == math.inf
    assert math.isfinite(ergas(reference, colour(0.01, 0.5, 0.8)).item())


def test_a_measurer_clamps_and_names() -> None:
    clear, restored = noise(0), 3 * noise(1) - 1
    measure = measurer(["ergas", "mae"])
    found = measure(restored, clear)
    assert list(found) == ["ergas", "mae"]
    assert found["mae"] == pytest.approx((restored.clamp(0, 1).double() - clear.double()).abs().mean().item(), abs=1e-12)
    assert measurer(FAST)(clear, clear) == pytest.approx({"mae": 0, "sam": 0, "ergas": 0}, abs=1e-12)
    assert measurer(["sam"])(restored.requires_grad_(), clear)["sam"] == pytest.approx(
        spectral_angle(restored.detach().clamp(0, 1)[None], clear[None]).item(), abs=1e-12
    )
    assert measurer([])(restored, clear) == {}


def test_a_measurer_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UserError, match="there is no measure psrn; expected mae, sam, ergas, lpips"):
        measurer(["mae", "psrn"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"\(3, 16, 16\) and \(1, 16, 16\)"):
        measurer(["mae"])(noise(), noise(bands=1))


class FakeNetwork(nn.Module):
    """Stands for LPIPS: counts how often it is built, notes what it is given, and gives the mean difference."""

    built: list[dict[str, object]]

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.built.append(options)
        print("Setting up" if options.get("verbose", True) else "", end="")
        warnings.warn("the parameter pretrained is deprecated", UserWarning, stacklevel=2)
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.seen += [x, y]
        return self.weight * (x - y).abs().mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    package = types.ModuleType("lpips")
    package.LPIPS = FakeNetwork  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(FakeNetwork, "built", [], raising=False)
    return FakeNetwork.built


def test_lpips_is_built_once_and_silently(fake: list[dict[str, object]], capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure = measurer(["mae", "lpips"])
    black, white = torch.zeros(3, 32, 33), torch.full((3, 32, 33), 1.0)
    for _ in range(3):
        assert measure(5 * white, black) == {"mae": 1, "lpips": pytest.approx(2)}  # clamped, then from [0, 1] to [-1, 1]
    assert fake == [{"net": "alex", "version": "0.1", "verbose": False}]
    assert capfd.readouterr() == ("", "")


def test_lpips_is_left_alone_until_asked_for(fake: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert measurer(FAST)(noise(), noise()) == pytest.approx({"mae": 0, "sam": 0, "ergas": 0}, abs=1e-12)
    assert fake == []


def test_lpips_gets_values_from_minus_1_to_1(fake: list[dict[str, object]]) -> None:
    network = load_lpips()
    image, reference = noise(0, height=40, width=40).double()[None], noise(1, height=40, width=40)[None]
    distance = perceptual_distance(network, image, reference)
    assert isinstance(network, FakeNetwork)
    assert distance.dtype == torch.float64
    assert distance.shape == (1,)
    for given, meant in zip(network.seen, (image, reference), strict=True):
        assert given.dtype == torch.float32
        torch.testing.assert_close(given, (2 * meant - 1).float())
    assert perceptual_distance(network, image.expand(2, -1, -1, -1), reference.expand(2, -1, -1, -1)).shape == (2,)


def test_lpips_wants_large_rgb_images(fake: list[dict[str, object]]) -> None:
    network = load_lpips()
    with pytest.raises(ValueError, match="lpips cannot score 30x31 pixels, expected at least 31x31"):
        perceptual_distance(network, torch.zeros(1, 3, 30, 31), torch.zeros(1, 3, 30, 31))
    with pytest.raises(ValueError, match=r"three bands \(RGB\), got 4"):
        perceptual_distance(network, torch.zeros(1, 4, 40, 40), torch.zeros(1, 4, 40, 40))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match=r"needs the package lpips.*pip install lpips"):
        measurer(["lpips"])


def no_network(*_: object, **__: object) -> object:
    raise URLError("no route to host")


def half_a_file(*_: object, **__: object) -> object:
    raise RuntimeError("PytorchStreamReader failed")


@pytest.mark.parametrize(("build", "reason"), [(no_network, "no route to host"), (half_a_file, "PytorchStreamReader failed")])
def test_without_weights(build: Callable[..., object], reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = types.ModuleType("lpips")
    package.LPIPS = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_lpips()
    message = str(caught.value)
    for part in (
        reason,
        str(tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"),
        "Fetch https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "TORCH_HOME",
    ):
        assert part in message
    assert "\n" not in message


@has_lpips
def test_the_real_package_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package looks where the message says: there is nothing, the network is cut off; then there is a damaged file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    place = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    with pytest.raises(UserError, match="no route to host") as caught:
        measurer(["lpips"])
    assert str(place) in str(caught.value)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"half a file")
    with pytest.raises(UserError, match="delete it first"):
        measurer(["lpips"])


@pytest.fixture
def random_backbone(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The real LPIPS on a random AlexNet: the only part that the package does not bring along."""
    package = pytest.importorskip("lpips")
    original = package.LPIPS

    def build(**options: Any) -> nn.Module:
        torch.manual_seed(0)
        return original(pnet_rand=True, **options)

    monkeypatch.setattr(package, "LPIPS", build)
    return load_lpips()


@has_lpips
def test_real_lpips_is_silent(random_backbone: nn.Module, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = load_lpips()
    assert capfd.readouterr() == ("", "")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@has_lpips
def test_real_lpips_is_a_distance(random_backbone: nn.Module) -> None:
    clear, other = noise(0, height=40, width=48), noise(1, height=40, width=48)
    measure = measurer(["lpips"])
    far = measure(other, clear)["lpips"]
    near = measure(clear.lerp(other, 0.1), clear)["lpips"]
    assert 0 < near < far
    assert measure(clear, clear)["lpips"] == pytest.approx(0, abs=1e-9)
    assert measure(other, clear)["lpips"] == far
    with torch.inference_mode():
        expected = random_backbone(other[None], clear[None], normalize=True).item()  # the package's own way from [0, 1]
    assert far == pytest.approx(expected, rel=1e-5)


@has_lpips
def test_the_smallest_image_of_real_lpips(random_backbone: nn.Module) -> None:
    image = noise(0, height=LPIPS_SMALLEST, width=LPIPS_SMALLEST)[None]
    assert math.isfinite(perceptual_distance(random_backbone, image, 1 - image).item())
    with pytest.raises(RuntimeError):
        random_backbone(image[..., 1:, :], image[..., 1:, :])
