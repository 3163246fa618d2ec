from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from prior_ablation.thickness import compare_tuning, correlate, raw_thickness
from scpm import SCPM
from scpm.simulation.opacity import estimate_opacity
from thiefcloud import ThiefCloud
from trainkit.data.scenes import Scene
from trainkit.scoring.metrics import correlation


def make_scene(name: str, height: int = 20, width: int = 17) -> Scene:
    clear = torch.rand(3, height, width)
    return Scene(name, 0.5 * clear + 0.4, clear)


def test_pixels_of_all_images_count_together_between_images() -> None:
    network, scenes = SCPM(), [make_scene("a"), make_scene("b", 16, 9)]
    found = correlate(network, scenes)
    assert list(found["within"]) == ["a", "b"]

    maps = [raw_thickness(network, scene.cloudy).flatten() for scene in scenes]
    opacities = [estimate_opacity(scene.cloudy, scene.truth).flatten() for scene in scenes]
    expected = torch.corrcoef(torch.stack([torch.cat(maps), torch.cat(opacities)]).double())[0, 1]
    assert found["between"] == pytest.approx(float(expected), abs=1e-6)


def test_maps_before_and_after_tuning(tmp_path: Path) -> None:
    """Maps are not clamped: a network that writes values far above 1 still correlates."""
    network, prior = ThiefCloud(SCPM()), SCPM()
    assert isinstance(network.prior, SCPM)
    torch.nn.init.constant_(network.prior.head.bias, 7.0)  # type: ignore[arg-type]
    best, first = tmp_path / "best.pt", tmp_path / "prior.pt"
    save_checkpoint(best, "thiefcloud", network.config, {"model": network.state_dict()})
    save_checkpoint(first, "scpm", prior.config, {"model": prior.state_dict()})

    scene, cpu = make_scene("a"), torch.device("cpu")
    found = compare_tuning(best, first, [scene], cpu)
    opacity = estimate_opacity(scene.cloudy, scene.truth)
    for moment, model in (("before", prior), ("after", network.prior)):
        thickness = raw_thickness(model, scene.cloudy)
        assert thickness.shape == (1, 20, 17)
        expected = float(correlation(thickness[None], opacity[None]))
        assert found[moment]["within"]["a"] == pytest.approx(expected, abs=1e-4)
        assert found[moment]["between"] == pytest.approx(expected, abs=1e-4)

    assert raw_thickness(network.prior, scene.cloudy).min() > 1
    assert found["before"] != found["after"]
    frozen = compare_tuning(best, None, [scene], cpu)
    assert frozen["before"] == frozen["after"] == found["after"]
