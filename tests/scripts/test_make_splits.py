"""The lists in data/splits/ are what their script writes, and agree with the sets' own split."""

from pathlib import Path

import pytest

from tests.helpers import ROOT, assert_one_error, run_script
from trainkit.data.datasets import DATASETS
from trainkit.data.splits import read_names

SPLITS = ROOT / "data" / "splits"


def test_lists_are_up_to_date(tmp_path: Path) -> None:
    assert run_script(ROOT / "data" / "make_splits.py", "--out", tmp_path) == 0
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    assert written == {path.name: path.read_text(encoding="utf-8") for path in SPLITS.glob("*.txt")}


@pytest.mark.parametrize("dataset", ["rice1", "rice2"])
@pytest.mark.parametrize("convention", ["hashed", "blocks"])
def test_rice_lists_hold_every_name_once(dataset: str, convention: str) -> None:
    train, test = (
        read_names(SPLITS / f"{dataset}-{convention}-{part}.txt") for part in ("train", "test")
    )
    assert sorted(map(int, train + test)) == list(range(DATASETS[dataset].pairs))
    assert len(test) == DATASETS[dataset].test_count
    if convention == "hashed":
        assert set(test) == DATASETS[dataset].test_names()
    else:
        assert len({int(name) // 10 for name in train} & {int(name) // 10 for name in test}) <= 1


def test_satehaze1k_lists_hold_its_400_images() -> None:
    for level in ("thin", "moderate", "thick"):
        names = [
            name
            for part in ("train", "valid", "test")
            for name in read_names(SPLITS / f"satehaze1k-{level}-{part}.txt")
        ]
        assert len(set(names)) == 400
    assert read_names(SPLITS / "satehaze1k-moderate-test.txt")[0] == "test/1"
    assert read_names(SPLITS / "satehaze1k-thin-test.txt")[-1] == "test/400"


def test_the_lists_need_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert run_script(ROOT / "data" / "make_splits.py", "--out", out) == 2
        assert_one_error(capsys.readouterr().err, f"--out {out} cannot be a folder")
