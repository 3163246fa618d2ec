"""Damaged images are refused in words or read soundly; a longer run: python tests/fuzz.py."""

from tests.fuzzing import images
from tests.fuzzing.running import run_cases


def test_damaged_images_are_refused_or_sound() -> None:
    report = run_cases(images.check, 300, seed=7)
    assert report.faults == []
    assert report.outcomes["refused"] > 100
    assert report.outcomes["sound"] > 20
