"""Fixtures of the tests of verification and audit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from preparation import verification
from preparation.sets import SetName
from tests.preparation.auditing import SIZE, WIDE, other, write_pair
from tests.preparation.packing import SAMPLES, packed
from tests.preparation.scenes import cut


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the lists that go to runs/ by default away from the repository."""
    monkeypatch.setattr(verification, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Make a test part with 1 equal, 2 rotated, 3 near, 4 overlapping and 5 unrelated image."""
    root = tmp_path / "set"
    for index in range(1, 7):
        write_pair(root / "train", str(index), other(index))
    write_pair(root / "test", "1", other(1), other(20), suffix=".tif")
    write_pair(root / "test", "2", other(2).rot90(1, (1, 2)), other(21))
    write_pair(root / "test", "3", other(3), other(22), suffix=".jpg")
    write_pair(root / "train", "7", cut(WIDE, 10, 13, SIZE))
    write_pair(root / "val", "8", other(30))
    write_pair(root / "test", "4", cut(WIDE, 0, 0, SIZE))
    write_pair(root / "test", "5", other(31))
    return root


@pytest.fixture
def sample(tmp_path: Path) -> Callable[..., Path]:
    """Pack a small copy of a dataset."""

    def make(dataset: SetName, prefix: str = "", path: Path | None = None) -> Path:
        SAMPLES[dataset](tmp_path / "sample")
        return packed(tmp_path / "sample", path or tmp_path / "fetched.zip", prefix)

    return make
