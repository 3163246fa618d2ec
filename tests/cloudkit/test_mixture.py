from pathlib import Path

import pytest
import torch

from cloudkit.batches import Sampler
from cloudkit.distributed import World
from cloudkit.mixture import read_mixture
from cloudkit.pairs import DataError
from tests.helpers import write_images, write_pairs
from thiefcloud.data import Data, TrainingBatches, open_data
from thiefcloud.options import DataOptions


def written(folder: Path, text: str) -> Path:
    path = folder / "mixture.toml"
    path.write_text(text, encoding="utf-8")
    return path


def opened(folder: Path, text: str) -> Data:
    return open_data(DataOptions(dataset="mixture", root=folder, mixture=written(folder, text)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four pairs, of which one serves for validation, and five clear images."""
    write_pairs(tmp_path / "pairs", 4)
    write_images(tmp_path / "land", [f"{name}.png" for name in "abcde"])
    return tmp_path


PAIRS = '[[source]]\ndataset = "folder"\nfolder = "pairs"\n'
LAND = '[[source]]\ndataset = "clear"\nfolder = "land"\n'


def test_a_pass_draws_what_the_file_says(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 2\nclear = 1\n{LAND}simulated = 0.6\n")
    pairs = [place for place in data.train if place.cloudy != place.clear]
    left_alone = [place for place in data.train if place.cloudy == place.clear and not place.simulated]
    simulated = [place for place in data.train if place.simulated]
    assert len(data.train) == len(pairs) + len(left_alone) + len(simulated)
    assert sorted(place.clear.name for place in pairs) == sorted(2 * [place.clear.name for place in left_alone])
    assert len(left_alone) == 3
    assert all(place.cloudy.parent.name == "cloudy" and place.cloudy.name == place.clear.name for place in pairs)
    assert len(simulated) == len(set(simulated)) == 3
    assert {place.clear.parent.name for place in simulated} == {"land"}
    assert "a pass draws 6 pairs, 3 clear" in data.note


def test_validation_is_pairs_alone_under_the_name_of_their_folder(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 1\n{LAND}clear = 1\n")
    assert [name.startswith("pairs_") for name in data.val.names] == [True]
    assert len(data.test) == 4
    seen = {place.clear.stem for place in data.train}
    assert not seen & {name.removeprefix("pairs_") for name in data.val.names}


def test_folders_of_equal_names_are_told_apart(root: Path) -> None:
    write_pairs(root / "other" / "pairs", 4)
    other = PAIRS.replace('"pairs"', '"other/pairs"')
    data = opened(root, f"{PAIRS}pairs = 1\n{other}pairs = 1\n{PAIRS}pairs = 1\n")
    for scenes, count in ((data.val, 3), (data.test, 12)):
        assert len(set(scenes.names)) == count
        assert {name.split("_")[0] for name in scenes.names} == {"pairs", "pairs-2", "pairs-3"}


def test_a_source_can_go_without_validation(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 1\nvalidate = false\n")
    assert (len(data.train), len(data.val)) == (4, 0)


def test_lists_lie_beside_the_file(root: Path) -> None:
    (root / "some.txt").write_text("10\n20\n", encoding="utf-8")
    data = opened(root, f'{PAIRS}pairs = 1\nvalidate = false\nsplit = "some.txt"\n')
    assert sorted(place.clear.stem for place in data.train) == ["10", "20"]


def test_a_folder_can_be_named_from_the_file(root: Path) -> None:
    (root / "recipes").mkdir()
    text = LAND.replace('"land"', '"../land"')
    (source,) = read_mixture(written(root / "recipes", f"{text}clear = 1\n"), root / "elsewhere")
    assert sorted(path.name for path in source.folder.iterdir()) == [f"{name}.png" for name in "abcde"]


def test_draws_below_one_are_spread(root: Path) -> None:
    (source,) = read_mixture(written(root, f"{LAND}simulated = 0.4\nclear = 2.5\n"), root)
    assert source.drawn("simulated", "abcde") == ["a", "c"]
    assert sorted(source.drawn("clear", "ab")) == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source = [1]", r"source 1 of .* is 1, expected a \[\[source\]\] entry"),
        ("source = 1", r"expected \[\[source\]\] entries"),
        ("", "holds nothing"),
        ("[[source]", "cannot be read as a mixture"),
        (f"name = 1\n{LAND}clear = 1", "expected .* entries and nothing else"),
        (f"{LAND}clear = 1\ncolour = 2", "source 1 of .* says colour, expected only dataset"),
        ('[[source]]\ndataset = "clear"\nclear = 1', "has no folder"),
        (LAND, "draws nothing"),
        (f"{LAND}clear = 0", "draws nothing"),
        (f"{LAND}clear = -1", "says clear = -1, expected a number from 0"),
        (f"{LAND}clear = true", "says clear = True, expected a number"),
        (f"{LAND}clear = nan", "says clear = nan, expected a number"),
        (f'{LAND}clear = "1"', "expected a number"),
        (f"{PAIRS}pairs = 1\nkeep_opaque = 1", "says keep_opaque = 1, expected true or false"),
        (f"{LAND}clear = 1\nkeep_opaque = true", "says keep_opaque = true, which is of pairs, and draws none"),
        (f"{LAND}clear = 1\nvalidate = 1", 'says validate = 1, expected true, false or "all"'),
        (f"{LAND}pairs = 1", "no pairs"),
        (f"{PAIRS}pairs = 1\n{LAND}split = 3", "says split = 3, expected text"),
        (f'{LAND}clear = 1\nsplit = "absent.txt"', "absent.txt"),
        ('[[source]]\ndataset = "rice9"\nfolder = "pairs"\npairs = 1', "rice9"),
        ('[[source]]\ndataset = "folder"\nfolder = "absent"\npairs = 1', "absent"),
        (
            '[[source]]\ndataset = "clear"\nfolder = "../absent"\nclear = 1',
            r"source 1 of .* names \.\./absent, which is no folder",
        ),
        ('[[source]]\ndataset = "simulated"\nfolder = "land"\nclear = 1', "simulated"),
    ],
)
def test_mistakes_are_named(root: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(root, text)


def test_a_missing_file_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.toml cannot be read"):
        read_mixture(root / "absent.toml", root)


def test_batches_show_each_use(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 1\nvalidate = false\n{LAND}simulated = 1\nclear = 1\n")
    world = World(0, 1, torch.device("cpu"))
    batches = TrainingBatches(data, crop=8, seed=3, store="host", world=world)
    count = len(data.train)
    batch_of, steps = batches.of_phase(0, count)
    assert steps == 1
    cloudy, clear = batch_of(0)
    order = [draw.index for draw in Sampler(count, count, seed=3, phase=0, world=world).draws(0)]
    assert sorted(order) == list(range(count))
    for number, index in enumerate(order):
        place = data.train[index]
        if place.simulated:
            assert 0 < (cloudy[number] - clear[number]).abs().mean() < 0.9
            assert not torch.allclose(cloudy[number], 0.5 * clear[number] + 0.4, atol=0.01)
        elif place.cloudy == place.clear:
            assert torch.equal(cloudy[number], clear[number])
        else:
            torch.testing.assert_close(cloudy[number], 0.5 * clear[number] + 0.4, rtol=0, atol=0.004)
