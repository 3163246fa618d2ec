"""Recipes of CONTRIBUTING.md, followed to the letter in a copy of the repository."""

import csv
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers import ROOT, squeezed, touch, write_pairs
from thiefcloud.inference.released import RELEASED
from trainkit.data.datasets import DATASETS, find_named

ROOMS = ("cloudkit", "trainkit", "SCPM", "ThiefCloud", "checkpoints", "data")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "sample", "thiefcloud-rice*")
SOURCES = ("", "SCPM/src", "ThiefCloud", "data")
# Values for the words that an entry leaves open.
DATASET = {"name": "rs-haze", "FOLDER": "RS-Haze", "https://page": "https://example.org/rs-haze"}
METRIC = {"name": "rmse", "function": "root_mean_square", '"..."': '"root of the mean square"'}
NETWORK = {"CLASS": "OneConv"}
RELEASE = {"name": "mine", "RUN": "runs/new", "...": "pairs of noise"}
WEIGHTS = {
    "name": "mine",
    "NAME": "MINE",
    'purpose="..."': 'purpose="my own"',
    'licence="..."': 'licence="public domain"',
    "...": "pairs of noise",
}
FUNCTION = '''

def root_mean_square(image: Tensor, reference: Tensor) -> Tensor:
    """Return the root of the mean squared difference, (N,)."""
    return (image.double() - reference.double()).square().mean(dim=(1, 2, 3)).sqrt()
'''
ONE_CONV = '''
"""One convolution."""

from torch import Tensor, nn

from scpm import Prior
from thiefcloud.network.base import NoPrior, RemovalNetwork, Restoration
from thiefcloud.network.inversion import Inversion


class OneConv(RemovalNetwork):
    kind = "one-conv"

    def __init__(
        self, in_channels: int = 3, *, residual: bool = False, inversion: bool = False
    ) -> None:
        super().__init__(in_channels, residual=residual, inversion=inversion)
        self.prior = NoPrior(in_channels)
        self.inversion = Inversion(in_channels) if inversion else None
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)

    def remove(self, image: Tensor, prior: Prior, supervision: bool) -> Restoration:
        restored = self.conv(image)
        return Restoration(restored, restored, restored, prior.thickness)
'''


def entries() -> list[str]:
    """Return the indented lines of the recipes, in their order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipes = text[text.index("## How to add") : text.index("## Conventions")]
    return [line.strip() for line in recipes.split("\n") if line.startswith("      ")]


def filled(line: str, values: dict[str, str]) -> str:
    for word, value in values.items():
        assert word in line
        line = line.replace(word, value)
    return line


def insert(path: Path, start: str, entry: str) -> None:
    """Insert an entry as the first of a table, which the line `start` opens."""
    text = path.read_text(encoding="utf-8")
    assert text.count(start) == 1
    path.write_text(text.replace(start, f"{start}    {entry}\n"), encoding="utf-8")


class House:
    """Copy of the repository with a dataset of four pairs, and what its scripts print."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for room in ROOMS:
            shutil.copytree(ROOT / room, root / room, ignore=LEFT_OUT)
        shutil.copy(ROOT / "README.md", root)
        for part, count in (("train", 3), ("test", 1)):
            folder = write_pairs(root / "new" / "RS-Haze" / part, count)
            (folder / "cloudy").rename(folder / "cloud")
            (folder / "clear").rename(folder / "label")

    def run(self, *arguments: object, status: int = 0) -> str:
        """Run Python in the copy as its user does, and return what it prints."""
        path = os.pathsep.join(str(self.root / source) for source in SOURCES)
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The copy, in which the first three recipes were followed."""
    house = House(tmp_path_factory.mktemp("house"))
    dataset, metric, network, _, _ = entries()
    trainkit, package = house.root / "trainkit", house.root / "ThiefCloud" / "thiefcloud"
    start = "DATASETS: dict[str, DatasetInfo] = {\n"
    insert(trainkit / "data" / "datasets.py", start, filled(dataset, DATASET))

    with (trainkit / "scoring" / "metrics.py").open("a", encoding="utf-8") as file:
        file.write(FUNCTION)
    measures = trainkit / "scoring" / "measures.py"
    insert(measures, "METRICS = {\n", filled(metric, METRIC))
    imported = "from trainkit.scoring.metrics import root_mean_square\n"
    measures.write_text(measures.read_text().replace("\n\n\n@", f"\n{imported}\n\n@", 1))

    (package / "baselines" / "one_conv.py").write_text(ONE_CONV.lstrip())
    weights = package / "inference" / "weights.py"
    insert(weights, "NETWORKS: Mapping[str, type[RemovalNetwork]] = {\n", filled(network, NETWORK))
    imported = "from thiefcloud.baselines.one_conv import OneConv\n"
    weights.write_text(
        weights.read_text().replace("from thiefcloud", f"{imported}from thiefcloud", 1)
    )
    return house


@pytest.fixture(scope="module")
def best(house: House) -> Path:
    """The new network after one step on the new dataset."""
    data = ("--dataset", "rs-haze", "--root", "new", "--crop", 8, "--perceptual", 0)
    length = ("--epochs-frozen", 1, "--epochs-tunable", 0, "--batch-frozen", 2)
    printed = house.run(
        "ThiefCloud/train.py", *data, *length, "--network", "one-conv", "--out", "runs/new"
    )
    assert "rs-haze: 4 pairs (2 train, 1 val, 1 test)" in printed
    assert json.loads((house.root / "runs/new/history.json").read_text())[-1]["step"] == 1
    return house.root / "runs" / "new" / "best.pt"


def test_a_dataset_is_known_to_every_script(house: House, best: Path) -> None:
    """Training and scores are tests of the others."""
    archive = shutil.make_archive(str(house.root / "set"), "zip", house.root / "new")
    printed = house.run("data/prepare.py", "get", "rs-haze", "--archive", archive, "--root", "got")
    assert "rs-haze is in got/RS-Haze" in printed
    assert "4 pairs, the complete dataset has 1234" in printed
    assert "all is well" in printed
    printed = house.run("data/prepare.py", "audit", "rs-haze", "--root", "got", status=1)
    assert "1 of 1 test images are also in training" in printed  # equal noise has equal numbers
    printed = house.run("data/prepare.py", "get", "rs-haze", "--root", "absent", status=2)
    assert "download it from https://example.org/rs-haze" in printed

    (house.root / "mixture.toml").write_text(
        '[[source]]\ndataset = "rs-haze"\nfolder = "RS-Haze"\npairs = 2\n'
    )
    code = """
        from pathlib import Path
        from thiefcloud.data.datasets import open_data
        from thiefcloud.data.options import DataOptions
        options = DataOptions("mixture", root=Path("new"), mixture=Path("mixture.toml"))
        print(len(open_data(options).train), "drawn")
    """
    assert "4 drawn" in house.run("-c", textwrap.dedent(code))


def test_a_metric_is_an_option_and_a_column(house: House, best: Path) -> None:
    data = ("--dataset", "rs-haze", "--root", "new", "--checkpoint", best)
    printed = house.run("ThiefCloud/test.py", *data, "--measures", "rmse", "--out", "runs/scores")
    assert re.search(r"rmse: input \d\.\d{4}, restored \d\.\d{4}", printed)
    summary = json.loads((house.root / "runs/scores/metrics.json").read_text())
    with (house.root / "runs/scores/metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["restored_rmse"]) == pytest.approx(summary["restored"]["rmse"])
    assert float(row["restored_rmse"]) == pytest.approx(10 ** (-float(row["restored_psnr"]) / 20))

    table = house.run("ThiefCloud/compare.py", "runs/scores/metrics.json")
    assert "rmse" in table.splitlines()[0].lower()


def test_a_network_trains_and_loads(house: House, best: Path) -> None:
    code = f"import thiefcloud; print(type(thiefcloud.load({str(best)!r})).__name__)"
    assert "OneConv" in house.run("-c", code)
    choices = squeezed(house.run("ThiefCloud/train.py", "--help"))
    assert "one-conv" in choices
    assert "rs-haze" in choices


def test_weights_load_by_their_name(house: House, best: Path) -> None:
    command, entry = entries()[3:]
    _, *words = shlex.split(filled(command, RELEASE))
    printed = house.run(*words)
    (checksum,) = re.findall(r"sha256 ([0-9a-f]{64})\n", printed)
    entry = filled(entry, {**WEIGHTS, "SHA256": checksum})
    released = house.root / "ThiefCloud" / "thiefcloud" / "inference" / "released.py"
    start = "class Weights(ReleasedWeights, Enum):\n"
    text = released.read_text(encoding="utf-8")
    insert(released, text[text.index(start) : text.index("    GENERAL = ")], entry)

    code = "import thiefcloud; print(type(thiefcloud.load('mine')).__name__)"
    assert "OneConv" in house.run("-c", code)
    house.run("ThiefCloud/predict.py", "new/RS-Haze/test/cloud/0.png", "--checkpoint", "mine")
    choices = squeezed(house.run("ThiefCloud/test.py", "--help"))
    assert f"(released: mine, {', '.join(RELEASED)})" in choices
    assert "rs-haze" in choices
    assert "rmse: root of the mean square, dB, larger is better" in choices

    scores = house.root / "checkpoints" / "scores.json"
    facts = json.loads(scores.read_text())
    (of_rice1,) = (row for row in facts["scores"] if row["weights"] == "rice1")
    facts["scores"].append({**of_rice1, "weights": "mine"})
    scores.write_text(json.dumps(facts))
    assert "expected files, general, mine" in house.run("checkpoints/tables.py", status=2)
    cards = house.root / "checkpoints" / "README.md"
    cards.write_text(f"{cards.read_text()}\n<!-- table mine -->\n<!-- end -->\n")
    house.run("checkpoints/tables.py")
    assert "| `mine` | my own |" in (house.root / "README.md").read_text()
    assert "python ThiefCloud/test.py --checkpoint mine --dataset rice1" in cards.read_text()


def expanded(tree: str) -> list[str]:
    """Return the files that a tree stands for, <n> from 0 to 4."""
    parts: list[Sequence[str]] = []
    for number, part in enumerate(re.split(r"\{(.*?)\}", tree.replace("<n>", "{0,1,2,3,4}"))):
        parts.append(part.split(",") if number % 2 else [part])
    return ["".join(chosen) for chosen in itertools.product(*parts)]


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_dataset_is_found_in_the_tree_of_its_entry(dataset: str, tmp_path: Path) -> None:
    touch(tmp_path, [])
    for file in expanded(DATASETS[dataset].tree):
        touch((tmp_path / file).parent, [Path(file).name])
    splits = find_named(dataset, tmp_path)
    pairs = {*splits.train, *splits.val, *splits.test}
    assert 2 * len(pairs) == len(expanded(DATASETS[dataset].tree))
