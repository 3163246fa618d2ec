"""Correlation of two images where they overlap."""

import numpy as np
import pytest
import torch

from preparation.correlation import (
    Comparison,
    band_pass,
    correlation,
    overlap_box,
    single_core_threads,
)
from tests.helpers import noise


def test_all_shifts_at_once_agree_with_each_by_itself() -> None:
    """The FFT finds the best of all shifts, for images of two shapes."""
    first, second = (
        band_pass(noise(1, height=12, width=16), 0, 2, 4),
        band_pass(noise(2, height=16, width=10), 0, 2, 4),
    )
    evidence, down, right = Comparison(first, second)(0)
    for j in range(3):
        best = max(
            (correlation(first[0], second[j], y, x) * fraction(y, x) ** 0.5, y, x)
            for y in range(-15, 12)
            for x in range(-9, 16)
            if fraction(y, x) >= 0.22
        )
        assert (float(evidence[0, j]), int(down[0, j]), int(right[0, j])) == pytest.approx(
            best, abs=1e-5
        )


def fraction(down: int, right: int) -> float:
    """Return the overlap of 12x16 pixels with 16x10 shifted ones as a fraction of the smaller."""
    height = max(0, min(12, 16 + down) - max(0, down))
    return height * max(0, min(16, 10 + right) - max(0, right)) / 160


def test_correlation_is_that_of_the_overlap() -> None:
    one, other = (
        noise(1, bands=1, height=12, width=16)[0],
        noise(2, bands=1, height=16, width=10)[0],
    )
    a, b = one[2:, :8], other[:10, 2:]
    assert correlation(one, other, 2, -2) == pytest.approx(
        np.corrcoef(a.flatten(), b.flatten())[0, 1], abs=1e-5
    )
    assert correlation(one, other, 11, 0) == -1  # one row is no evidence
    assert correlation(one, torch.ones(16, 10), 2, -2) == -1  # nor is an even surface


def test_the_overlap_lies_in_both_images() -> None:
    assert overlap_box((12, 16), (16, 10), 2, -2) == (slice(2, 12), slice(0, 8))
    assert overlap_box((16, 10), (12, 16), -2, 2) == (slice(0, 10), slice(2, 10))
    rows, columns = overlap_box((12, 16), (12, 16), 30, -30)
    assert rows.start == rows.stop
    assert columns.start == columns.stop


def test_band_pass_takes_away_brightness_contrast_and_slopes() -> None:
    image = noise(3, bands=1, height=32, width=32)
    slope = torch.linspace(0, 1, 32)[None, :, None]
    before = band_pass(image, 1, 3, 6)
    assert torch.allclose(band_pass(0.4 * image + 0.3, 1, 3, 6), before, rtol=0.15, atol=0.05)
    assert torch.allclose(
        band_pass(image + slope, 1, 3, 6)[:, 9:-9], before[:, 9:-9], rtol=0.15, atol=0.05
    )
    assert band_pass(torch.full((1, 32, 32), 0.7), 1, 3, 6).abs().max() < 1e-3


def test_single_core_threads_give_back_what_torch_had() -> None:
    before = torch.get_num_threads()

    def work() -> None:
        with single_core_threads() as threads:
            assert list(threads.map(lambda _: torch.get_num_threads(), range(3))) == [1, 1, 1]
            raise InterruptedError

    with pytest.raises(InterruptedError):
        work()
    assert torch.get_num_threads() == before
