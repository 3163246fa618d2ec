"""Fixtures of the tests of the benchmark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.speedkit.measuring import Effort
from benchmarks.speedkit.settings import save_untrained


@pytest.fixture(scope="module", autouse=True)
def few_repetitions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Effort,
            "of",
            classmethod(lambda cls, device, *, quick: cls(seconds=0, least=2, shortest=1e-6)),
        )
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("weights") / "untrained.pt")
