from pathlib import Path

import pytest
import torch

from cloudkit.errors import UserError
from cloudkit.imaging.images import write_image
from cloudkit.processes import Processes
from tests.helpers import noise
from trainkit.data.pairs import Pair
from trainkit.data.scenes import PairScenes, Scene, check_scenes, mean_scores

ONE_PROCESS = Processes(0, 1, torch.device("cpu"))
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def pair(folder: Path, *, width: int = 16) -> Pair:
    write_image(folder / "cloudy.tif", noise(1), bits=16)
    write_image(folder / "truth.tif", noise(2, bands=1, width=width), bits=16)
    return Pair("a", folder / "cloudy.tif", folder / "truth.tif")


@pytest.mark.parametrize("bands", [1, 3])
def test_scenes_are_read_from_pairs(tmp_path: Path, bands: int) -> None:
    (scene,) = PairScenes([pair(tmp_path)], truth_bands=bands)
    truth = noise(2, bands=1).expand(bands, -1, -1)
    assert scene.name == "a"
    torch.testing.assert_close(scene.cloudy, noise(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(scene.truth, truth, rtol=0, atol=1e-5)


def test_sizes_that_differ(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cloudy\.tif is 16x16 and .*truth\.tif is 16x17 pixels"):
        PairScenes([pair(tmp_path, width=17)])[0]


def test_scenes_too_small_or_damaged_are_found_beforehand(tmp_path: Path) -> None:
    scenes = PairScenes([pair(tmp_path)])
    check_scenes(scenes, ONE_PROCESS, smallest=16)
    message = "a cannot be scored: it is 16x16 pixels, expected at least 17x17"
    with pytest.raises(UserError, match=message):
        check_scenes(scenes, ONE_PROCESS, smallest=17)

    (tmp_path / "truth.tif").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"truth\.tif cannot be read"):
        check_scenes(scenes, ONE_PROCESS, smallest=1)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])
def test_scores_are_computed_on_the_device_of_the_network(device: str) -> None:
    def score(scene: Scene) -> dict[str, float]:
        assert scene.cloudy.device.type == scene.truth.device.type == device
        return {"x": float(scene.truth)}

    scenes = [Scene("a", torch.zeros(3, 1, 1), torch.ones(1, 1, 1))]
    assert mean_scores(scenes, score, Processes(0, 1, torch.device(device))) == {"x": 1.0}


def test_a_scene_on_a_device() -> None:
    scene = Scene("a", torch.zeros(3, 1, 1), torch.ones(1, 1, 1)).on(torch.device("meta"))
    assert (scene.name, scene.cloudy.device.type, scene.truth.device.type) == ("a", "meta", "meta")


def test_means_over_all_scenes() -> None:
    def score(scene: Scene) -> dict[str, float]:
        return {"x": float(scene.truth), "y": 1.0}

    truths = [torch.full((1, 1, 1), value) for value in (1.0, 2.0, 6.0)]
    scenes = [Scene("", torch.zeros(3, 1, 1), truth) for truth in truths]
    assert mean_scores(scenes, score, ONE_PROCESS) == {"x": 3.0, "y": 1.0}
