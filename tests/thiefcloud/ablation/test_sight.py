from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from cloudkit.scenes import Scene
from cloudkit.scoring.metrics import correlation
from scpm import SCPM
from scpm.opacity import estimate_opacity
from thiefcloud import ThiefCloud
from thiefcloud.ablation import sight


def test_correlations_from_sums() -> None:
    x, y = torch.rand(4, 1, 6, 5), torch.rand(4, 1, 6, 5)
    y += x
    parts = [sight.sums(one, other) for one, other in zip(x, y, strict=True)]
    for index, part in enumerate(parts):
        assert sight.pearson([part]) == pytest.approx(float(correlation(x[index : index + 1], y[index : index + 1])), abs=1e-9)
    together = float(correlation(x.reshape(1, 1, -1, 1), y.reshape(1, 1, -1, 1)))
    assert sight.pearson(parts) == pytest.approx(together, abs=1e-9)
    assert sight.pearson([sight.sums(torch.full((1, 5, 5), 0.3), torch.rand(1, 5, 5))]) == 0


def test_maps_before_and_after_tuning(tmp_path: Path) -> None:
    """Maps are not clamped: a network that writes values far above 1 still correlates as it does."""
    network, prior = ThiefCloud(SCPM()), SCPM()
    assert isinstance(network.prior, SCPM)
    torch.nn.init.constant_(network.prior.head.bias, 7.0)  # type: ignore[arg-type]
    save_checkpoint(tmp_path / "best.pt", "thiefcloud", network.config, {"model": network.state_dict()})
    save_checkpoint(tmp_path / "prior.pt", "scpm", prior.config, {"model": prior.state_dict()})
    clear = torch.rand(3, 20, 17)
    scene = Scene("a", 0.5 * clear + 0.4, clear)
    found = sight.look(tmp_path / "best.pt", tmp_path / "prior.pt", [scene], torch.device("cpu"))
    opacity = estimate_opacity(scene.cloudy, clear)
    for moment, model in (("before", prior), ("after", network.prior)):
        map_ = sight.raw_thickness(model, scene.cloudy)
        assert map_.shape == (1, 20, 17)
        assert sight.pearson([found[moment]["a"]]) == pytest.approx(float(correlation(map_[None], opacity[None])), abs=1e-4)
    assert sight.raw_thickness(network.prior, scene.cloudy).min() > 1
    assert found["before"] != found["after"]
    sight.write(tmp_path / "sight.json", found)
    assert sight.read(tmp_path / "sight.json") == found
    frozen = sight.look(tmp_path / "best.pt", None, [scene], torch.device("cpu"))
    assert frozen["before"] == frozen["after"] == found["after"]
