"""Programs with a scene's options write the bytes of predict.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cloudkit.checkpoints import save_checkpoint
from cloudkit.errors import UserError
from scpm import SCPM
from tests.scripts.predicting import files, predict, scene
from thiefcloud import SceneStatistics, ThiefCloud, Window, restore_window
from thiefcloud.inference.scene_options import SceneOptions


@pytest.mark.parametrize(("tile", "number"), [(32, 4), (64, 0)])
def test_tiles_and_one_pass_are_those_of_predict(tmp_path: Path, tile: int, number: int) -> None:
    weights, path, out = tmp_path / "w.pt", tmp_path / "a.tif", tmp_path / "here" / "a.tif"
    torch.manual_seed(2)
    untrained = ThiefCloud(SCPM())
    save_checkpoint(weights, "thiefcloud", untrained.config, {"model": untrained.state_dict()})
    scene(path, 4, photometric="minisblack")
    bands = ("--bands", 4, 3, 2, "--tile", tile)
    assert predict(weights, path, *bands, "--out", tmp_path / "expected") == 0

    options = SceneOptions(
        scene=path, out=out, checkpoint=weights, bands=(4, 3, 2), tile=tile, device="cpu"
    )
    model, taken = options.load(), list[Window]()

    def work(statistics: SceneStatistics, tiles: list[Window]) -> Iterator[None]:
        with options.open() as target:  # as another process does, without the run
            for window in tiles:
                target.write(window, *restore_window(model, target.source, statistics, window))
                target.finish(window)
                taken.append(window)
                yield

    options.restore(work)
    assert out.read_bytes() == (tmp_path / "expected" / "a.tif").read_bytes()
    assert files(out.parent) == ["a.tif"]
    assert len(taken) == number


@pytest.mark.parametrize(
    ("out", "tile", "message"),
    [("a.png", 512, "--out is a.png, expected a file"), ("a.tif", 8, "--tile is 8, expected at")],
)
def test_files_and_tiles_that_cannot_be_written_are_refused(
    out: str, tile: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SceneOptions(scene=Path("scene.tif"), out=Path(out), tile=tile)


@pytest.mark.parametrize("kind", ["itself", "link", "hard link"])
def test_the_scene_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = out = tmp_path / "a.tif"
    path.write_bytes(b"a scene")
    if kind != "itself":
        out = tmp_path / "b.tif"
        out.symlink_to(path) if kind == "link" else out.hardlink_to(path)
    SceneOptions(scene=tmp_path / "another.tif", out=out)  # reading says that it is missing
    with pytest.raises(ValueError, match="is the scene itself and would be replaced"):
        SceneOptions(scene=path, out=out)


def test_weights_for_other_bands_are_refused(tmp_path: Path) -> None:
    weights, model = tmp_path / "four.pt", ThiefCloud(SCPM(4), 4)
    save_checkpoint(weights, "thiefcloud", model.config, {"model": model.state_dict()})
    options = SceneOptions(scene=Path("scene.tif"), out=tmp_path / "a.tif", checkpoint=weights)
    with pytest.raises(UserError, match=r"four\.pt takes images of 4 bands, expected 3"):
        options.load()
