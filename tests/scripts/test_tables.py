"""checkpoints/tables.py: both pages show what RELEASED and scores.json say, and nothing else."""

import datetime
import json
import shutil
from pathlib import Path

import pytest

from checkpoints.tables import render
from cloudkit.errors import UserError
from cloudkit.files import read_json
from tests.helpers import ROOT, assert_one_error, run_script
from thiefcloud.inference.released import RELEASED

TABLES = ROOT / "checkpoints" / "tables.py"
PAGES = ("README.md", "checkpoints/README.md")
FACTS = read_json(ROOT / "checkpoints" / "scores.json")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    for name in (*PAGES, "checkpoints/scores.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def pages(root: Path) -> list[str]:
    return [(root / page).read_text(encoding="utf-8") for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_up_to_date(page: str) -> None:
    """If not: python checkpoints/tables.py."""
    assert render(ROOT)[ROOT / page] == (ROOT / page).read_text(encoding="utf-8")


def test_a_score_that_changes_appears_on_both_pages(copy: Path) -> None:
    facts = json.loads(json.dumps(FACTS))
    facts["scores"][0] |= {"psnr": [31.5, 30.25, 32.75], "ssim": [0.9, 0.88, 1.0]}
    (copy / "checkpoints" / "scores.json").write_text(json.dumps(facts))
    before = pages(copy)
    assert run_script(TABLES, "--root", copy) == 0

    overview, cards = pages(copy)
    assert "17.97 / .833 → 31.50 / .900 |" in overview
    assert "| 17.97 / .833 | 31.50 [30.25, 32.75] / .900 [.880, 1.000] |" in cards
    for old, new in zip(before, (overview, cards), strict=True):
        changed = [
            pair for pair in zip(old.split("\n"), new.split("\n"), strict=True) if len({*pair}) > 1
        ]
        assert len(changed) == 1
    assert run_script(TABLES, "--root", copy) == 0
    assert pages(copy) == [overview, cards]


def test_fast_scores_have_a_row_and_a_command_of_their_own(copy: Path) -> None:
    facts = json.loads(json.dumps(FACTS))
    facts["scores"] = [row for row in facts["scores"] if not row.get("fast")]
    fast = {"fast": True, "psnr": [30.5, 29.25, 31.75], "ssim": [0.8, 0.7, 0.9]}
    facts["scores"].append(facts["scores"][0] | fast)
    (copy / "checkpoints" / "scores.json").write_text(json.dumps(facts))
    assert run_script(TABLES, "--root", copy) == 0

    overview, cards = pages(copy)
    rows = [line for line in overview.split("\n") if line.startswith("| `general")]
    assert len(rows) == 2
    assert "30.50 / .800" not in rows[0]
    assert "| `general --fast` |" in rows[1]
    assert "17.97 / .833 → 30.50 / .800 |" in rows[1]
    assert ", `--fast` | 17.97 / .833 | 30.50 [29.25, 31.75] / .800 [.700, .900] |" in cards
    assert cards.count("test.py --checkpoint general --fast --dataset simulated") == 1


def test_a_table_without_its_mark_is_an_error(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = copy / "checkpoints" / "README.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("<!-- table rice1 -->\n", ""), encoding="utf-8")
    assert run_script(TABLES, "--root", copy) == 2
    assert_one_error(capsys.readouterr().err, "expected files, general, overview, rice1, rice2")
    page.write_text(text.replace("table rice1", "table rice3"), encoding="utf-8")
    with pytest.raises(UserError, match="mark the tables files, general, overview, rice2, rice3"):
        render(copy)


def test_each_score_is_of_known_weights_and_images() -> None:
    assert {row["weights"] for row in FACTS["scores"]} == set(RELEASED)
    assert {row["images"] for row in FACTS["scores"]} == set(FACTS["images"])
    for row in FACTS["scores"]:
        for mean, low, high in (row["psnr"], row["ssim"]):
            assert low <= mean <= high
        datetime.date.fromisoformat(row["date"])


def test_the_lists_of_the_commands_are_there() -> None:
    lists = []
    for about in FACTS["images"].values():
        words = about["test"].split()
        lists += [word for word in words if word.startswith("checkpoints/")]
    assert len(lists) >= 5
    assert [path for path in lists if not (ROOT / path).is_file()] == []
