"""checkpoints/card.py: folders with weights, model card, config and STAC item."""

import copy
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import thiefcloud
from cloudkit.files import read_json
from tests.helpers import ROOT, assert_one_error, run_script, squeezed
from thiefcloud.inference.released import CHECKPOINTS, RELEASED

CARD = ROOT / "checkpoints" / "card.py"
SCHEMA = read_json(ROOT / "tests" / "fixtures" / "stac_mlm_subset.json")
FACTS = read_json(CHECKPOINTS / "scores.json")
FILES = ["CITATION.cff", "LICENSE", "README.md", "config.json", "stac-item.json"]


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("upload")
    assert run_script(CARD, "--out", out) == 0
    return out


def folder_of(upload: Path, name: str) -> Path:
    return upload / RELEASED[name].path.stem


def item_of(upload: Path, name: str) -> dict[str, Any]:
    item: dict[str, Any] = read_json(folder_of(upload, name) / "stac-item.json")
    return item


def front_matter(text: str) -> dict[str, str]:
    """Return the simple entries of a card's front matter."""
    assert text.startswith("---\n")
    lines = text.split("---\n")[1].splitlines()
    return dict(line.split(": ") for line in lines if ": " in line)


def test_there_is_a_folder_for_each_file(upload: Path) -> None:
    assert {path.name for path in upload.iterdir()} == {
        weights.path.stem for weights in RELEASED.values()
    }
    for name, weights in RELEASED.items():
        found = sorted(path.name for path in folder_of(upload, name).iterdir())
        assert found == [*FILES, weights.file]


@pytest.mark.parametrize("name", RELEASED)
def test_the_weights_and_their_config(upload: Path, name: str) -> None:
    weights, folder = RELEASED[name], folder_of(upload, name)
    content = (folder / weights.file).read_bytes()
    config = read_json(folder / "config.json")
    assert config["sha256"] == weights.sha256 == hashlib.sha256(content).hexdigest()

    model = thiefcloud.load(folder / config["weights"])
    assert config["config"] == json.loads(json.dumps(model.config))
    assert config["model_type"] == model.kind
    assert len(config["bands"]) == model.in_channels
    for key, value in thiefcloud.load(name).state_dict().items():
        assert torch.equal(value, model.state_dict()[key])


@pytest.mark.parametrize("name", RELEASED)
def test_the_card_has_the_facts_of_the_tables(upload: Path, name: str) -> None:
    text = (folder_of(upload, name) / "README.md").read_text(encoding="utf-8")
    assert front_matter(text) == {
        "license": "other",
        "license_name": "polyform-noncommercial-1.0.0",
        "license_link": "LICENSE",
        "pipeline_tag": "image-to-image",
        "library_name": "thiefcloud",
    }
    rows = [row for row in FACTS["scores"] if row["weights"] == name]
    assert rows
    for row in rows:
        assert f"| {row['psnr'][0]:.2f} [{row['psnr'][1]:.2f}, {row['psnr'][2]:.2f}]" in text
    for fact in (RELEASED[name].sha256, RELEASED[name].licence, RELEASED[name].about()["about"]):
        assert fact in text
    assert f'thiefcloud.load("{RELEASED[name].file}")' in text
    assert re.findall(r"\]\((?!https)", text) == []  # the pages of the repository are not there
    assert str(ROOT) not in text


@pytest.mark.parametrize("name", RELEASED)
def test_the_item_follows_the_schema(upload: Path, name: str) -> None:
    item, folder = item_of(upload, name), folder_of(upload, name)
    jsonschema.validate(item, SCHEMA)

    for part in (*item["links"], *item["assets"].values()):
        assert (folder / part["href"]).is_file()
    asset = item["assets"]["model"]
    assert asset["file:size"] == (folder / asset["href"]).stat().st_size
    assert asset["file:checksum"] == f"1220{RELEASED[name].sha256}"

    # What the schema cannot say: all parts speak of the same bands and dimensions.
    properties = item["properties"]
    model = thiefcloud.load(name)
    assert properties["mlm:total_parameters"] == sum(
        value.numel() for value in model.state_dict().values()
    )
    (given,), (result,) = properties["mlm:input"], properties["mlm:output"]
    assert given["bands"] == [band["name"] for band in asset["bands"]]
    for structure in (given["input"], result["result"]):
        assert len(structure["shape"]) == len(structure["dim_order"])
        assert structure["shape"][structure["dim_order"].index("bands")] == len(given["bands"])
    assert given["value_scaling"][0]["maximum"] == RELEASED[name].input_range[1]


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    """Return a function that removes an entry of an item."""

    def change(item: dict[str, Any]) -> None:
        for key in path[:-1]:
            item = item[key]
        del item[path[-1]]

    return change


def replaced(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    """Return a function that replaces an entry of an item."""

    def change(item: dict[str, Any]) -> None:
        for key in path[:-1]:
            item = item[key]
        item[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("id"),
        without("properties", "datetime"),
        without("properties", "mlm:input"),
        without("assets", "model", "mlm:artifact_type"),
        replaced(["data"], "assets", "model", "roles"),
        replaced({}, "assets"),
        replaced(["removal"], "properties", "mlm:tasks"),
        replaced([{"name": "image"}], "properties", "mlm:output"),
        replaced(1, "properties", "mlm:unknown"),
        replaced([0, 0, 1, 1], "bbox"),
        replaced([], "stac_extensions"),
    ],
)
def test_the_schema_refuses_other_items(
    upload: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    item = copy.deepcopy(item_of(upload, "general"))
    change(item)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(item, SCHEMA)


def test_one_folder_alone_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(CARD, "--out", tmp_path, "--weights", "rice1") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["thiefcloud-rice1"]
    capsys.readouterr()
    assert run_script(CARD, "--out", tmp_path, "--weights", "rice3") == 2
    assert "'rice3', expected general, rice1, rice2" in squeezed(capsys.readouterr().err)
    assert run_script(CARD, "--out", CHECKPOINTS) == 2
    assert_one_error(capsys.readouterr().err, "holds the weights themselves; name another folder")
