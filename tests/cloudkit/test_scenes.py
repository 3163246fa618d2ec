from pathlib import Path

import pytest
import torch

from cloudkit.distributed import World
from cloudkit.errors import UserError
from cloudkit.images import write_image
from cloudkit.pairs import Pair
from cloudkit.panels import side_by_side, stacked
from cloudkit.scenes import PairScenes, Scene, check_scenes, mean_scores
from tests.helpers import noise

CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def pair(folder: Path, name: str, *, width: int = 16) -> Pair:
    write_image(folder / "cloudy.tif", noise(1), bits=16)
    write_image(folder / "truth.tif", noise(2, bands=1, width=width), bits=16)
    return Pair(name, folder / "cloudy.tif", folder / "truth.tif")


@pytest.mark.parametrize("bands", [1, 3])
def test_scenes_are_read_from_pairs(tmp_path: Path, bands: int) -> None:
    scenes = PairScenes([pair(tmp_path, "a")], truth_bands=bands)
    assert len(scenes) == 1
    scene = scenes[0]
    assert scene.name == "a"
    torch.testing.assert_close(scene.cloudy, noise(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(scene.truth, noise(2, bands=1).expand(bands, -1, -1), rtol=0, atol=1e-5)


def test_sizes_that_differ(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cloudy\.tif is 16x16 and .*truth\.tif is 16x17 pixels"):
        PairScenes([pair(tmp_path, "a", width=17)])[0]


def test_scenes_too_small_or_damaged_are_found_beforehand(tmp_path: Path) -> None:
    scenes = PairScenes([pair(tmp_path, "a")])
    check_scenes(scenes, World(0, 1, CPU), smallest=16)
    with pytest.raises(UserError, match="a cannot be scored: it is 16x16 pixels, expected at least 17x17"):
        check_scenes(scenes, World(0, 1, CPU), smallest=17)
    (tmp_path / "truth.tif").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"truth\.tif cannot be read"):
        check_scenes(scenes, World(0, 1, CPU), smallest=1)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])
def test_scores_are_computed_where_the_network_is(device: str) -> None:
    def score(scene: Scene) -> dict[str, float]:
        assert scene.cloudy.device.type == scene.truth.device.type == device
        return {"x": float(scene.truth)}

    scenes = [Scene("a", torch.zeros(3, 1, 1), torch.ones(1, 1, 1))]
    assert mean_scores(scenes, score, World(0, 1, torch.device(device))) == {"x": 1.0}


def test_a_scene_on_a_device() -> None:
    scene = Scene("a", torch.zeros(3, 1, 1), torch.ones(1, 1, 1)).on(torch.device("meta"))
    assert (scene.name, scene.cloudy.device.type, scene.truth.device.type) == ("a", "meta", "meta")


def test_means_over_all_scenes() -> None:
    scenes = [Scene(str(n), torch.zeros(3, 1, 1), torch.full((1, 1, 1), float(n))) for n in (1, 2, 6)]
    means = mean_scores(scenes, lambda scene: {"x": float(scene.truth), "y": 1.0}, World(0, 1, CPU))
    assert means == {"x": 3.0, "y": 1.0}


def test_panels_show_images_side_by_side() -> None:
    colour, gray = noise(1), noise(2, bands=1)
    panel = side_by_side({"one": colour, "two": gray * 3 - 1})
    height = panel.shape[1]
    assert height > 16
    assert panel.shape[0] == 3
    assert torch.equal(panel[:, height - 16 :, :16], colour)
    assert torch.equal(panel[:, height - 16 :, -16:], (gray * 3 - 1).clamp(0, 1).expand(3, -1, -1))
    assert (panel[:, : height - 16] < 0.5).any()  # the titles
    assert torch.equal(panel[:, :, 16:-16], torch.ones(3, height, panel.shape[2] - 32))


def test_panels_of_any_width_are_stacked() -> None:
    picture = stacked([noise(1, width=16), noise(2, width=24)])
    assert picture.shape[2] == 24
    assert torch.equal(picture[:, :16, :16], noise(1, width=16))
    assert (picture[:, :16, 16:] == 1).all()
    assert torch.equal(picture[:, -16 - (picture.shape[1] // 2 - 16) :][:, :16], noise(2, width=24))
