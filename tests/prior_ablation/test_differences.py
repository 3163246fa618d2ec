import math
import random

import numpy as np
import pytest

from prior_ablation.differences import Mean, average_seeds, block_mean


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.3, "helps"),
        (-0.3, -0.1, "harms"),
        (-0.1, 0.3, "not resolved"),
        (0.0, 0.3, "not resolved"),
        (-0.3, 0.0, "not resolved"),
        (None, None, "not resolved"),
    ],
)
def test_the_verdict(low: float | None, high: float | None, verdict: str) -> None:
    assert Mean(0.2, low, high, images=9, blocks=3).verdict == verdict


def test_the_mean_is_over_images_not_over_blocks() -> None:
    found = block_mean({"a1": 1.0, "a2": 2.0, "a3": 3.0, "b1": 10.0}, lambda name: name[0])
    assert found is not None
    assert (found.mean, found.images, found.blocks) == (4.0, 4, 2)
    assert found.low == pytest.approx(2.0)  # block a alone
    assert found.high == pytest.approx(10.0)


def test_independent_images_have_the_interval_of_theory() -> None:
    values = {
        str(number): value
        for number, value in enumerate(np.random.default_rng(0).normal(5, 2, 400))
    }
    found = block_mean(values, lambda name: name)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    half = 1.96 * np.std(list(values.values())) / 20
    assert found.low == pytest.approx(found.mean - half, abs=0.02)
    assert found.high == pytest.approx(found.mean + half, abs=0.02)


def test_neighbours_that_are_alike_say_nothing_new() -> None:
    """Ten copies of each image make the interval no narrower."""
    single = {str(number): float(number % 7) for number in range(30)}
    copies = {f"{name}-{copy}": value for name, value in single.items() for copy in range(10)}
    one, ten = (
        block_mean(single, lambda name: name),
        block_mean(copies, lambda name: name.split("-")[0]),
    )
    naive = block_mean(copies, lambda name: name)
    assert one is not None
    assert ten is not None
    assert naive is not None
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high), abs=0.05)
    assert naive.high - naive.low < 0.4 * (ten.high - ten.low)  # type: ignore[operator]


def test_the_same_in_every_order() -> None:
    values = {str(number): math.sin(number) for number in range(40)}
    shuffled = dict(random.Random(1).sample(list(values.items()), len(values)))
    assert block_mean(values, lambda name: int(name) // 2) == block_mean(
        shuffled, lambda name: int(name) // 2
    )


def test_single_blocks_infinite_values_and_none() -> None:
    assert block_mean({"1": 1.0, "2": 3.0}, lambda name: 0) == Mean(2.0, None, None, 2, 1)
    assert block_mean({"1": math.inf, "2": 3.0}, lambda name: name) == Mean(3.0, None, None, 1, 1)
    assert block_mean({"1": math.inf}, lambda name: name) is None
    assert block_mean({}, lambda name: name) is None


def test_seeds_are_averaged_first() -> None:
    assert average_seeds({1: {"a": 1.0, "b": 5.0}, 2: {"a": 3.0}}) == {"a": 2.0, "b": 5.0}
