"""Rules and lists that divide a data set."""

import math
import random

import pytest

from cloudkit.images import natural_key
from cloudkit.pairs import DataError
from cloudkit.splits import hashed_order, validation_names


def test_hashed_order_is_fixed_for_all_time() -> None:
    assert hashed_order(str(n) for n in range(10)) == ["9", "8", "4", "3", "0", "1", "7", "2", "6", "5"]


@pytest.mark.parametrize("count", [2, 3, 10, 11, 100, 320])
def test_validation_is_a_tenth_and_depends_on_names_alone(count: int) -> None:
    names = [str(n) for n in range(count)]
    chosen = validation_names(names)
    assert len(chosen) == math.ceil(count / 10)
    assert chosen < set(names)
    random.Random(0).shuffle(names)
    assert validation_names(names) == chosen


def test_validation_takes_neighbours_together() -> None:
    """Neighbouring numbers are often neighbouring places; a whole block leaves its neighbours behind only at its ends."""
    chosen = sorted(validation_names([f"scene{n}_a" for n in range(300)]), key=natural_key)
    numbers = [int(name[5:-2]) for name in chosen]
    assert len({n // 10 for n in numbers}) == 3
    assert all(n in numbers for first in numbers for n in range(first // 10 * 10, first // 10 * 10 + 10))


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="1 image to train on, expected at least 2"):
        validation_names(["a"])
