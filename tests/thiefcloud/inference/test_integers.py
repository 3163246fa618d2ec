"""Scenes in arrays of integers come back as integers."""

import numpy as np
import pytest
import torch

from cloudkit.errors import UserError
from thiefcloud import IntegerSource, Window


def test_values_that_do_not_change_keep_theirs_and_none_means_no_data() -> None:
    array = np.full((3, 4, 5), 5000, np.uint16)
    array[:, 0], array[0, 1], array[:, 2, 0] = 0, 12000, 4999
    source = IntegerSource(array, 10000, at=(10, 20), size=(30, 40))
    window = Window(10, 20, 4, 5)
    pixels, valid = source.read(window)
    assert pixels.max() == 1
    assert not valid[0].any()
    assert valid[1:].all()
    np.testing.assert_array_equal(source.stored(window, pixels), array)

    restored = torch.where(valid, pixels * 0.5, pixels)
    restored[:, 3] = 0
    stored = source.stored(window, restored)
    assert stored.dtype == np.uint16
    assert (stored[0, 1] == 5000).all()
    assert (stored[:, 2, 0] == 2500).all()  # 2499.5 to even
    assert (stored[:, 3] == 1).all()
    assert not stored[:, 0].any()


@pytest.mark.parametrize("array", [np.zeros((3, 4, 4), np.float32), np.zeros((4, 4, 4), np.uint8)])
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"expected integers of shape \(3, rows, columns\)"):
        IntegerSource(array, 255)


def test_a_peak_that_the_type_cannot_hold_is_refused() -> None:
    """Restored values would wrap around."""
    array = np.full((3, 4, 4), 100, np.uint8)
    IntegerSource(array, 255)
    with pytest.raises(UserError, match="uint8, whose largest value 255 is below the peak of 1000"):
        IntegerSource(array, 1000)


@pytest.mark.parametrize("peak", [0, -1, float("nan")])
def test_a_peak_that_is_not_positive_is_refused(peak: float) -> None:
    """All that holds data would be white, and come back as 1."""
    with pytest.raises(UserError, match=f"the peak is {peak:g}, expected more than 0"):
        IntegerSource(np.full((3, 4, 4), 100, np.uint8), peak)
