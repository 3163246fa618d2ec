"""What the tests of verification share."""

from pathlib import Path

import pytest

from cloudkit.preparation import verification


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the lists that go to runs/ by default away from the repository."""
    monkeypatch.setattr(verification, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"
