"""Statistics of training images, read for the fit of overlays."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloudkit.errors import UserError
from cloudkit.imaging.images import read_unit, write_image
from scpm import CloudOptions
from tests.batches import ALONE
from tests.helpers import write_images, write_pairs
from thiefcloud.data.datasets import Data, open_data
from thiefcloud.data.options import DataOptions, Dataset
from thiefcloud.network.statistics import image_statistics
from thiefcloud.training.overlay_samples import Samples, read_samples


def opened(folder: Path, text: str) -> Data:
    mixture = folder / "mixture.toml"
    mixture.write_text(text, encoding="utf-8")
    clouds = CloudOptions(even_fraction=0.0)
    options = DataOptions(dataset="mixture", root=folder, mixture=mixture, clouds=clouds)
    return open_data(options)


def read(data: Data, seed: int = 1) -> Samples:
    return read_samples(data, ALONE, crop=16, seed=seed, show_progress=False)


PAIRS = '[[source]]\ndataset = "folder"\nfolder = "pairs"\npairs = 2\nvalidate = false\n'
OTHER = '[[source]]\ndataset = "folder"\nfolder = "other"\npairs = 2\nvalidate = false\n'
LAND = '[[source]]\ndataset = "clear"\nfolder = "land"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folders of pairs, and clear images, all of them small."""
    write_pairs(tmp_path / "pairs", 4, height=24, width=32)
    write_pairs(tmp_path / "other", 6, height=25, width=31)
    write_images(tmp_path / "land", ["a.png", "b.png"], height=40, width=36)
    return tmp_path


def statistics_in(*folders: Path) -> set[float]:
    """Return the mean of each image of some folders."""
    means = set()
    for folder in folders:
        for path in folder.iterdir():
            means.add(float(image_statistics(read_unit(path)[None])[0, 0, 0]))
    return means


def means(statistics: Tensor) -> list[float]:
    return sorted(map(float, statistics[:, 0, 0]))


def test_sources_under_overlays_and_others_are_kept_apart(root: Path) -> None:
    text = f"{PAIRS}overlay = true\nclear = 2\nveiled = 1\n{OTHER}{LAND}clear = 3\nsimulated = 4\n"
    samples = read(opened(root, text))
    # Each image counts once, however often a pass draws it.
    assert means(samples.pairs.cloudy) == sorted(statistics_in(root / "pairs" / "cloudy"))
    assert means(samples.pairs.clear) == sorted(statistics_in(root / "pairs" / "clear"))

    others = statistics_in(root / "other" / "cloudy", root / "other" / "clear", root / "land")
    assert samples.others is not None
    assert {*means(samples.others.cloudy), *means(samples.others.clear)} == others
    assert samples.crops.shape[1:] == (5, 9)
    assert len(samples.crops) >= 16


def test_crops_are_under_simulated_clouds(root: Path) -> None:
    plain, cloudy = (
        read(opened(root, f"{PAIRS}overlay = true\n{LAND}{use} = 8\n"))
        for use in ("clear", "simulated")
    )
    assert torch.equal(*(samples.pairs.cloudy for samples in (plain, cloudy)))
    assert plain.others is not None
    assert cloudy.others is not None
    assert torch.equal(plain.others.cloudy, cloudy.others.cloudy)
    assert len(plain.crops) == len(cloudy.crops) == 16
    assert cloudy.crops[..., 0].mean() > plain.crops[..., 0].mean() + 0.02


def test_equal_seeds_read_equally(root: Path) -> None:
    data = opened(root, f"{PAIRS}overlay = true\n{LAND}simulated = 8\n")
    first, again, other = read(data), read(data), read(data, seed=2)
    assert torch.equal(first.crops, again.crops)
    assert not torch.equal(first.crops, other.crops)
    assert first.others is not None
    assert other.others is not None
    assert torch.equal(first.others.cloudy, other.others.cloudy)


def test_few_other_images_are_enough(root: Path) -> None:
    samples = read(opened(root, f"{PAIRS}overlay = true\n{LAND}clear = 1\n"))
    assert len(samples.crops) > 0
    assert samples.others is not None
    assert len(samples.others.clear) == 2


def test_all_pairs_are_under_overlays_if_no_source_says_so(root: Path) -> None:
    samples = read(opened(root, f"{PAIRS}{OTHER}{LAND}clear = 1\n"))
    expected = statistics_in(root / "pairs" / "cloudy", root / "other" / "cloudy")
    assert means(samples.pairs.cloudy) == sorted(expected)
    assert samples.others is None
    assert len(samples.crops) == 0

    data = open_data(DataOptions(dataset="folder", root=root / "pairs"))
    assert len(read(data).pairs.cloudy) == len(data.train) == 3


@pytest.mark.parametrize("dataset", ["clear", "simulated"])
def test_images_without_pairs_are_refused(root: Path, dataset: Dataset) -> None:
    data = open_data(DataOptions(dataset=dataset, root=root / "land"))
    with pytest.raises(UserError, match="there is no pair of images under an overlay, expected"):
        read(data)


def test_pairs_of_two_sizes_are_refused(root: Path) -> None:
    data = opened(root, PAIRS)
    path = data.train[0].clear
    write_image(path, read_unit(path)[:, 1:])
    with pytest.raises(UserError, match=r"have the shapes .*expected two images of the same size"):
        read(data)


def test_pixels_without_data_do_not_count(root: Path) -> None:
    whole = read(opened(root, PAIRS)).pairs
    for name in ("cloudy", "clear"):
        for path in (root / "pairs" / name).iterdir():
            image = read_unit(path)
            write_image(path, torch.cat((image, torch.zeros_like(image)), dim=1))
    padded = read(opened(root, PAIRS)).pairs
    torch.testing.assert_close(padded.cloudy[..., 0], whole.cloudy[..., 0], rtol=0, atol=2e-3)
