from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scpm import CloudOptions, SimulatedClouds, simulate_clouds
from tests.batches import one_pass, samples_of_one_pass
from tests.helpers import write_images, write_pairs
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.data.options import DataOptions
from trainkit.data.mixture import read_mixture
from trainkit.data.pairs import DataError


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
    pairs = [pair for pair in data.train if pair.cloudy != pair.clear]
    simulated = [pair for pair in data.train if pair.simulated]
    unchanged = [pair for pair in data.train if pair.cloudy == pair.clear and not pair.simulated]
    assert len(data.train) == len(pairs) + len(unchanged) + len(simulated)

    names = [pair.clear.name for pair in unchanged]
    assert len(names) == 3
    assert sorted(pair.clear.name for pair in pairs) == sorted(2 * names)
    for pair in pairs:
        assert pair.cloudy.parent.name == "cloudy"
        assert pair.cloudy.name == pair.clear.name

    assert len(simulated) == len(set(simulated)) == 3
    assert {pair.clear.parent.name for pair in simulated} == {"land"}
    assert "a pass draws 6 pairs, 3 clear" in data.note


def test_validation_is_pairs_alone_under_the_name_of_their_folder(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 1\n{LAND}clear = 1\n")
    assert [name.startswith("pairs_") for name in data.val.names] == [True]
    assert len(data.test) == 4
    trained = {pair.clear.stem for pair in data.train}
    assert not trained & {name.removeprefix("pairs_") for name in data.val.names}


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


def test_veiled_pairs_get_one_more_cloud(root: Path) -> None:
    data = opened(root, f"{PAIRS}veiled = 1\nvalidate = false\n")
    assert all(pair.simulated and pair.cloudy != pair.clear for pair in data.train)
    inputs: list[Tensor] = []

    def simulate(images: Tensor, seeds: Sequence[int]) -> SimulatedClouds:
        inputs.append(images)
        return simulate_clouds(images, seeds, CloudOptions(opacity=(0.1, 0.5), texture=(0.0, 0.0)))

    cloudy, clear = one_pass(replace(data, simulate=simulate), crop=16, seed=1)[:2]
    torch.testing.assert_close(inputs[0], 0.5 * clear + 0.4, rtol=0, atol=0.01)
    assert not torch.allclose(cloudy, inputs[0], atol=0.01)


def test_a_source_of_clear_images_can_validate_under_fixed_clouds(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 1\n{LAND}simulated = 1\nvalidate = true\n")
    assert [name.split("_")[0] for name in data.val.names] == ["pairs", "land"]
    scene = data.val[1]
    assert (scene.cloudy - scene.truth).abs().max() > 0.01
    assert torch.equal(scene.cloudy, data.val[1].cloudy)
    assert data.val.folders == {root / "pairs" / "cloudy", root / "pairs" / "clear", root / "land"}
    assert scene.name.removeprefix("land_") not in {pair.clear.stem for pair in data.train}


def test_a_source_can_hold_nothing_but_validation(root: Path) -> None:
    data = opened(root, f'{PAIRS}pairs = 1\nvalidate = false\n{LAND}validate = "all"\n')
    assert sorted(data.val.names) == [f"land_{name}" for name in "abcde"]
    assert {pair.clear.parent.name for pair in data.train} == {"clear"}
    assert "a pass draws nothing, 5 serve for validation" in data.note


def test_jitter_changes_both_images_alike(root: Path) -> None:
    data = opened(root, f"{PAIRS}pairs = 1\nvalidate = false\n")
    plain, changed = (one_pass(data, crop=16, seed=1, jitter=jitter)[:2] for jitter in (0.0, 0.3))
    factors = changed[0].amax((2, 3), keepdim=True) / plain[0].amax((2, 3), keepdim=True)
    assert (factors - 1).abs().max() > 0.05
    for before, after in zip(plain, changed, strict=True):
        torch.testing.assert_close(after, before * factors, rtol=0, atol=1e-5)
        assert after.max() <= 1


def test_lists_lie_beside_the_file(root: Path) -> None:
    (root / "some.txt").write_text("10\n20\n", encoding="utf-8")
    data = opened(root, f'{PAIRS}pairs = 1\nvalidate = false\nsplit = "some.txt"\n')
    assert sorted(pair.clear.stem for pair in data.train) == ["10", "20"]


def test_a_folder_can_be_named_from_the_file(root: Path) -> None:
    (root / "recipes").mkdir()
    text = LAND.replace('"land"', '"../land"')
    (source,) = read_mixture(written(root / "recipes", f"{text}clear = 1\n"), root / "elsewhere")
    assert sorted(path.name for path in source.folder.iterdir()) == [
        f"{name}.png" for name in "abcde"
    ]


def test_draws_below_one_are_spread(root: Path) -> None:
    (source,) = read_mixture(written(root, f"{LAND}simulated = 0.4\nclear = 2.5\n"), root)
    assert source.sample("simulated", "abcde") == ["a", "c"]
    assert sorted(source.sample("clear", "ab")) == ["a", "a", "a", "b", "b"]


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
        (
            f"{LAND}clear = 1\nkeep_opaque = true",
            "says keep_opaque = true, which is of pairs, and draws none",
        ),
        (f"{PAIRS}pairs = 1\noverlay = 1", "says overlay = 1, expected true or false"),
        (f'{PAIRS}pairs = 1\noverlay = "true"', "says overlay = 'true', expected true or false"),
        (
            f"{LAND}clear = 1\noverlay = true",
            "says overlay = true, which is of pairs, and draws none",
        ),
        (
            f"{PAIRS}clear = 1\noverlay = true",
            "says overlay = true, which is of pairs, and draws none",
        ),
        (f"{LAND}clear = 1\nvalidate = 1", 'says validate = 1, expected true, false or "all"'),
        (f"{LAND}pairs = 1", "no pairs"),
        (
            f'{LAND}simulated = 1\nvalidate = "some"',
            "says validate = 'some', expected true, false or \"all\"",
        ),
        (
            f'{LAND}simulated = 1\nvalidate = "all"',
            "draws simulated, expected .* or none of them and validate",
        ),
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
    cloudy, clear = one_pass(data, crop=8, seed=3)[:2]
    order = [sample.index for sample in samples_of_one_pass(data, seed=3)]
    assert sorted(order) == list(range(len(data.train)))

    for number, index in enumerate(order):
        pair = data.train[index]
        if pair.simulated:
            assert 0 < (cloudy[number] - clear[number]).abs().mean() < 0.9
            assert not torch.allclose(cloudy[number], 0.5 * clear[number] + 0.4, atol=0.01)
        elif pair.cloudy == pair.clear:
            assert torch.equal(cloudy[number], clear[number])
        else:
            expected = 0.5 * clear[number] + 0.4
            torch.testing.assert_close(cloudy[number], expected, rtol=0, atol=0.004)


def test_a_source_can_say_that_its_clouds_are_overlays(root: Path) -> None:
    write_pairs(root / "other", 2)
    other = PAIRS.replace('"pairs"', '"other"')
    text = f"{PAIRS}pairs = 1\nveiled = 1\nclear = 1\noverlay = true\n{other}pairs = 1\n"
    text += f"{LAND}clear = 1\noverlay = false\n"
    path = written(root, text)
    assert [source.overlay for source in read_mixture(path, root)] == [True, False, False]

    train = opened(root, text).train
    marked = [pair for pair in train if pair.overlay]
    assert {pair.clear.parent.parent.name for pair in marked} == {"pairs"}
    assert len(marked) == sum(pair.clear.parent.parent.name == "pairs" for pair in train) == 9
    assert {pair.clear.parent.name for pair in train if not pair.overlay} == {"clear", "land"}


def test_a_source_gives_its_own_peak(root: Path) -> None:
    text = f"{PAIRS}pairs = 1\npeak = 10000\n{LAND}simulated = 1\nvalidate = true\n"
    for default in (None, 255.0):
        given, other = read_mixture(written(root, text), root, default)
        assert (given.peak, other.peak) == (10000, default)

    data = opened(root, f"{PAIRS}pairs = 1\npeak = 255\n")
    assert {pair.peak for pair in data.train} == {255}
    for wrong in ("0", "-1", "inf", "nan", "true", '"10000"'):
        with pytest.raises(DataError, match="expected a finite number above 0"):
            read_mixture(written(root, f"{PAIRS}pairs = 1\npeak = {wrong}\n"), root)
