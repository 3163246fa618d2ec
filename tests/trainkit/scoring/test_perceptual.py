import importlib.util
import math
import sys
import types
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from cloudkit.errors import UserError
from tests.helpers import noise
from trainkit.scoring.measures import make_scorer
from trainkit.scoring.perceptual import LPIPS_SMALLEST, load_lpips, perceptual_distance

has_lpips = pytest.mark.skipif(
    importlib.util.find_spec("lpips") is None, reason="the package lpips is not installed"
)


@pytest.fixture(autouse=True)
def _load_anew() -> Iterator[None]:
    load_lpips.cache_clear()
    yield
    load_lpips.cache_clear()


class FakeNetwork(nn.Module):
    """Stands for LPIPS: records its options and inputs, and returns the mean difference."""

    built: list[dict[str, object]]

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.built.append(options)
        print("Setting up" if options.get("verbose", True) else "", end="")
        warnings.warn("the parameter pretrained is deprecated", UserWarning, stacklevel=2)
        self.weight = nn.Parameter(torch.ones(1))
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.inputs += [x, y]
        return self.weight * (x - y).abs().mean(dim=(1, 2, 3), keepdim=True)


def replace_package(monkeypatch: pytest.MonkeyPatch, build: Callable[..., object]) -> None:
    package = types.ModuleType("lpips")
    package.LPIPS = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", package)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    replace_package(monkeypatch, FakeNetwork)
    monkeypatch.setattr(FakeNetwork, "built", [], raising=False)
    return FakeNetwork.built


def test_lpips_is_built_once_and_silently(
    fake: list[dict[str, object]], capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute = make_scorer(["mae", "lpips"])
    black, white = torch.zeros(3, 32, 33), torch.full((3, 32, 33), 1.0)
    for _ in range(3):  # 5 is clamped to 1, and 0 to 1 becomes -1 to 1
        assert compute(5 * white, black) == {"mae": 1, "lpips": pytest.approx(2)}
    assert fake == [{"net": "alex", "version": "0.1", "verbose": False}]
    assert capfd.readouterr() == ("", "")


def test_lpips_is_not_loaded_for_other_metrics(
    fake: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    none = {"mae": 0, "sam": 0, "ergas": 0}
    assert make_scorer(list(none))(noise(), noise()) == pytest.approx(none, abs=1e-12)
    assert fake == []


def test_lpips_gets_values_from_minus_1_to_1(fake: list[dict[str, object]]) -> None:
    image = noise(0, height=40, width=40).double()[None]
    reference = noise(1, height=40, width=40)[None]
    distance = perceptual_distance(image, reference)
    assert distance.dtype == torch.float64
    assert distance.shape == (1,)

    network = load_lpips()
    assert isinstance(network, FakeNetwork)
    for given, unit in zip(network.inputs, (image, reference), strict=True):
        assert given.dtype == torch.float32
        torch.testing.assert_close(given, (2 * unit - 1).float())

    twice = (2, -1, -1, -1)
    assert perceptual_distance(image.expand(twice), reference.expand(twice)).shape == (2,)


def test_lpips_needs_large_rgb_images(fake: list[dict[str, object]]) -> None:
    small, four_bands = torch.zeros(1, 3, 30, 31), torch.zeros(1, 4, 40, 40)
    message = "lpips cannot score 30x31 pixels, expected at least 31x31"
    with pytest.raises(ValueError, match=message):
        perceptual_distance(small, small)
    with pytest.raises(ValueError, match=r"three bands \(RGB\), but the image has 4"):
        perceptual_distance(four_bands, four_bands)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UserError, match=r"needs the package lpips.*pip install lpips"):
        make_scorer(["lpips"])


def no_network(*_: object, **__: object) -> object:
    raise URLError("no route to host")


def half_a_file(*_: object, **__: object) -> object:
    raise RuntimeError("PytorchStreamReader failed")


@pytest.mark.parametrize(
    ("build", "reason"),
    [(no_network, "no route to host"), (half_a_file, "PytorchStreamReader failed")],
)
def test_without_weights(
    build: Callable[..., object], reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace_package(monkeypatch, build)
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
    """The message names the file that the package reads, first missing, then damaged."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    place = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    with pytest.raises(UserError, match="no route to host") as caught:
        make_scorer(["lpips"])

    assert str(place) in str(caught.value)

    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"half a file")
    with pytest.raises(UserError, match="delete it first"):
        make_scorer(["lpips"])


@pytest.fixture
def random_backbone(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The real LPIPS on a random AlexNet, the only part that the package does not include."""
    package = pytest.importorskip("lpips")
    original = package.LPIPS

    def build(**options: Any) -> nn.Module:
        torch.manual_seed(0)
        return original(pnet_rand=True, **options)

    monkeypatch.setattr(package, "LPIPS", build)
    return load_lpips()


@has_lpips
def test_real_lpips_is_silent(
    random_backbone: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    load_lpips.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = load_lpips()
    assert capfd.readouterr() == ("", "")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@has_lpips
def test_real_lpips_is_a_distance(random_backbone: nn.Module) -> None:
    clear, other = noise(0, height=40, width=48), noise(1, height=40, width=48)
    compute = make_scorer(["lpips"])
    far = compute(other, clear)["lpips"]
    near = compute(clear.lerp(other, 0.1), clear)["lpips"]
    assert 0 < near < far
    assert compute(clear, clear)["lpips"] == pytest.approx(0, abs=1e-9)
    assert compute(other, clear)["lpips"] == far

    with torch.inference_mode():  # the package's own way from [0, 1]
        expected = random_backbone(other[None], clear[None], normalize=True).item()
    assert far == pytest.approx(expected, rel=1e-5)


@has_lpips
def test_the_smallest_image_of_real_lpips(random_backbone: nn.Module) -> None:
    image = noise(0, height=LPIPS_SMALLEST, width=LPIPS_SMALLEST)[None]
    assert math.isfinite(perceptual_distance(image, 1 - image).item())
    with pytest.raises(RuntimeError):
        random_backbone(image[..., 1:, :], image[..., 1:, :])
