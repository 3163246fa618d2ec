"""Runs of predict.py, for several files of tests."""

from pathlib import Path

from tests.helpers import PREDICT, run_script


def predict(checkpoint: Path, *arguments: object) -> int:
    """Run predict.py on the CPU, and return its exit status."""
    return run_script(PREDICT, *arguments, "--checkpoint", checkpoint, "--device", "cpu")


def files(folder: Path) -> list[str]:
    """Return all files below a folder."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
